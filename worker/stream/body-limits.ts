/** What one request's body may hold, whatever dialect it is in, and the errors beyond it. */
import { CHUNK_BYTES_MAX } from "../store/chunk-tables.ts";
import { EdgeError } from "../errors.ts";
import { strictDecoder } from "./strict-text.ts";

/** Largest value of a record: with its header and its batch's header it must fit into one row. */
export const VALUE_BYTES_MAX = CHUNK_BYTES_MAX - 1024;
/** Bytes of a body that are encoded before others get a turn: some milliseconds of work. */
export const ENCODE_SLICE_BYTES = 256 * 1024;
/** Most records in one request: twice as many as the largest batch holds. */
export const RECORDS_MAX = 131_072;

/** `bytes`: of the message, where they are known. */
export const tooLarge = (bytes?: number): EdgeError =>
  new EdgeError("RECORD_TOO_LARGE", `a message of ${bytes ?? "too many"} bytes; it may have ${VALUE_BYTES_MAX}`);
export const tooMany = (): EdgeError =>
  new EdgeError("TOO_LARGE", `a request has at most ${RECORDS_MAX} messages; send the rest in further requests`);

/** True if these bytes are one JSON text. */
export function isJsonText(bytes: Uint8Array): boolean {
  try {
    JSON.parse(strictDecoder.decode(bytes));
    return true;
  } catch {
    return false;
  }
}
