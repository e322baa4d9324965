/**
 * The one error class of Tidemark. `kind` says what the caller must do. `code` is API and never changes, `details` are
 * plain data, messages are for people and may change. The error crosses ports, Comlink and HTTP as the plain object of
 * `toWire`.
 *
 *   kind      the caller …                          codes
 *   fix       corrects the call                     INVALID_ARGUMENT RECORD_TOO_LARGE BATCH_TOO_LARGE INVALID_BATCH
 *                                                   OFFSET_OUT_OF_RANGE UNSUPPORTED_FORMAT UNKNOWN_TOPIC NO_STORAGE
 *                                                   ENGINE_MISMATCH BLOCKED UNSUPPORTED_EDGE OWNER_CHANGED VIEW_IMPURE
 *                                                   SCHEMA_MISMATCH
 *   refresh   looks at the new state and decides    OFFSET_CONFLICT OUT_OF_ORDER_SEQUENCE SEQUENCE_CONFLICT
 *                                                   FENCED_PRODUCER FENCED_LEADER UNKNOWN_OUTBOX OUTBOX_CONFLICT
 *   retry     tries again later, unchanged          BACKPRESSURE LIMIT_EXCEEDED QUOTA_EXCEEDED ALREADY_OPEN TIMEOUT
 *                                                   LOAD_FAILED OUTBOX_FULL SYNC_PAUSED
 *   stop      reads around it, or restores          CORRUPT_RANGE CORRUPT_CATALOG DECOMPRESSION_LIMIT IN_DOUBT DIVERGED
 *                                                   REPLACED RETRACTED
 *   reopen    opens again; producers then re-send   OUTCOME_UNKNOWN STORAGE_FAILED CLOSED
 *   report    files a bug                           INTERNAL
 */
import { KIND_OF } from "./error-kinds.ts";

export { KIND_OF };

export type ErrorCode = keyof typeof KIND_OF;
export type ErrorKind = (typeof KIND_OF)[ErrorCode];
/** What is wrong with a value of a typed topic: `path` leads to the place inside the value. */
export interface SchemaIssue {
  readonly message: string;
  readonly path: readonly (string | number)[];
}
/** Plain data only: it must survive structured clone and JSON. `issues` are those of SCHEMA_MISMATCH. */
export type ErrorDetails = Readonly<
  Record<string, string | number | boolean | null | undefined | readonly SchemaIssue[]>
>;

export interface WireError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly details: ErrorDetails;
}

export class TidemarkError extends Error {
  override readonly name = "TidemarkError";
  readonly kind: ErrorKind;

  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details: ErrorDetails = {},
    options?: ErrorOptions,
  ) {
    super(`${code}: ${message}`, options);
    this.kind = KIND_OF[code];
  }

  toWire(): WireError {
    return { code: this.code, message: this.message.slice(this.code.length + 2), details: this.details };
  }

  /** The same error with more details. */
  with(details: ErrorDetails): TidemarkError {
    return new TidemarkError(this.code, this.toWire().message, { ...this.details, ...details }, { cause: this });
  }

  /** A value that is not a wire error, or has a code of a later version, becomes INTERNAL. */
  static fromWire(wire: WireError): TidemarkError {
    const { code, message, details } = Object(wire) as WireError;
    const text = typeof message === "string" ? message : "?";
    return new TidemarkError(
      typeof code === "string" && Object.hasOwn(KIND_OF, code) ? code : "INTERNAL",
      text,
      Object(details),
    );
  }

  /** Any thrown value as a TidemarkError. Other errors become one with `code`, and the original as its `cause`. */
  static from(thrown: unknown, code: ErrorCode = "INTERNAL"): TidemarkError {
    if (thrown instanceof TidemarkError) return thrown;
    const message = thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown);
    return new TidemarkError(code, message, {}, { cause: thrown });
  }
}

/** For programmer errors only: a broken invariant inside Tidemark, never bad input. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new TidemarkError("INTERNAL", message);
}
