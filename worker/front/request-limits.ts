/**
 * What a request may be, before any object is asked: how large, how often one stream may be asked, and which headers
 * have one value. If the platform's rate limiter is bound, it decides in the Worker for each tenant and stream, and the
 * object is not woken. Otherwise a token bucket in the object (log-object/token-bucket.ts) decides, which at least
 * saves the object's work. Both answer 429 and say when to come back.
 */
import type { Env } from "../env.ts";
import { badRequest, EdgeError, tooManyRequests } from "../errors.ts";
import { elementsOf } from "../wire/accept.ts";
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

const named = (names: string): Map<string, string> =>
  new Map(names.split(/\s+/).map((name) => [name.toLowerCase(), name]));
/** Headers that have one value, in which no comma can be. */
const WITHOUT_COMMA = named(
  `Stream-Closed Stream-TTL Stream-Expires-At Stream-Fork-Offset Stream-Fork-Sub-Offset Stream-Expected-Offset
  Producer-Epoch Producer-Seq Tidemark-Resent-Since Tidemark-Sequences Tidemark-Trim-Before Tidemark-Tide
  Tidemark-Outbox Tidemark-Retention-Bytes Tidemark-Retention-Records Tidemark-Retention-Seconds Tidemark-Compaction
  Tidemark-Compaction-Lag-Seconds Tidemark-Compaction-Tombstone-Seconds`,
);
/** These have one value as well, which may be any text. Only the same text twice shows that a header came twice. */
const ANY_TEXT = named("Stream-Seq Producer-Id Stream-Forked-From Last-Event-ID Authorization");

const isDoubled = (value: string): boolean => {
  const half = (value.length - 2) / 2;
  return value.slice(0, half) === value.slice(half + 2) && value.startsWith(", ", half);
};

/**
 * Refuses a header that came twice where one value is expected: the runtime joins both with a comma, and the text would
 * be another value, or none. `value` has a comma.
 */
function checkGivenOnce(name: string, value: string): void {
  const shown =
    WITHOUT_COMMA.get(name) ??
    (isDoubled(value) ? ANY_TEXT.get(name) : undefined) ??
    (name === "content-type" && elementsOf(value).length > 1 ? "Content-Type" : undefined);
  if (shown !== undefined)
    throw badRequest(`${shown} is given more than once; it must be given once, and have one value`, { header: shown });
}

/**
 * Refuses oversized requests, and headers that came twice, before anything else is checked. Returns the headers, with
 * names in lower case.
 */
export function checkHeaders(request: Request): Seen {
  if (request.url.length > URL_BYTES_MAX)
    throw new EdgeError("URL_TOO_LONG", `a URL has at most ${URL_BYTES_MAX} bytes: shorten its path or its query`);
  let bytes = 0;
  const seen: Record<string, string> = {};
  // A loop over them would cost half as much again.
  request.headers.forEach((value, name) => {
    bytes += name.length + value.length;
    seen[name] = value;
    if (value.includes(",")) checkGivenOnce(name, value);
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
