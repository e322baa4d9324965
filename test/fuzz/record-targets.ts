/**
 * Hostile batches into what a reader uses: `decodeBatch`, and then every field of every record, plain and gzip. With
 * gzip the bytes are damaged before the compression, after it, or in the stream's trailer, and some sections are bombs:
 * small streams that decompress to much.
 */
import { gzipSync } from "node:zlib";
import { KERNEL_BATCH_BYTES_MAX, type Kernel } from "../../src/kernel/types.ts";
import { decompressBatch } from "../../src/record/codec.ts";
import {
  ATTRIBUTES_AT,
  BATCH_HEADER_BYTES,
  CRC_AT,
  CRC_FROM,
  LENGTH_AT,
  LENGTH_OVERHEAD,
} from "../../src/record/format.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../../src/record/record-batch.ts";
import type { Random } from "../simulation/prng.ts";
import { Mutator } from "./mutate.ts";
import { GZIP } from "./seeds.ts";
import { codeOf, demand, type MakeTarget, type Parts, Tally, type Target } from "./target.ts";

/** Reads every field of every record. Returns the number of bytes that they point at. */
export function readAll(batch: RecordBatch): number {
  let bytes = 0;
  for (let i = 0; i < batch.count; i++) {
    const numbers = Number.isSafeInteger(batch.offsetAt(i)) && Number.isSafeInteger(batch.timestampAt(i));
    if (!numbers) throw new RangeError(`record ${i} has an offset or timestamp that is no safe integer`);
    bytes += (batch.keyAt(i)?.length ?? 0) + (batch.valueAt(i)?.length ?? 0);
    for (const [, value] of batch.headersAt(i)) bytes += value?.length ?? 0;
  }
  return bytes;
}

class RecordTarget implements Target {
  readonly #tally = new Tally();
  readonly #random: Random;
  readonly #kernel: Kernel;
  readonly #mutator: Mutator;

  constructor({ kernel, random, corpus }: Parts) {
    this.#random = random;
    this.#kernel = kernel;
    this.#mutator = new Mutator(kernel, random, corpus);
  }

  step(): void | Promise<void> {
    const bytes = this.#mutator.next();
    const checkCrc = this.#random.chance(0.7);
    try {
      const batch = decodeBatch(this.#kernel, bytes, { checkCrc });
      if (batch instanceof Promise) return this.#later(batch, bytes.slice());
      demand(readAll(batch) <= bytes.length, "fields hold more bytes than the batch", bytes);
      this.#tally.add("ok");
      if (this.#random.chance(0.01)) splitBatches(bytes);
    } catch (thrown) {
      this.#tally.add(codeOf(thrown, bytes));
    }
  }

  async #later(batch: Promise<RecordBatch>, bytes: Uint8Array): Promise<void> {
    try {
      readAll(await batch);
      this.#tally.add("ok compressed");
    } catch (thrown) {
      this.#tally.add(`${codeOf(thrown, bytes)} compressed`);
    }
  }

  outcomes(): Record<string, number> {
    return this.#tally.all();
  }
}

/** Sections that gzip makes small: [how many bytes, of which value]. The last two are larger than every limit. */
const BOMBS = [
  [KERNEL_BATCH_BYTES_MAX - 100, 0],
  [KERNEL_BATCH_BYTES_MAX, 0],
  [KERNEL_BATCH_BYTES_MAX + 1, 0],
  [KERNEL_BATCH_BYTES_MAX, 0x80],
  [16 * 1024 * 1024, 0],
  [64 * 1024 * 1024, 0],
] as const;

/** A batch whose records section is these compressed bytes. */
export function compressedBatch(kernel: Kernel, header: Uint8Array, section: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(BATCH_HEADER_BYTES + section.length);
  bytes.set(header.subarray(0, BATCH_HEADER_BYTES));
  bytes.set(section, BATCH_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setInt32(LENGTH_AT, bytes.length - LENGTH_OVERHEAD);
  view.setInt16(ATTRIBUTES_AT, GZIP);
  view.setUint32(CRC_AT, kernel.crc32c(bytes.subarray(CRC_FROM)));
  return bytes;
}

const bombSections = (): Uint8Array[] =>
  BOMBS.map(([bytes, fill]) => new Uint8Array(gzipSync(new Uint8Array(bytes).fill(fill))));

class GzipTarget implements Target {
  readonly #tally = new Tally();
  readonly #random: Random;
  readonly #kernel: Kernel;
  readonly #mutator: Mutator;
  readonly #bombs = bombSections();
  #largest = 0;

  constructor({ kernel, random, corpus }: Parts) {
    this.#random = random;
    this.#kernel = kernel;
    this.#mutator = new Mutator(kernel, random, corpus);
  }

  #section(header: Uint8Array): Uint8Array {
    const random = this.#random;
    const records = (random.chance(0.6) ? header : this.#mutator.next()).subarray(BATCH_HEADER_BYTES);
    const section = random.chance(0.01)
      ? random.pick(this.#bombs).slice()
      : new Uint8Array(gzipSync(records, { level: random.pick([0, 1, 6]) }));
    const view = new DataView(section.buffer);
    switch (random.int(9)) {
      case 0:
        // ISIZE: the length that the stream claims to have when decompressed.
        view.setUint32(
          section.length - 4,
          random.pick([0, 1, records.length + 1, KERNEL_BATCH_BYTES_MAX, KERNEL_BATCH_BYTES_MAX + 1, 2 ** 32 - 1]),
          true,
        );
        return section;
      case 1:
        section[random.int(section.length)]! ^= 1 << random.int(8);
        return section;
      case 2:
        return section.subarray(0, random.int(section.length));
      case 3:
        return Buffer.concat([section, random.chance(0.5) ? section : new Uint8Array(random.int(30))]);
      default:
        return section;
    }
  }

  async step(): Promise<void> {
    const header = this.#random.pick(this.#mutator.good).bytes;
    const bytes = compressedBatch(this.#kernel, header, this.#section(header));
    const decompressedBytesMax = this.#random.pick([100, 1000, KERNEL_BATCH_BYTES_MAX, 2 ** 31]);
    try {
      const batch = await decodeBatch(this.#kernel, bytes, { decompressedBytesMax });
      demand(
        readAll(batch) <= Math.min(decompressedBytesMax, KERNEL_BATCH_BYTES_MAX),
        "more decompressed than allowed",
        bytes,
      );
      this.#tally.add("ok");
    } catch (thrown) {
      this.#tally.add(codeOf(thrown, bytes));
    }
    if (this.#random.chance(0.9)) return;
    // As compaction calls it. It may reject, because compaction handles that.
    const plain = await decompressBatch(this.#kernel, bytes, KERNEL_BATCH_BYTES_MAX).catch(() => undefined);
    if (plain) this.#largest = Math.max(this.#largest, plain.length);
    demand(this.#largest <= KERNEL_BATCH_BYTES_MAX + BATCH_HEADER_BYTES, "decompressed beyond the cap", bytes);
  }

  outcomes(): Record<string, number> {
    return this.#tally.all();
  }
  figures(): Record<string, number> {
    return { largestDecompressedBytes: this.#largest };
  }
}

export const record: MakeTarget = (parts) => new RecordTarget(parts);
export const gzip: MakeTarget = (parts) => new GzipTarget(parts);
