/**
 * The one table from an error's code to the status and headers of its answer, the same in all dialects. docs/edge.md
 * prints it.
 *
 *   code ──▶ STATUS_OF, but for the cases of OTHER_STATUS_OF ──▶ status
 *        └─▶ HEADERS_OF, each header made from the error's details ──▶ headers
 */
import type { ErrorDetails } from "../../src/errors.ts";
import type { EdgeCode, EdgeError, EdgeOwnCode } from "../errors.ts";
import { H } from "./durable-streams.ts";
import { formatOffset } from "./offsets.ts";

/** The error's code as a header, so that answers to HEAD and logs have it as well. */
export const ERROR_HEADER = "tidemark-error";

/** The status of each code. Other codes get 500, or 503 if the caller has to open again. */
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
  FENCED_LEADER: 409,
  UNKNOWN_OUTBOX: 409,
  OUTBOX_CONFLICT: 409,
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
  SCHEMA_MISMATCH: 422,
  UPGRADE_REQUIRED: 426,
  BACKPRESSURE: 429,
  LIMIT_EXCEEDED: 429,
  TOO_MANY_REQUESTS: 429,
  HEADERS_TOO_LARGE: 431,
  CORRUPT_RANGE: 500,
  CORRUPT_CATALOG: 500,
  INTERNAL: 500,
  CLOSED: 503,
  OUTCOME_UNKNOWN: 503,
  STORAGE_FAILED: 503,
  TIMEOUT: 503,
  QUOTA_EXCEEDED: 507,
};

interface OtherStatus {
  readonly status: number;
  is(details: ErrorDetails): boolean;
}

/** Cases of a code for which the protocol has another status, which its conformance suite checks. */
export const OTHER_STATUS_OF: Partial<Record<EdgeCode, OtherStatus>> = {
  // A new epoch that does not begin with sequence 0.
  OUT_OF_ORDER_SEQUENCE: { status: 400, is: ({ unknownProducer }) => unknownProducer === false },
  // Records that were there and have been removed.
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

/** The headers of each code, made from its details. A header is left out if the detail is missing. */
export const HEADERS_OF: Partial<Record<EdgeCode, Readonly<Record<string, Says>>>> = {
  UNAUTHORIZED: { "WWW-Authenticate": text('Bearer realm="tidemark"') },
  FENCED_PRODUCER: { [H.producerEpoch]: number("currentEpoch") },
  METHOD_NOT_ALLOWED: { Allow: ({ allow }) => (typeof allow === "string" ? allow : undefined) },
  NOT_ACCEPTABLE: { Vary: text("accept") },
  STREAM_CLOSED: { [H.closed]: text("true"), [H.next]: offset("nextOffset") },
  OUT_OF_ORDER_SEQUENCE: { [H.expectedSeq]: number("expected"), [H.receivedSeq]: number("received") },
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
  TIMEOUT: RETRY,
};

export function statusOf({ code, kind, details }: EdgeError): number {
  const other = OTHER_STATUS_OF[code];
  if (other?.is(details)) return other.status;
  return STATUS_OF[code] ?? (kind === "reopen" ? 503 : 500);
}

/** A header whose detail is missing is left out. */
export function headersOf({ code, details }: EdgeError): Record<string, string> {
  const headers: Record<string, string> = { [ERROR_HEADER]: code };
  for (const [name, says] of Object.entries(HEADERS_OF[code] ?? {})) {
    const value = says(details);
    if (value !== undefined) headers[name.toLowerCase()] = value;
  }
  return headers;
}
