/**
 * The headers of every answer, with which pages of any origin may read it and no browser shows it as a page; and the
 * answer to preflight requests.
 */
import type { Answer } from "./http.ts";

const SETTINGS = `Tidemark-Retention-Bytes, Tidemark-Retention-Records, Tidemark-Retention-Seconds, Tidemark-Compaction,
  Tidemark-Compaction-Lag-Seconds, Tidemark-Compaction-Tombstone-Seconds`;
const EXPOSED =
  `Stream-Next-Offset, Stream-Up-To-Date, Stream-Closed, Stream-Cursor, Stream-TTL, Stream-Expires-At, ETag,
  Location, Producer-Epoch, Producer-Seq, Producer-Expected-Seq, Producer-Received-Seq, Stream-SSE-Data-Encoding,
  Retry-After, Link, Content-Range, Accept-Ranges, Age, Allow, Date, Vary, WWW-Authenticate, X-Accel-Buffering,
  CF-Ray, Tidemark-Error, Tidemark-Start-Offset, Tidemark-From-Offset, Tidemark-End-Offset, Tidemark-Log,
  Tidemark-Life, Tidemark-Body-Bytes, ${SETTINGS}`.replace(/\s+/g, " ");
const ALLOWED =
  `Authorization, Accept, Content-Type, Range, Last-Event-ID, If-None-Match, Stream-TTL, Stream-Expires-At,
  Stream-Closed, Stream-Seq, Producer-Id, Producer-Epoch, Producer-Seq, Stream-Forked-From, Stream-Fork-Offset,
  Stream-Fork-Sub-Offset, Stream-Expected-Offset, Tidemark-Resent-Since, Tidemark-Sequences, Tidemark-Outbox,
  Tidemark-Tide, Tidemark-Trim-Before, ${SETTINGS},
  Cache-Control, Pragma, If-Match, If-Modified-Since, X-Requested-With, traceparent, tracestate, baggage,
  sentry-trace, b3, X-B3-TraceId, X-B3-SpanId, X-B3-ParentSpanId, X-B3-Sampled, X-B3-Flags, uber-trace-id,
  Request-Id, X-Request-ID, X-Correlation-ID`.replace(/\s+/g, " ");

/**
 * Most names of further headers that a preflight may ask for, which a page's tools add by themselves. They do no harm:
 * the worker does not pass on headers that it does not know.
 */
const NAMES_MAX = 64;
const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$/;

function allowedFor(request: Request): string {
  const known = new Set(ALLOWED.toLowerCase().split(", "));
  const asked = (request.headers.get("access-control-request-headers") ?? "")
    .split(",")
    .map((name) => name.trim().toLowerCase());
  const others = asked.filter((name) => TOKEN.test(name) && !known.has(name));
  return [ALLOWED, ...new Set(others.slice(0, NAMES_MAX))].join(", ");
}

/** Constant, so that a shared cache may keep an answer for everybody. */
const ALWAYS = {
  "access-control-allow-origin": "*",
  "access-control-expose-headers": EXPOSED,
  "x-content-type-options": "nosniff",
  "cross-origin-resource-policy": "cross-origin",
  "referrer-policy": "no-referrer",
  // Streams hold whatever their writers wrote, even HTML. Opened as a page it must run nothing, and must not be framed.
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
  "x-frame-options": "DENY",
  "strict-transport-security": "max-age=31536000",
};
/** The runtime copies Headers in less than half of the time that it takes to make them from texts. */
const ALWAYS_MADE = new Headers(ALWAYS);

export function preflight(request: Request): Response {
  return new Response(null, {
    status: 204,
    headers: {
      ...ALWAYS,
      "access-control-allow-methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
      "access-control-allow-headers": allowedFor(request),
      vary: "Access-Control-Request-Headers",
      "access-control-max-age": "86400",
    },
  });
}

/** Adds the common security and CORS headers; leaves a 101 untouched. */
export function withCommonHeaders(response: Response | Answer): Response {
  if (!(response instanceof Response)) return commonResponse(response);
  if (response.status === 101) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ALWAYS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, headers });
}

function commonResponse({ status, headers, body }: Answer): Response {
  const response = new Response(body, { status, headers: ALWAYS_MADE });
  for (const name of Object.keys(headers)) response.headers.set(name, headers[name]!);
  return response;
}
