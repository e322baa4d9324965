/** Small byte tools of the store: big-endian fields over one view, a growing buffer, joining. */

import { grown } from "../record/batch-builder.ts";

/** A DataView over exactly these bytes. */
export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A 64-bit field as a safe integer, or NaN when it is none: callers compare, so NaN is never accepted. */
export function getSafe64(view: DataView, at: number): number {
  const value = Number(view.getBigInt64(at));
  return Number.isSafeInteger(value) ? value : Number.NaN;
}

/** Bytes that grow by doubling; `bytes` is a view of what has been added. */
export class GrowingBytes {
  #buffer = new Uint8Array(256);
  #length = 0;

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }
  get length(): number {
    return this.#length;
  }
  /** Room for `count` more bytes, counted as added; the caller writes them through the returned view. */
  extend(count: number): DataView {
    const length = this.#length + count;
    if (length > this.#buffer.length) this.#buffer = grown(this.#buffer, length);
    const view = new DataView(this.#buffer.buffer, this.#length, count);
    this.#length = length;
    return view;
  }
  add(bytes: Uint8Array): void {
    this.extend(bytes.length);
    this.#buffer.set(bytes, this.#length - bytes.length);
  }
}

/** Joins parts into one array; a single part comes back as it is. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  let length = 0;
  for (const part of parts) length += part.length;
  const joined = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}
