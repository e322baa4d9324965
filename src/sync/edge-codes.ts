/** Codes of the edge, as the library names them. */
import { type ErrorCode, TidemarkError } from "../errors.ts";

/** Codes of the edge that have another name in the library. */
const NAMES: Readonly<Record<string, TidemarkError["code"]>> = {
  NOT_FOUND: "UNKNOWN_TOPIC",
  GONE: "UNKNOWN_TOPIC",
  STREAM_CLOSED: "CLOSED",
  CONFLICT: "INVALID_ARGUMENT",
  FORBIDDEN: "INVALID_ARGUMENT",
  UNAUTHORIZED: "INVALID_ARGUMENT",
  BAD_REQUEST: "INVALID_ARGUMENT",
  TOO_LARGE: "BATCH_TOO_LARGE",
  TOO_MANY_REQUESTS: "LIMIT_EXCEEDED",
};

export const libraryNameOf = (code: string): ErrorCode => NAMES[code] ?? (code as ErrorCode);

/** The same, where a code that the library does not know is INTERNAL. */
export const libraryCodeOf = (code: string): ErrorCode =>
  TidemarkError.fromWire({ code: libraryNameOf(code), message: "", details: {} }).code;
