/** Batches of the client, which has no kernel: the kernel takes what it writes, and it reads what the kernel writes. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeBatches } from "../../src/client/decode-batch.ts";
import { encodeBatch, sizeOf } from "../../src/client/encode-batch.ts";
import { crc32c } from "../../src/client/crc32c.ts";
import type { ProducerRecord } from "../../src/delivery/producer.ts";
import type { CheckedBatch } from "../../src/delivery/read-record.ts";
import { TidemarkError } from "../../src/errors.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { concat } from "../../src/record/bytes.ts";
import { compressBatch } from "../../src/record/codec.ts";
import { stampBaseOffset } from "../../src/record/format.ts";
import { decodeBatch } from "../../src/record/record-batch.ts";
import { Status } from "../../src/kernel/types.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
const OWNER = { producerId: 2 ** 53 - 1, producerEpoch: 7, baseSequence: 2 ** 31 - 1 };

const bytes: fc.Arbitrary<Uint8Array | null> = fc.option(fc.uint8Array({ maxLength: 300 }));
const record: fc.Arbitrary<ProducerRecord> = fc.record({
  key: bytes,
  value: bytes,
  headers: fc.array(fc.tuple(fc.string({ unit: "binary", maxLength: 20 }), bytes), { maxLength: 3 }),
  timestamp: fc.integer({ min: -(2 ** 40), max: 2 ** 41 }),
});
const records = fc.array(record, { minLength: 1, maxLength: 40 });

async function read(data: Uint8Array): Promise<CheckedBatch[]> {
  const found: CheckedBatch[] = [];
  for await (const batch of decodeBatches(data)) found.push(batch);
  return found;
}

const rowsOf = (batch: CheckedBatch): unknown[] =>
  Array.from({ length: batch.count }, (_, i) => [
    batch.offsetAt(i),
    batch.idAt(i),
    batch.timestampAt(i),
    batch.keyAt(i),
    batch.valueAt(i),
    batch.headersAt(i),
  ]);

describe("a batch of the client", () => {
  it("is what the kernel writes, byte for byte, and not larger than its parts said", () => {
    fc.assert(
      fc.property(records, (all) => {
        const builder = new BatchBuilder(kernel);
        expect(builder.tryAppendAll(all)).toBe(true);
        const batch = encodeBatch(all, OWNER);
        expect(batch).toEqual(builder.build(OWNER));
        expect(kernel.validateBatch(batch)).toBe(Status.OK);
        expect(batch.length).toBeLessThanOrEqual(61 + all.reduce((sum, each) => sum + sizeOf(each), 0));
      }),
      { numRuns: 300 },
    );
  });

  it("is read as the kernel reads it, packed or not", async () => {
    await fc.assert(
      fc.asyncProperty(records, fc.boolean(), fc.nat(2 ** 40), async (all, isPacked, baseOffset) => {
        const plain = encodeBatch(all, OWNER);
        const batch = isPacked ? await compressBatch(kernel, plain) : plain;
        stampBaseOffset(batch, baseOffset);
        const [own] = await read(concat([batch, batch]).subarray(0, batch.length));
        const theirs = await decodeBatch(kernel, batch);
        expect(rowsOf(own!)).toEqual(rowsOf(theirs));
        expect([own!.baseOffset, own!.nextOffset]).toEqual([theirs.baseOffset, theirs.nextOffset]);
      }),
      { numRuns: 200 },
    );
  });

  it("holes that compaction left are holes; a batch without records is none", async () => {
    const all = Array.from({ length: 5 }, (_, n) => ({ key: null, value: Uint8Array.of(n), timestamp: n }));
    const { bytes: thinned } = kernel.filterBatch(encodeBatch(all, OWNER), Uint8Array.of(0b10010));
    const [batch] = await read(thinned);
    expect(Array.from({ length: batch!.count }, (_, i) => batch!.offsetAt(i))).toEqual([1, 4]);
    expect(batch!.nextOffset).toBe(5);
    const { bytes: empty } = kernel.filterBatch(encodeBatch(all, OWNER), Uint8Array.of(0));
    expect((await read(empty))[0]).toMatchObject({ count: 0, nextOffset: 5 });
  });
});

describe("bytes that are no batch", () => {
  it("every flipped bit under the checksum is CORRUPT_RANGE, and names the offsets", async () => {
    const all = [{ key: Uint8Array.of(1), value: Uint8Array.of(2, 3), headers: [["a", null]] as const, timestamp: 9 }];
    const good = encodeBatch(all, OWNER);
    for (let bit = 17 * 8; bit < good.length * 8; bit++) {
      const bad = good.slice();
      bad[bit >> 3]! ^= 1 << (bit & 7);
      await expect(read(bad)).rejects.toMatchObject({ code: "CORRUPT_RANGE" });
    }
  });

  it("lies under a right checksum are typed errors, whatever they say", async () => {
    await fc.assert(
      fc.asyncProperty(records, fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 }), async (all, lies) => {
        const batch = encodeBatch(all, OWNER);
        for (const [at, byte] of lies) batch[21 + (at % (batch.length - 21))] = byte;
        new DataView(batch.buffer, batch.byteOffset).setUint32(17, crc32c(batch.subarray(21)));
        await read(batch).catch((thrown: unknown) => expect(thrown).toBeInstanceOf(TidemarkError));
      }),
      { numRuns: 2_000 },
    );
  });

  it("noise and pieces of batches are typed errors", async () => {
    const good = encodeBatch([{ key: null, value: null, timestamp: 0 }], OWNER);
    for (let length = 1; length < good.length; length++)
      await expect(read(good.subarray(0, length))).rejects.toMatchObject({ code: "CORRUPT_RANGE" });
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 200 }), async (noise) => {
        await expect(read(noise)).rejects.toBeInstanceOf(TidemarkError);
      }),
    );
  });

  it("a bomb ends at 2 MiB", async () => {
    const zeros = { key: null, value: new Uint8Array(3 * 1024 * 1024), timestamp: 0 };
    const bomb = await compressBatch(kernel, encodeBatch([zeros], OWNER));
    await expect(read(bomb)).rejects.toMatchObject({ code: "DECOMPRESSION_LIMIT", details: { from: 0, to: 1 } });
  });
});
