/** Small byte tools that records and the store share. */

/** UTF-8, for all files that write or read it. A byte-order mark is part of the text and is kept. */
export const textEncoder = new TextEncoder();
export const textDecoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });

/** A DataView over exactly these bytes. */
export const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** A copy at the start of an array that is twice as long, or of `length` if that is more. */
export function grown<Numbers extends Uint8Array | Int32Array | Float64Array>(numbers: Numbers, length = 0): Numbers {
  const larger = new (numbers.constructor as new (length: number) => Numbers)(Math.max(length, numbers.length * 2));
  larger.set(numbers);
  return larger;
}

/** Joins parts into one array. A single part is returned as it is. */
export const concat = (parts: readonly Uint8Array[]): Uint8Array => (parts.length === 1 ? parts[0]! : copyOf(parts));

/** Joins parts into one array with a buffer of its own, so that it can be transferred. */
export function copyOf(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
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
