/** Batches as a broker has them, for tests of what takes segments in. */
import type { PackingKernel } from "../../src/kernel/types.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { gzip } from "../../src/record/codec.ts";
import {
  ATTRIBUTES_AT,
  BATCH_HEADER_BYTES,
  CODEC_GZIP,
  CRC_AT,
  CRC_FROM,
  LENGTH_AT,
  LENGTH_OVERHEAD,
  stampBaseOffset,
} from "../../src/record/format.ts";

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

/** The batch with another records section, as one of that codec, under a checksum that is right. */
export function packedAs(kernel: PackingKernel, batch: Uint8Array, packed: Uint8Array, codec = CODEC_GZIP): Uint8Array {
  const bytes = joined([batch.subarray(0, BATCH_HEADER_BYTES), packed]);
  const view = new DataView(bytes.buffer);
  view.setInt32(LENGTH_AT, bytes.length - LENGTH_OVERHEAD);
  view.setInt16(ATTRIBUTES_AT, codec);
  view.setUint32(CRC_AT, kernel.crc32c(bytes.subarray(CRC_FROM)));
  return bytes;
}

/**
 * Batches of gzip from this offset on, each of 3 records: a good one, and those whose gzip was cut, has a flipped bit,
 * is none, or holds bytes that are no records. The last is good.
 */
export async function packedBatches(kernel: PackingKernel, from: number): Promise<readonly Uint8Array[]> {
  const plain = range(0, 6).map((i) => batchAt(kernel, from + 3 * i));
  const packed = await Promise.all(plain.map((batch) => gzip(batch.subarray(BATCH_HEADER_BYTES))));
  packed[1] = packed[1]!.slice(0, -1);
  packed[2] = flipped(packed[2]!, packed[2]!.length - 6);
  packed[3] = new TextEncoder().encode("no gzip at all, and long enough to be some");
  packed[4] = await gzip(new Uint8Array(3000).fill(0xff));
  return plain.map((batch, i) => packedAs(kernel, batch, packed[i]!));
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
