/** Small byte tools of the store: big-endian fields over one view, a growing buffer, and CRC-32C of a concatenation. */

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
    if (length > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(length, this.#buffer.length * 2));
      grown.set(this.bytes);
      this.#buffer = grown;
    }
    const view = new DataView(this.#buffer.buffer, this.#length, count);
    this.#length = length;
    return view;
  }
  add(bytes: Uint8Array): void {
    this.extend(bytes.length);
    this.#buffer.set(bytes, this.#length - bytes.length);
  }
}

/** Joins parts into one new array. */
export function concat(parts: readonly Uint8Array[]): Uint8Array {
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

/** Castagnoli's polynomial, reflected. */
const POLYNOMIAL = 0x82f63b78;

/** a · b modulo the polynomial, bits reflected (x^0 is the top bit), as in zlib's crc32_combine. */
function multiply(a: number, b: number): number {
  let product = 0;
  for (let bit = 31; bit >= 0; bit--) {
    if ((a >>> bit) & 1) product ^= b;
    b = b & 1 ? (b >>> 1) ^ POLYNOMIAL : b >>> 1;
  }
  return product >>> 0;
}

/** x^(8 · 2^k): what k doublings of one zero byte do to a CRC. 31 of them cover any length below 2^31 bytes. */
const BYTE_POWERS: number[] = [];

/**
 * CRC-32C of A ‖ B from the CRCs of A and B and B's length. Each batch already carries the CRC of its own bytes, so a
 * segment's body CRC costs arithmetic instead of a second pass over all the data.
 */
export function crc32cCombine(crcA: number, crcB: number, lengthB: number): number {
  if (BYTE_POWERS.length === 0) {
    BYTE_POWERS.push(0x00800000); // x^8
    for (let k = 1; k < 31; k++) BYTE_POWERS.push(multiply(BYTE_POWERS[k - 1]!, BYTE_POWERS[k - 1]!));
  }
  let shifted = crcA;
  for (let k = 0, length = lengthB; length > 0; k++, length >>>= 1) {
    if (length & 1) shifted = multiply(BYTE_POWERS[k]!, shifted);
  }
  return (shifted ^ crcB) >>> 0;
}
