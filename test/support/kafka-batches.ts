/** Batches as a broker has them, for tests of what takes segments in. */
import type { PackingKernel } from "../../src/kernel/types.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { stampBaseOffset } from "../../src/record/format.ts";

/** The value of the record at this offset, and its timestamp below. */
export const valueAt = (offset: number, size: number): string => `${offset} `.padEnd(size, ".");
export const timeAt = (offset: number): number => 1000 + offset;

/** A batch of `count` records of `size` bytes each, with the producer of an old writer. */
export function batchAt(kernel: PackingKernel, baseOffset: number, count = 3, size = 1000, json = false): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (let i = 0; i < count; i++) {
    const value = valueAt(baseOffset + i, size);
    builder.tryAppend({
      key: null,
      value: new TextEncoder().encode(json ? JSON.stringify(value) : value),
      timestamp: timeAt(baseOffset + i),
    });
  }
  const bytes = builder.build({ producerId: 7, producerEpoch: 3, baseSequence: baseOffset % 2 ** 31 });
  stampBaseOffset(bytes, baseOffset);
  return bytes;
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

/** The bytes with one bit other. */
export function flipped(bytes: Uint8Array, at: number): Uint8Array {
  const copy = bytes.slice();
  copy[at]! ^= 1;
  return copy;
}
