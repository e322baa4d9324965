/** gzip batches: the platform's streams compress and decompress them, and never to more bytes than allowed. */
import { beforeAll, describe, expect, test, vi } from "vitest";
import { gunzipSync, gzipSync } from "node:zlib";
import { Status, type Kernel } from "../../src/kernel/types.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { compressBatch, gunzip } from "../../src/record/codec.ts";
import { readHeader, stampBaseOffset, stampLeaderEpoch } from "../../src/record/format.ts";
import { decodeBatch, type RecordBatch } from "../../src/record/record-batch.ts";
import { equal, fails } from "../contract/check.ts";
import { concat, craft, recordBytes, utf8 } from "../contract/kernel-samples.ts";
import { allKernels } from "../support/kernels.ts";

let kernels: Kernel[];
let kernel: Kernel;
beforeAll(async () => {
  kernels = await allKernels();
  kernel = kernels[0] as Kernel;
});

const MiB = 1024 * 1024;
const decode = async (bytes: Uint8Array, options = {}): Promise<RecordBatch> => decodeBatch(kernel, bytes, options);
const gzipped = (records: Uint8Array, rest = {}): Uint8Array =>
  craft({ attributes: 1, count: 1, maxTimestamp: 1000, section: [...gzipSync(records)], ...rest });

function sample(records: number, valueBytes: number): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (let i = 0; i < records; i++) {
    builder.tryAppend({
      key: utf8(`key ${i}`),
      value: new Uint8Array(valueBytes).fill(i),
      headers: i % 3 ? [] : [["h", utf8("x")]],
      timestamp: 1_700_000_000_000 + i,
    });
  }
  return builder.build({ producerId: 4, producerEpoch: 2, baseSequence: 8, attributes: 0x10 });
}

describe("compressBatch", () => {
  test.each([
    [1, 0],
    [1, 100],
    [1000, 50],
    [19, 100_000],
  ])("%i records of %i bytes come back", async (records, valueBytes) => {
    const plain = sample(records, valueBytes);
    const small = await compressBatch(kernel, plain);
    for (const each of kernels) expect(each.validateBatch(small)).toBe(Status.OK);
    equal(Uint8Array.from(gunzipSync(small.subarray(61))), plain.subarray(61), "records section");
    const before = readHeader(plain);
    expect(readHeader(small)).toEqual({
      ...before,
      attributes: before.attributes | 1,
      sizeBytes: small.length,
      crc: readHeader(small).crc,
    });
    stampBaseOffset(small, 70);
    stampLeaderEpoch(small, 3);
    const [one, two] = [await decode(plain), await decode(small)];
    expect([two.count, two.baseOffset, two.nextOffset]).toEqual([records, 70, 70 + records]);
    for (const i of [0, Math.floor(records / 2), records - 1]) {
      expect([two.keyAt(i), two.valueAt(i), two.headersAt(i), two.timestampAt(i)]).toEqual([
        one.keyAt(i),
        one.valueAt(i),
        one.headersAt(i),
        one.timestampAt(i),
      ]);
    }
  });

  test("a compressed batch comes back as it is", async () => {
    const small = await compressBatch(kernel, sample(3, 10));
    expect(await compressBatch(kernel, small)).toBe(small);
  });

  test("log append time holds for compressed records too", async () => {
    const batch = await decode(gzipped(Uint8Array.from(recordBytes()), { attributes: 9, maxTimestamp: 55 }));
    expect(batch.timestampAt(0)).toBe(55);
  });
});

