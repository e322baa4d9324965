/** Small byte tools of the store: a safe integer in 64 bits, a growing buffer, and those that records share. */

import { grown } from "../record/bytes.ts";

export { concat, textEncoder, viewOf } from "../record/bytes.ts";

/** A 64-bit field as a safe integer, otherwise NaN. Callers compare the result, and no comparison accepts NaN. */
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
  /** Adds `count` bytes. The caller writes them through the returned view. */
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
