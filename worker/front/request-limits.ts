/**
 * How often one stream may be asked. Where the platform's rate limiter is bound it decides in the Worker, per tenant
 * and stream, and the object sleeps on; else a token bucket in the object (log-object/token-bucket.ts), which then at
 * least does no work. Both say 429 and when to come back.
 */
import type { Env } from "../env.ts";
import { EdgeError, tooManyRequests } from "../errors.ts";

/** Its period is 10 or 60 seconds, by its configuration; asking again after ten is never far off. */
export async function checkRate(env: Env, tenant: string, path: string): Promise<void> {
  if (!env.RATE_LIMIT) return;
  const { success } = await env.RATE_LIMIT.limit({ key: `${encodeURIComponent(tenant)}/${path}` });
  if (!success) throw tooManyRequests(10);
}

/** Names and values together. The platform itself takes 128 KB. */
const HEADER_BYTES_MAX = 32 * 1024;
const URL_BYTES_MAX = 16 * 1024;

/** What is refused before anything is looked at. Gives the headers that it has seen, names in lower case. */
export function checkSizes(request: Request): Record<string, string> {
  if (request.url.length > URL_BYTES_MAX)
    throw new EdgeError("URL_TOO_LONG", `a URL has at most ${URL_BYTES_MAX} bytes`);
  let bytes = 0;
  const seen: Record<string, string> = {};
  for (const [name, value] of request.headers) {
    bytes += name.length + value.length;
    seen[name] = value;
  }
  if (bytes > HEADER_BYTES_MAX)
    throw new EdgeError("HEADERS_TOO_LARGE", `a request's headers have at most ${HEADER_BYTES_MAX} bytes`);
  return seen;
}
