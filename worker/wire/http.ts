/**
 * How answers look, whoever gives them: the one table from an error's code to status and headers, the one body of errors
 * (`{ "error": { code, message, kind, details } }`), and the headers that every answer carries. docs/edge.md prints the table.
 */
import type { ErrorDetails } from "../../src/errors.ts";
import { type EdgeCode, EdgeError, type EdgeOwnCode, type EdgeWireError } from "../errors.ts";
import { formatOffset, H } from "./durable-streams.ts";

/** One request's body. More comes in several. */
export const BODY_BYTES_MAX = 16 * 1024 * 1024;

/** An error's code beside its body, so that HEAD and logs have it as well. */
export const ERROR_HEADER = "tidemark-error";

/** The status of each code. What is not here is 500, or 503 where the caller has to open again. */
export const STATUS_OF: Readonly<Record<EdgeOwnCode, number> & Partial<Record<EdgeCode, number>>> = {
  BAD_REQUEST: 400,
  INVALID_ARGUMENT: 400,
  INVALID_BATCH: 400,
  WEBHOOK_URL_REJECTED: 400,
  UNAUTHORIZED: 401,
  FORBIDDEN: 403,
  FENCED_PRODUCER: 403,
  NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  NOT_ACCEPTABLE: 406,
  CONFLICT: 409,
  STREAM_CLOSED: 409,
  OUT_OF_ORDER_SEQUENCE: 409,
  SEQUENCE_CONFLICT: 409,
  OFFSET_CONFLICT: 409,
  FENCED: 409,
  ALREADY_CLAIMED: 409,
  GONE: 410,
  TOO_LARGE: 413,
  RECORD_TOO_LARGE: 413,
  BATCH_TOO_LARGE: 413,
  DECOMPRESSION_LIMIT: 413,
  URL_TOO_LONG: 414,
  UNSUPPORTED_MEDIA_TYPE: 415,
  UNSUPPORTED_FORMAT: 415,
  OFFSET_OUT_OF_RANGE: 416,
  RANGE_NOT_SATISFIABLE: 416,
  UPGRADE_REQUIRED: 426,
  BACKPRESSURE: 429,
  LIMIT_EXCEEDED: 429,
  TOO_MANY_REQUESTS: 429,
  HEADERS_TOO_LARGE: 431,
  CORRUPT_RANGE: 500,
  INTERNAL: 500,
  CLOSED: 503,
  OUTCOME_UNKNOWN: 503,
  STORAGE_FAILED: 503,
  QUOTA_EXCEEDED: 507,
};

interface OtherStatus {
  readonly status: number;
  is(details: ErrorDetails): boolean;
}

/** Where the protocol has another status for a case of the same code, and its conformance suite asks for it. */
export const OTHER_STATUS_OF: Partial<Record<EdgeCode, OtherStatus>> = {
  // A new epoch that does not begin with sequence 0.
  OUT_OF_ORDER_SEQUENCE: { status: 400, is: ({ unknownProducer }) => unknownProducer === false },
  // Records that have been there, and were let go.
  OFFSET_OUT_OF_RANGE: { status: 410, is: ({ offset, logStartOffset }) => Number(offset) < Number(logStartOffset) },
};

type Says = (details: ErrorDetails) => string | undefined;
const number =
  (name: string): Says =>
  ({ [name]: value }) =>
    typeof value === "number" ? String(value) : undefined;
const offset =
  (name: string): Says =>
  ({ [name]: value }) =>
    typeof value === "number" ? formatOffset(value) : undefined;
const text =
  (value: string): Says =>
  () =>
    value;
const RETRY = { "Retry-After": ({ retryAfter }: ErrorDetails) => String(retryAfter ?? 1) };

/** The headers of each code, from its details; one without the detail is left out. */
export const HEADERS_OF: Partial<Record<EdgeCode, Readonly<Record<string, Says>>>> = {
  UNAUTHORIZED: { "WWW-Authenticate": text('Bearer realm="tidemark"') },
  FENCED_PRODUCER: { [H.producerEpoch]: number("currentEpoch") },
  METHOD_NOT_ALLOWED: { Allow: ({ allow }) => (typeof allow === "string" ? allow : undefined) },
  NOT_ACCEPTABLE: { Vary: text("accept") },
  STREAM_CLOSED: { [H.closed]: text("true"), [H.next]: offset("nextOffset") },
  OUT_OF_ORDER_SEQUENCE: { [H.expectedSeq]: number("expected"), [H.receivedSeq]: number("received") },
  GONE: { [H.next]: offset("nextOffset") },
  OFFSET_OUT_OF_RANGE: {
    [H.next]: ({ offset: asked, logStartOffset: start, logEndOffset: end }) =>
      formatOffset(Number(Number(asked) < Number(start) ? start : end)),
  },
  RANGE_NOT_SATISFIABLE: { "Content-Range": ({ size }) => `bytes */${size}` },
  UPGRADE_REQUIRED: { Upgrade: text("websocket") },
  BACKPRESSURE: RETRY,
  LIMIT_EXCEEDED: RETRY,
  TOO_MANY_REQUESTS: RETRY,
  CLOSED: RETRY,
  OUTCOME_UNKNOWN: RETRY,
  STORAGE_FAILED: RETRY,
};

export function statusOf({ code, kind, details }: EdgeError): number {
  const other = OTHER_STATUS_OF[code];
  if (other?.is(details)) return other.status;
  return STATUS_OF[code] ?? (kind === "reopen" ? 503 : 500);
}

function headersOf({ code, details }: EdgeError): Record<string, string> {
  const headers: Record<string, string> = { [ERROR_HEADER]: code };
  for (const [name, says] of Object.entries(HEADERS_OF[code] ?? {})) {
    const value = says(details);
    if (value !== undefined) headers[name.toLowerCase()] = value;
  }
  return headers;
}

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

/** Anything thrown, as all dialects tell it. What nobody threw on purpose goes to the log. */
function edgeErrorOf(thrown: unknown): EdgeError {
  if (!EdgeError.isOne(thrown)) {
    const message = String((thrown as Error | undefined)?.stack ?? thrown);
    console.error(JSON.stringify({ event: "error", message }));
  }
  return EdgeError.from(thrown);
}

/** The protocol names these beside the code. */
const besideCode = ({ code, details }: EdgeError): object =>
  code === "ALREADY_CLAIMED" ? { current_holder: details["holder"], generation: details["generation"] } : {};

/** The answer to anything thrown. */
export function errorAnswer(thrown: unknown): Answer {
  const error = edgeErrorOf(thrown);
  return jsonAnswer(statusOf(error), { error: { ...error.toWire(), ...besideCode(error) } }, headersOf(error));
}

export const errorResponse = (thrown: unknown): Response => responseOf(errorAnswer(thrown));

/** The same for the error frame of a socket, whose payload is what HTTP has under `error`. */
export const wireErrorOf = (thrown: unknown): EdgeWireError => edgeErrorOf(thrown).toWire();

/** What an object has refused, from its answer. */
export async function refusalIn(response: Response): Promise<EdgeError> {
  const { error } = (await response.json().catch(() => ({}))) as { error?: unknown };
  return EdgeError.fromWire(error);
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