describe("damaged gzip is CORRUPT_RANGE", () => {
  const whole = gzipSync(Uint8Array.from(recordBytes()));
  const trailer = (size: number): Uint8Array => {
    const bytes = Uint8Array.from(whole);
    new DataView(bytes.buffer).setUint32(bytes.length - 4, size, true);
    return bytes;
  };
  test.each([
    ["nothing", new Uint8Array(0)],
    ["cut off", whole.subarray(0, -1)],
    ["cut in the middle", whole.subarray(0, whole.length >> 1)],
    ["garbage behind", concat(whole, [1, 2, 3])],
    ["zeros behind", concat(whole, new Uint8Array(8))],
    ["a size behind that fits", concat(whole, whole.subarray(-4))],
    ["a second member behind", concat(whole, whole)],
    ["no gzip", new Uint8Array(100).fill(7)],
    ["a flipped bit", whole.map((byte, i) => (i === 12 ? byte ^ 8 : byte))],
    ["a wrong CRC-32", whole.map((byte, i) => (i === whole.length - 8 ? byte ^ 1 : byte))],
    ["a trailer that says less", trailer(3)],
    ["a trailer that says more", trailer(3000)],
  ])("%s", async (_, section) => {
    const bytes = craft({ baseOffset: 5, attributes: 1, count: 1, section: [...section] });
    const error = await fails("CORRUPT_RANGE", decode(bytes));
    expect(error.details).toMatchObject({ from: 5, to: 6 });
  });

  test("good gzip around bad records", async () => {
    await fails("CORRUPT_RANGE", decode(gzipped(new Uint8Array(50))));
    await fails("CORRUPT_RANGE", decode(gzipped(Uint8Array.from([...recordBytes(), 0]))));
    await fails("CORRUPT_RANGE", decode(gzipped(Uint8Array.from(recordBytes()), { crc: 1 })));
  });
});

describe("decompression is bounded", () => {
  /** Counts the bytes that come out of the platform's decompression stream, also those that nobody reads. */
  function countOutput(): { bytes: number } {
    const count = { bytes: 0 };
    const Real = globalThis.DecompressionStream;
    vi.stubGlobal(
      "DecompressionStream",
      class {
        readonly writable: WritableStream;
        readonly readable: ReadableStream;
        constructor(format: CompressionFormat) {
          const real = new Real(format);
          this.writable = real.writable;
          this.readable = real.readable.pipeThrough(
            new TransformStream(
              {
                transform(piece: Uint8Array<ArrayBuffer>, controller) {
                  count.bytes += piece.length;
                  controller.enqueue(piece);
                },
              },
              undefined,
              { highWaterMark: 0 },
            ),
          );
        }
      },
    );
    return count;
  }

  test("a bomb is stopped at the limit", async () => {
    const bomb = gzipped(new Uint8Array(64 * MiB));
    expect(bomb.length).toBeLessThan(100_000);
    const count = countOutput();
    await fails("DECOMPRESSION_LIMIT", decode(bomb)).finally(() => vi.unstubAllGlobals());
    expect(count.bytes).toBeGreaterThan(2 * MiB);
    expect(count.bytes).toBeLessThan(7 * MiB);
  });

  test("a bomb that lies about its size is stopped soon after the claimed size", async () => {
    const section = Uint8Array.from(gzipSync(new Uint8Array(64 * MiB)));
    new DataView(section.buffer).setUint32(section.length - 4, 1000, true);
    const count = countOutput();
    await fails("CORRUPT_RANGE", decode(craft({ attributes: 1, count: 1, section: [...section] }))).finally(() =>
      vi.unstubAllGlobals(),
    );
    expect(count.bytes).toBeGreaterThan(1000);
    expect(count.bytes).toBeLessThan(5 * MiB);
  });

  test("the limit is exact, and cannot exceed the kernel's memory", async () => {
    const bytes = Uint8Array.from({ length: 5000 }, (_, i) => i & 0xff);
    expect(await gunzip(gzipSync(bytes), 5000)).toEqual(bytes);
    await fails("DECOMPRESSION_LIMIT", gunzip(gzipSync(bytes), 4999));
    const plain = sample(100, 100);
    const small = await compressBatch(kernel, plain);
    expect((await decode(small, { decompressedBytesMax: plain.length - 61 })).count).toBe(100);
    await fails("DECOMPRESSION_LIMIT", decode(small, { decompressedBytesMax: plain.length - 62 }));
    await fails("DECOMPRESSION_LIMIT", decode(gzipped(new Uint8Array(2 * MiB + 1)), { decompressedBytesMax: 1e9 }));
  });
});
