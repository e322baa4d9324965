/**
 * What a request may be, before any object is asked: how large, and how often one stream may be asked. If the
 * platform's rate limiter is bound, it decides in the Worker for each tenant and stream, and the object is not woken.
 * Otherwise a token bucket in the object (log-object/token-bucket.ts) decides, which at least saves the object's work.
 * Both answer 429 and say when to come back.
 */
import type { Env } from "../env.ts";
import { EdgeError, tooManyRequests } from "../errors.ts";
import type { HeadersOf } from "../wire/durable-streams.ts";
import { BODY_BYTES_MAX } from "../wire/request-body.ts";

/** A request's headers, with names in lower case. */
export type Seen = Readonly<Record<string, string>>;

/**
 * These headers, for code that asks for them one by one in lower case. The runtime's Headers make a text for each
 * call.
 */
export const headersSeen = (seen: Seen): HeadersOf => ({ get: (name) => seen[name] ?? null });

/**
 * The limiter's period is 10 or 60 seconds by its configuration. Coming back after 10 is right or nearly right for
 * both.
 */
export async function checkRate(env: Env, tenant: string, path: string): Promise<void> {
  if (!env.RATE_LIMIT) return;
  const { success } = await env.RATE_LIMIT.limit({ key: `${encodeURIComponent(tenant)}/${path}` });
  if (!success) throw tooManyRequests(10);
}

/** Limit of all header names and values together. The platform itself takes 128 KB. */
const HEADER_BYTES_MAX = 32 * 1024;
const URL_BYTES_MAX = 16 * 1024;

/** Refuses oversized requests before anything else is checked. Returns the headers, with names in lower case. */
export function checkSizes(request: Request): Seen {
  if (request.url.length > URL_BYTES_MAX)
    throw new EdgeError("URL_TOO_LONG", `a URL has at most ${URL_BYTES_MAX} bytes: shorten its path or its query`);
  let bytes = 0;
  const seen: Record<string, string> = {};
  // A loop over them would cost half as much again.
  request.headers.forEach((value, name) => {
    bytes += name.length + value.length;
    seen[name] = value;
  });
  if (bytes > HEADER_BYTES_MAX)
    throw new EdgeError(
      "HEADERS_TOO_LARGE",
      `a request's headers have at most ${HEADER_BYTES_MAX} bytes: send fewer, or shorter ones`,
    );
  return seen;
}

/** Refuses a body that can be judged before it is passed on. */
export function checkBody(seen: Seen): void {
  if (Number(seen["content-length"] ?? 0) > BODY_BYTES_MAX)
    throw new EdgeError(
      "TOO_LARGE",
      `a request has at most ${BODY_BYTES_MAX} bytes: send the rest in further requests`,
    );
  // A compressed body could expand to any size. Records may be compressed inside a batch, where the limit is checked.
  const encoding = seen["content-encoding"] ?? "identity";
  if (encoding.toLowerCase() !== "identity")
    throw new EdgeError(
      "UNSUPPORTED_MEDIA_TYPE",
      "send the body without Content-Encoding; records may be compressed inside a batch",
    );
}
