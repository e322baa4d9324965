/** Batch builder and reader: records come back as they were given, limits hold, and damage is reported by a code. */
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { KERNEL_BATCH_RECORDS_MAX, type Kernel, Status } from "../../src/kernel/types.ts";
import { BatchBuilder, type BuilderRecord } from "../../src/record/batch-builder.ts";
import { stampBaseOffset } from "../../src/record/format.ts";
import { decodeBatch, RecordBatch, splitBatches } from "../../src/record/record-batch.ts";
import { isTransactional, markerOf } from "../../src/record/transactions.ts";
import { owners, records, SEED, wildOwners } from "../contract/kernel-arbitraries.ts";
import { equal, fails } from "../contract/check.ts";
import { concat, craft, requestOf, utf8 } from "../contract/kernel-samples.ts";
import { referenceKernel, releaseKernel } from "../support/kernels.ts";

const NOBODY = { producerId: -1, producerEpoch: -1, baseSequence: -1 };
let kernel: Kernel;
beforeAll(async () => {
  kernel = await releaseKernel();
});

const read = (bytes: Uint8Array): RecordBatch => {
  const batch = decodeBatch(kernel, bytes);
  if (!(batch instanceof RecordBatch)) throw new Error("an uncompressed batch is read at once");
  return batch;
};

function inputsOf(batch: RecordBatch): BuilderRecord[] {
  return Array.from({ length: batch.count }, (_, i) => ({
    key: batch.keyAt(i),
    value: batch.valueAt(i),
    headers: batch.headersAt(i),
    timestamp: batch.timestampAt(i),
  }));
}

