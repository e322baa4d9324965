/**
 * What all answers share: machine-readable errors, and the headers that every answer carries. An error's body is
 * `{ "error": { "code", "message" } }`, with `kind` and `details` where it is a TidemarkError; `code` is API. docs/edge.md
 * lists codes and statuses.
 */
import { type ErrorCode, TidemarkError } from "../../src/errors.ts";
import { ERROR_HEADER } from "../telemetry/events.ts";

/** Codes that only HTTP knows, beside those of TidemarkError. */
export type HttpCode =
  | ErrorCode
  | "BAD_REQUEST"
  | "NOT_FOUND"
  | "GONE"
  | "CONFLICT"
  | "STREAM_CLOSED"
  | "FORBIDDEN"
  | "UNAUTHORIZED"
  | "TOO_LARGE"
  | "METHOD_NOT_ALLOWED"
  | "NOT_ACCEPTABLE"
  | "TOO_MANY_REQUESTS"
  | "WEBHOOK_URL_REJECTED"
  | "FENCED"
  | "ALREADY_CLAIMED"
  | "UNSUPPORTED_MEDIA_TYPE";

/** One request's body. More comes in several. */
export const BODY_BYTES_MAX = 16 * 1024 * 1024;

export class HttpError extends Error {
  constructor(
    readonly status: number,
    readonly code: HttpCode,
    message: string,
    readonly headers: Readonly<Record<string, string>> = {},
    readonly details: Readonly<Record<string, unknown>> = {},
  ) {
    super(message);
  }
}

export const badRequest = (message: string, headers?: Record<string, string>): HttpError =>
  new HttpError(400, "BAD_REQUEST", message, headers);

const STATUS: Partial<Record<ErrorCode, number>> = {
  INVALID_ARGUMENT: 400,
  INVALID_BATCH: 400,
  RECORD_TOO_LARGE: 413,
  BATCH_TOO_LARGE: 413,
  UNSUPPORTED_FORMAT: 415,
  DECOMPRESSION_LIMIT: 413,
  OFFSET_OUT_OF_RANGE: 416,
  CORRUPT_RANGE: 500,
  OFFSET_CONFLICT: 409,
  OUT_OF_ORDER_SEQUENCE: 409,
  SEQUENCE_CONFLICT: 409,
  FENCED_PRODUCER: 403,
  BACKPRESSURE: 429,
  LIMIT_EXCEEDED: 429,
  QUOTA_EXCEEDED: 507,
};

/** An answer before it is a Response: it can be handed from object to Worker, and gets all its headers at once. */
export interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | null;
}

export const jsonAnswer = (status: number, body: unknown, headers: Record<string, string> = {}): Answer => ({
  status,
  headers: { "content-type": "application/json", "cache-control": "no-store", ...headers },
  body: JSON.stringify(body),
});

export const responseOf = ({ status, headers, body }: Answer): Response => new Response(body, { status, headers });

export const json = (status: number, body: unknown, headers: Record<string, string> = {}): Response =>
  responseOf(jsonAnswer(status, body, headers));

/** The answer to anything thrown. What is not ours says nothing of its inside. */
export function errorAnswer(thrown: unknown): Answer {
  if (thrown instanceof HttpError) {
    return jsonAnswer(
      thrown.status,
      { error: { code: thrown.code, message: thrown.message, ...thrown.details } },
      { ...thrown.headers, [ERROR_HEADER]: thrown.code },
    );
  }
  if (thrown instanceof TidemarkError) {
    const status = STATUS[thrown.code] ?? (thrown.kind === "reopen" ? 503 : 500);
    const { code, message, details } = thrown.toWire();
    const retry: Record<string, string> = status === 429 || status === 503 ? { "retry-after": "1" } : {};
    return jsonAnswer(
      status,
      { error: { code, message, kind: thrown.kind, details } },
      { ...retry, [ERROR_HEADER]: code },
    );
  }
  console.error(JSON.stringify({ event: "error", message: String((thrown as Error | undefined)?.stack ?? thrown) }));
  return jsonAnswer(500, { error: { code: "INTERNAL", message: "internal error" } }, { [ERROR_HEADER]: "INTERNAL" });
}

export const errorResponse = (thrown: unknown): Response => responseOf(errorAnswer(thrown));

/** The same for a socket's error frame. */
export function wireErrorOf(thrown: unknown): {
  readonly code: HttpCode;
  readonly message: string;
  readonly details: object;
} {
  if (thrown instanceof HttpError) {
    const retryAfter = thrown.headers["retry-after"];
    return {
      code: thrown.code,
      message: thrown.message,
      details: {
        ...thrown.details,
        status: thrown.status,
        ...(retryAfter !== undefined && { retryAfter: Number(retryAfter) }),
      },
    };
  }
  if (thrown instanceof TidemarkError) return thrown.toWire();
  console.error(JSON.stringify({ event: "error", message: String((thrown as Error | undefined)?.stack ?? thrown) }));
  return { code: "INTERNAL", message: "internal error", details: {} };
}

const SETTINGS = `Tidemark-Retention-Bytes, Tidemark-Retention-Records, Tidemark-Retention-Seconds, Tidemark-Compaction, Tidemark-Compaction-Lag-Seconds,
  Tidemark-Compaction-Tombstone-Seconds`;
const EXPOSED =
  `Stream-Next-Offset, Stream-Up-To-Date, Stream-Closed, Stream-Cursor, Stream-TTL, Stream-Expires-At, ETag, Location,
  Producer-Epoch, Producer-Seq, Producer-Expected-Seq, Producer-Received-Seq, Stream-SSE-Data-Encoding, Retry-After, Link,
  Content-Range, Accept-Ranges, Age, Allow, Date, Vary, WWW-Authenticate, X-Accel-Buffering, CF-Ray, Tidemark-Error, Tidemark-Start-Offset, Tidemark-From-Offset, ${SETTINGS}`.replace(
    /\s+/g,
    " ",
  );
const ALLOWED =
  `Authorization, Accept, Content-Type, Range, Last-Event-ID, If-None-Match, Stream-TTL, Stream-Expires-At, Stream-Closed, Stream-Seq, Producer-Id, Producer-Epoch,
  Producer-Seq, Stream-Forked-From, Stream-Fork-Offset, Stream-Fork-Sub-Offset, Stream-Expected-Offset, Tidemark-Resent-Since, Tidemark-Sequences, ${SETTINGS},
  Cache-Control, Pragma, If-Match, If-Modified-Since, X-Requested-With, traceparent, tracestate, baggage, sentry-trace, b3, X-B3-TraceId, X-B3-SpanId,
  X-B3-ParentSpanId, X-B3-Sampled, X-B3-Flags, uber-trace-id, Request-Id, X-Request-ID, X-Correlation-ID`.replace(
    /\s+/g,
    " ",
  );
/** Names that a page's tools add without being asked. None can do harm: what the worker does not know it does not pass on. */
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
  // Streams hold whatever their writers wrote, HTML too: opened as a page, it runs nothing and is framed by nobody.
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
  "x-frame-options": "DENY",
  "strict-transport-security": "max-age=31536000",
};

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

/** The same answer with the headers that every answer carries. An upgraded socket is left alone. */
export function dressed(response: Response | Answer): Response {
  if (!(response instanceof Response)) return responseOf({ ...response, headers: { ...response.headers, ...ALWAYS } });
  if (response.status === 101) return response;
  const headers = new Headers(response.headers);
  for (const [name, value] of Object.entries(ALWAYS)) headers.set(name, value);
  return new Response(response.body, { status: response.status, headers });
}
