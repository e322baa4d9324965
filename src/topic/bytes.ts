/** Bytes and text as callers pass them. Values that have no exact bytes are refused. */
import { textEncoder } from "../record/bytes.ts";
import { isWellFormed, refused, wellFormed } from "./check.ts";

const BYTE_VIEWS = /^\[object (Uint8Array|Uint8ClampedArray|Int8Array|DataView)\]$/;

/**
 * The bytes of a view whose elements are bytes, or that has no elements (DataView). Wider elements have a byte order
 * that only the caller knows, so they are refused.
 */
export function viewOfBytes(field: string, value: unknown): Uint8Array {
  let bytes: Uint8Array;
  if (value instanceof Uint8Array) bytes = value;
  else if (ArrayBuffer.isView(value) && BYTE_VIEWS.test(Object.prototype.toString.call(value))) {
    bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  } else throw refused(field, value, "bytes: a Uint8Array, or another view whose elements are bytes");
  if (bytes.length === 0) refuseDetached(field, bytes.buffer);
  return bytes;
}

/** A buffer that was transferred looks like an empty one. An append of it would silently lose the data. */
function refuseDetached(field: string, buffer: ArrayBufferLike): void {
  try {
    new Uint8Array(buffer);
  } catch {
    throw refused(field, buffer, "bytes that were not transferred");
  }
}

/** The bytes of values that need no check, as nearly all do. Undefined for those that the checks below must judge. */
export function quickBytes(value: unknown): Uint8Array | null | undefined {
  if (value === null) return null;
  if (typeof value === "string") return isWellFormed(value) ? textEncoder.encode(value) : undefined;
  return value instanceof Uint8Array && value.length > 0 ? value : undefined;
}

export function bytesOfText(field: string, text: string): Uint8Array {
  wellFormed(field, text);
  return textEncoder.encode(text);
}

/** Checks and converts a key, or a header's value. */
export function bytesOrNull(field: string, value: unknown): Uint8Array | null {
  if (value === null) return null;
  if (typeof value === "string") return bytesOfText(field, value);
  if (ArrayBuffer.isView(value)) return viewOfBytes(field, value);
  throw refused(field, value, "a string, bytes (a Uint8Array) or null");
}
