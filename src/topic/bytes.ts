/** Bytes and text as callers pass them. Values that have no exact bytes are refused. */
import { textEncoder } from "../record/bytes.ts";
import { isWellFormed, refused, wellFormed } from "./check.ts";

const BYTE_VIEWS = /^\[object (Uint8Array|Uint8ClampedArray|Int8Array|DataView)\]$/;

/**
 * The bytes of a view whose elements are bytes, or that has no elements (DataView). Wider elements have a byte order
 * that only the caller knows, so they are refused.
 */
export function viewOfBytes(field: string, value: unknown): Uint8Array {
  const isBytes = value instanceof Uint8Array;
  if (!isBytes && !(ArrayBuffer.isView(value) && BYTE_VIEWS.test(Object.prototype.toString.call(value))))
    throw refused(field, value, "bytes: a Uint8Array, or another view whose elements are bytes");
  try {
    const { buffer, byteOffset, byteLength } = value;
    // A view of a buffer that was transferred or made smaller looks like an empty one. An append of it would silently
    // lose the data. A copy of it throws.
    if (byteLength > 0 || new Uint8Array(value as Uint8Array))
      return isBytes ? value : new Uint8Array(buffer, byteOffset, byteLength);
  } catch {
    // As below.
  }
  throw refused(field, value, "bytes that were not transferred or cut off");
}

/** The bytes of values that need no check, as nearly all do. Undefined for those that the checks below must judge. */
export function quickBytes(value: unknown): Uint8Array | undefined {
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