describe(`BatchBuilder (seed ${SEED})`, () => {
  test("records come back as they were given, and the size was known before", () => {
    const builder = new BatchBuilder(kernel);
    fc.assert(
      fc.property(fc.array(records, { minLength: 1, maxLength: 200 }), (list) => {
        builder.reset();
        for (const record of list) expect(builder.tryAppend(record)).toBe(true);
        expect(builder.count).toBe(list.length);
        const bytes = builder.build({ producerId: 3, producerEpoch: 1, baseSequence: 9, attributes: 0x10 });
        expect(bytes.length).toBe(builder.sizeBytes);
        const batch = read(bytes);
        // Lone surrogates cannot be written in UTF-8, and -0 is stored as 0.
        equal(
          inputsOf(batch),
          list.map((record) => ({
            ...record,
            headers: record.headers.map(([key, value]) => [new TextDecoder().decode(utf8(key)), value]),
            timestamp: record.timestamp + 0,
          })),
        );
        equal(
          [batch.header.producerId, batch.header.producerEpoch, batch.header.baseSequence, batch.header.attributes],
          [3, 1, 9, 0x10],
        );
        equal([batch.baseOffset, batch.nextOffset, batch.offsetAt(list.length - 1)], [0, list.length, list.length - 1]);
      }),
      { seed: SEED, numRuns: 150 },
    );
  });

  test("a batch is the one that the reference kernel makes of the same records", () => {
    const reference = referenceKernel();
    const builder = new BatchBuilder(kernel);
    fc.assert(
      fc.property(fc.array(records, { minLength: 1, maxLength: 100 }), owners, (list, owner) => {
        builder.reset();
        const [first, ...rest] = list;
        builder.tryAppend(first!);
        // What is taken away again leaves no trace.
        const late = { key: utf8("k"), value: null, timestamp: Number.MAX_SAFE_INTEGER };
        expect(() => builder.tryAppendAll([late, { ...late, timestamp: 0.5 }])).toThrow("timestamp");
        if (list.length % 2) expect(builder.tryAppendAll(rest)).toBe(true);
        else for (const record of rest) builder.tryAppend(record);
        equal(builder.build(owner), reference.encodeBatch(requestOf(list, owner)).bytes);
      }),
      { seed: SEED, numRuns: 300 },
    );
  });

  test("an owner that the reference kernel refuses is INVALID_ARGUMENT", () => {
    const reference = referenceKernel();
    const builder = new BatchBuilder(kernel);
    const record = { key: null, value: null, timestamp: 5 };
    builder.tryAppend(record);
    let refused = 0;
    fc.assert(
      fc.property(wildOwners, (owner) => {
        const { status, bytes } = reference.encodeBatch(requestOf([record], owner));
        if (status === Status.OK) return equal(builder.build(owner), bytes);
        refused++;
        expect(() => builder.build(owner)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
      }),
      { seed: SEED, numRuns: 300 },
    );
    expect(refused).toBeGreaterThan(30);
    expect(refused).toBeLessThan(290);
  });

  test("a record that would pass the byte limit is not added, and nothing changes", () => {
    for (const bytesMax of [120, 1000, 65_536]) {
      const builder = new BatchBuilder(kernel, { bytesMax });
      const record = { key: utf8("key"), value: new Uint8Array(30), timestamp: 5 };
      while (builder.tryAppend(record));
      const { count, sizeBytes } = builder;
      expect(count).toBeGreaterThan(0);
      expect(builder.tryAppend(record)).toBe(false);
      expect([builder.count, builder.sizeBytes]).toEqual([count, sizeBytes]);
      const bytes = builder.build(NOBODY);
      expect(bytes.length).toBeLessThanOrEqual(bytesMax);
      expect(bytes.length).toBeGreaterThan(bytesMax - 60 - 5 * count);
      expect(new BatchBuilder(kernel, { bytesMax }).tryAppend({ ...record, value: new Uint8Array(bytesMax) })).toBe(
        false,
      );
    }
  });

  test("a record limit holds, and the kernel's own is the highest", () => {
    const builder = new BatchBuilder(kernel, { recordsMax: 3 });
    const record = { key: null, value: null, timestamp: 0 };
    expect([1, 2, 3, 4].map(() => builder.tryAppend(record))).toEqual([true, true, true, false]);
    builder.reset();
    expect([builder.count, builder.tryAppend(record)]).toEqual([0, true]);
    const full = new BatchBuilder(kernel, { recordsMax: 1e9, bytesMax: 1e9 });
    while (full.tryAppend(record));
    expect(full.count).toBe(KERNEL_BATCH_RECORDS_MAX);
    expect(read(full.build(NOBODY)).count).toBe(KERNEL_BATCH_RECORDS_MAX);
  });

  test("bytes are taken at once: the caller may use its buffers again", () => {
    const builder = new BatchBuilder(kernel);
    const value = utf8("before");
    builder.tryAppend({ key: null, value, timestamp: 0 });
    value.fill(0);
    expect(read(builder.build(NOBODY)).valueAt(0)).toEqual(utf8("before"));
  });

  test("a timestamp that is no safe integer is refused", async () => {
    for (const timestamp of [NaN, Infinity, 0.5, 2 ** 53]) {
      await fails("INVALID_ARGUMENT", () => new BatchBuilder(kernel).tryAppend({ key: null, value: null, timestamp }));
    }
  });

  test("what the kernel refuses is INVALID_ARGUMENT; building an empty batch is INTERNAL", async () => {
    const builder = new BatchBuilder(kernel);
    await fails("INTERNAL", () => builder.build(NOBODY));
    builder.tryAppend({ key: null, value: null, timestamp: 0 });
    await fails("INVALID_ARGUMENT", () => builder.build({ ...NOBODY, attributes: 1 }));
    await fails("INVALID_ARGUMENT", () => builder.build({ ...NOBODY, producerEpoch: 40_000 }));
  });
});

describe("RecordBatch", () => {
  test("fields are views into the given bytes", () => {
    const bytes = craft();
    const batch = read(bytes);
    expect(batch.keyAt(0)?.buffer).toBe(bytes.buffer);
    expect(batch.valueAt(0)).toEqual(utf8("one"));
    expect([batch.valueAt(1), batch.headersAt(1)]).toEqual([null, []]);
  });

  test("bytes inside a larger buffer are read in place", () => {
    const around = concat([9, 9, 9], craft({ baseOffset: 7 }), [9]);
    const batch = read(around.subarray(3, -1));
    expect([batch.offsetAt(1), batch.keyAt(1), batch.timestampAt(1)]).toEqual([8, utf8("b"), 1001]);
  });

  test("a compacted batch keeps its offsets", () => {
    const batch = read(
      craft({ baseOffset: 100, lastOffsetDelta: 9, records: [{ offsetDelta: 2 }, { offsetDelta: 7 }] }),
    );
    expect([batch.count, batch.offsetAt(0), batch.offsetAt(1), batch.nextOffset]).toEqual([2, 102, 107, 110]);
    expect(read(craft({ records: [], lastOffsetDelta: 4 })).nextOffset).toBe(5);
  });

  test("log append time and control", () => {
    expect(read(craft({ attributes: 8, maxTimestamp: 77 })).timestampAt(0)).toBe(77);
    expect([read(craft()).isControl, read(craft({ attributes: 0x20 })).isControl]).toEqual([false, true]);
  });

  test("a record that is not there is INVALID_ARGUMENT, not undefined", async () => {
    const batch = read(craft());
    for (const i of [-1, 2, 0.5, NaN]) {
      for (const ask of [
        () => batch.keyAt(i),
        () => batch.timestampAt(i),
        () => batch.offsetAt(i),
        () => batch.headersAt(i),
      ]) {
        await fails("INVALID_ARGUMENT", ask);
      }
    }
  });
});

describe("damage has a name", () => {
  test("a wrong checksum is CORRUPT_RANGE with the offsets it takes away", async () => {
    const bytes = craft({ baseOffset: 40 });
    bytes[68]! ^= 1;
    const error = await fails("CORRUPT_RANGE", () => decodeBatch(kernel, bytes));
    expect(error.details).toMatchObject({ from: 40, to: 42 });
    expect(read(craft()).count).toBe(2);
    expect((decodeBatch(kernel, bytes, { checkCrc: false }) as RecordBatch).count).toBe(2);
  });

  test.each([
    ["nothing", () => new Uint8Array(0), -1],
    ["half a header", () => craft().subarray(0, 30), -1],
    ["another magic", () => craft({ baseOffset: 3, magic: 1 }), 3],
    ["a byte too few", () => craft({ baseOffset: 3 }).subarray(0, -1), 3],
    ["a byte too many", () => concat(craft({ baseOffset: 3 }), [0]), 3],
    ["a negative offset", () => craft({ baseOffset: -9 }), -1],
    ["an unsafe offset", () => craft({ baseOffset: 2n ** 60n }), -1],
    ["records that do not add up", () => craft({ baseOffset: 3, count: 2, section: [0, 0] }), 3],
  ])("%s is CORRUPT_RANGE", async (_, make, from) => {
    expect((await fails("CORRUPT_RANGE", () => decodeBatch(kernel, make()))).details["from"]).toBe(from);
  });

  test("attributes of a later version are UNSUPPORTED_FORMAT, damaged ones are not", async () => {
    await fails("UNSUPPORTED_FORMAT", () => decodeBatch(kernel, craft({ attributes: 0x80 })));
    await fails("CORRUPT_RANGE", () => decodeBatch(kernel, craft({ attributes: 0x80, crc: 1 })));
    for (const [codec, name] of [
      [2, "snappy"],
      [3, "lz4"],
      [4, "zstd"],
      [5, "of number 5"],
    ] as const) {
      const error = await fails(
        "UNSUPPORTED_FORMAT",
        decodeBatch(kernel, craft({ attributes: codec })) as Promise<RecordBatch>,
      );
      expect(error.message).toBe(`UNSUPPORTED_FORMAT: codec ${name}: batches of codec none and gzip can be read`);
    }
    await fails("CORRUPT_RANGE", decodeBatch(kernel, craft({ attributes: 2, crc: 1 })) as Promise<RecordBatch>);
  });

  test("control batches and transactions are known as such; markers have the outcome", () => {
    const key = (type: number) => new Uint8Array([0, 0, 0, type]);
    const batchOf = (attributes: number, type?: number) =>
      read(
        craft({ attributes, ...(type !== undefined && { records: [{ key: key(type), value: new Uint8Array(6) }] }) }),
      );
    const told = (batch: RecordBatch) => [batch.isControl, isTransactional(batch), markerOf(batch)];
    expect(told(batchOf(0))).toEqual([false, false, undefined]);
    expect(told(batchOf(0, 1))).toEqual([false, false, undefined]);
    expect(told(batchOf(0x10))).toEqual([false, true, undefined]);
    expect(told(batchOf(0x30, 0))).toEqual([true, true, "abort"]);
    expect(told(batchOf(0x30, 1))).toEqual([true, true, "commit"]);
    // A marker of a leader's change, and a marker with a wrong key.
    expect(told(batchOf(0x20, 2))).toEqual([true, false, undefined]);
    expect(told(batchOf(0x20))).toEqual([true, false, undefined]);
  });

  test("a header's name keeps its byte-order mark", () => {
    const builder = new BatchBuilder(kernel);
    builder.tryAppend({ key: null, value: null, timestamp: 1, headers: [["\ufeffa", utf8("1")]] });
    expect(read(builder.build(NOBODY)).headersAt(0)).toEqual([["\ufeffa", utf8("1")]]);
  });

  test("errors survive structured clone", async () => {
    const error = await fails("CORRUPT_RANGE", () => decodeBatch(kernel, craft({ crc: 1 })));
    expect(TidemarkError.fromWire(structuredClone(error.toWire())).details).toEqual(error.details);
  });
});

describe("splitBatches", () => {
  test("splits bytes into whole batches", () => {
    const batches = [craft(), craft({ records: [], lastOffsetDelta: 0 }), craft({ baseOffset: 9 })];
    expect(splitBatches(concat(...batches))).toEqual(batches);
    expect(splitBatches(new Uint8Array(0))).toEqual([]);
    const bytes = concat(...batches);
    stampBaseOffset(splitBatches(bytes)[1] as Uint8Array, 5);
    expect(read(bytes.subarray(batches[0]!.length, -batches[2]!.length)).baseOffset).toBe(5);
  });

  test("bytes that are not a sequence of whole batches are INVALID_BATCH", async () => {
    const bad = [
      [0],
      craft().subarray(0, -1),
      concat(craft(), [0]),
      concat(craft(), new Uint8Array(61)),
      craft({ length: -12 }),
      craft({ length: -1 }),
      craft({ length: 48 }),
      craft({ length: 2 ** 31 - 1 }),
    ];
    for (const bytes of bad) await fails("INVALID_BATCH", () => splitBatches(Uint8Array.from(bytes)));
  });
});
