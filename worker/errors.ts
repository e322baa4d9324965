/**
 * The one error class of the edge, for everything that the Worker and its objects refuse. It has the fields of
 * TidemarkError, and knows the edge's own codes in addition to those of the log. Nothing here knows HTTP: wire/http.ts
 * has the one table that says how a code is answered.
 *
 *   thrown in store, stream, wire, … ──▶ EdgeError ──▶ errorAnswer (HTTP), wireErrorOf (WebSocket)
 *   thrown by the log below          ──▶ TidemarkError ──┘ EdgeError.from
 *
 * A call between objects (RPC) loses an error's class and fields. So an object that refuses a call returns `toWire()`,
 * and the caller rebuilds the error with `fromWire`.
 */
import { type ErrorCode, type ErrorDetails, type ErrorKind, TidemarkError, type WireError } from "../src/errors.ts";

/** Codes that only the edge has, and what the caller does about each. docs/edge.md explains them. */
const OWN_KIND_OF = {
  BAD_REQUEST: "fix",
  UNAUTHORIZED: "fix",
  FORBIDDEN: "fix",
  NOT_FOUND: "fix",
  METHOD_NOT_ALLOWED: "fix",
  NOT_ACCEPTABLE: "fix",
  TOO_LARGE: "fix",
  URL_TOO_LONG: "fix",
  HEADERS_TOO_LARGE: "fix",
  UNSUPPORTED_MEDIA_TYPE: "fix",
  RANGE_NOT_SATISFIABLE: "fix",
  UPGRADE_REQUIRED: "fix",
  WEBHOOK_URL_REJECTED: "fix",
  GONE: "refresh",
  CONFLICT: "refresh",
  STREAM_CLOSED: "refresh",
  FENCED: "refresh",
  ALREADY_CLAIMED: "retry",
  TOO_MANY_REQUESTS: "retry",
} as const;

export type EdgeOwnCode = keyof typeof OWN_KIND_OF;
export type EdgeCode = ErrorCode | EdgeOwnCode;

const isOwn = (code: unknown): code is EdgeOwnCode => typeof code === "string" && Object.hasOwn(OWN_KIND_OF, code);

/** An error as it crosses HTTP, a WebSocket and RPC. */
export interface EdgeWireError {
  readonly code: EdgeCode;
  readonly message: string;
  readonly kind: ErrorKind;
  readonly details: ErrorDetails;
}

export class EdgeError extends Error {
  override readonly name = "EdgeError";

  constructor(
    readonly code: EdgeCode,
    message: string,
    readonly details: ErrorDetails = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
  }

  get kind(): ErrorKind {
    return isOwn(this.code) ? OWN_KIND_OF[this.code] : new TidemarkError(this.code, "").kind;
  }

  toWire(): EdgeWireError {
    const { code, message, kind, details } = this;
    return { code, message, kind, details };
  }

  /** A value that is not a wire error, or has a code that this version does not know, becomes INTERNAL. */
  static fromWire(wire: unknown): EdgeError {
    const { code, message, details } = Object(wire) as Partial<EdgeWireError>;
    if (!isOwn(code)) return EdgeError.from(TidemarkError.fromWire(Object(wire) as WireError));
    return new EdgeError(code, String(message), Object(details ?? {}));
  }

  /**
   * Any thrown value as an EdgeError. An error that neither the edge nor the log made becomes INTERNAL and reveals
   * nothing.
   */
  static from(thrown: unknown): EdgeError {
    if (thrown instanceof EdgeError) return thrown;
    if (!(thrown instanceof TidemarkError)) return new EdgeError("INTERNAL", "internal error", {}, { cause: thrown });
    const { code, message, details } = thrown.toWire();
    return new EdgeError(code, message, details, { cause: thrown });
  }

  /** True if somebody threw this error on purpose. Any other error is a bug, or comes from the platform. */
  static isOne(thrown: unknown): thrown is EdgeError | TidemarkError {
    return thrown instanceof EdgeError || thrown instanceof TidemarkError;
  }
}

/** The request itself is wrong. Sent again unchanged, it gets the same answer. */
export const badRequest = (message: string, details?: ErrorDetails): EdgeError =>
  new EdgeError("BAD_REQUEST", message, details);

/** GONE if an answer is of another stream than the read: offsets of the one say nothing of the other. Null: any. */
export function checkLog(wanted: string | null | undefined, found: string | null): void {
  if (wanted && found && wanted !== found)
    throw new EdgeError("GONE", "the stream was deleted, and made anew, while it was read: begin anew", {
      anew: found,
    });
}

/** The stream gets more requests than the operator allows. */
export const tooManyRequests = (seconds: number): EdgeError =>
  new EdgeError("TOO_MANY_REQUESTS", "too many requests for this stream", {
    retryAfter: Math.max(1, Math.ceil(seconds)),
  });
