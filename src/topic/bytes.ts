/** Bytes and text as callers give them. What has no exact bytes is refused. */
import { isWellFormed, refused, wellFormed } from "./check.ts";

const encoder = new TextEncoder();
const BYTE_VIEWS = /^\[object (Uint8Array|Uint8ClampedArray|Int8Array|DataView)\]$/;

/**
 * A view's own bytes: elements of a byte, or none (DataView). Wider elements have an order of bytes, which only the
 * caller knows.
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

/** A buffer that was transferred away looks like an empty one. */
function refuseDetached(field: string, buffer: ArrayBufferLike): void {
  try {
    new Uint8Array(buffer);
  } catch {
    throw refused(field, buffer, "bytes that are still here; these were transferred");
  }
}

/** What needs no second look, as nearly everything does; undefined for what the checks below have to judge. */
export function quickBytes(value: unknown): Uint8Array | null | undefined {
  if (value === null) return null;
  if (typeof value === "string") return isWellFormed(value) ? encoder.encode(value) : undefined;
  return value instanceof Uint8Array && value.length > 0 ? value : undefined;
}

export function bytesOfText(field: string, text: string): Uint8Array {
  wellFormed(field, text);
  return encoder.encode(text);
}

/** A key, or a header's value. */
export function bytesOrNull(field: string, value: unknown): Uint8Array | null {
  if (value === null) return null;
  if (typeof value === "string") return bytesOfText(field, value);
  if (ArrayBuffer.isView(value)) return viewOfBytes(field, value);
  throw refused(field, value, "a string, bytes (a Uint8Array) or null");
}
