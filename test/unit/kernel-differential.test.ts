/**
 * The compiled kernel against the reference kernel: the same status and the same bytes for any input. Each property
 * runs on the release and on the debug build. A trap of WebAssembly throws, and the property fails.
 */
import fc from "fast-check";
import { beforeAll, describe, expect, test } from "vitest";
import { Status, type EncodeRequest, type PackingKernel } from "../../src/kernel/types.ts";
import { stampBaseOffset, stampLeaderEpoch } from "../../src/record/format.ts";
import { anyBytes, requests, scanRequests, SEED, wildRequests } from "../contract/kernel-arbitraries.ts";
import { equal } from "../contract/check.ts";
import { concat, slowCrc32c } from "../contract/kernel-samples.ts";
import { packed, packedSlowly } from "../contract/pack-cases.ts";
import { debugKernel, releaseKernel, referenceKernel } from "../support/kernels.ts";

const reference = referenceKernel();
const encode = (request: EncodeRequest): Uint8Array => reference.encodeBatch(request).bytes;
const RUNS = { seed: SEED, numRuns: Number(process.env["RUNS"] ?? 600) };

describe.each([
  ["release", releaseKernel],
  ["debug", debugKernel],
] as const)(`%s agrees with the reference kernel (seed ${SEED})`, (_, open) => {
  let kernel: PackingKernel;
  beforeAll(async () => {
    kernel = await open();
  });

  test("encoding, and reading it back", () => {
    fc.assert(
      fc.property(requests, (request) => {
        const written = kernel.encodeBatch(request);
        expect(written.status).toBe(Status.OK);
        equal(written, reference.encodeBatch(request));
        expect(kernel.validateBatch(written.bytes)).toBe(Status.OK);
        equal(kernel.decodeBatch(written.bytes, true), reference.decodeBatch(written.bytes, true));
      }),
      RUNS,
    );
  });

  test("encoding wild requests", () => {
    const seen = new Set<Status>();
    fc.assert(
      fc.property(wildRequests, (request) => {
        const written = kernel.encodeBatch(request);
        seen.add(written.status);
        equal(written, reference.encodeBatch(request));
      }),
      RUNS,
    );
    expect(seen.size, "kinds of answers").toBeGreaterThan(4);
  });

  test("validating and decoding any bytes", () => {
    const seen = new Set<Status>();
    fc.assert(
      fc.property(anyBytes(encode), fc.boolean(), (bytes, checkCrc) => {
        const status = kernel.validateBatch(bytes);
        seen.add(status);
        expect(status).toBe(reference.validateBatch(bytes));
        equal(kernel.decodeBatch(bytes, checkCrc), reference.decodeBatch(bytes, checkCrc));
      }),
      RUNS,
    );
    // The generators must reach every check, so every status must have occurred.
    const {
      OK,
      NEED_MORE,
      BAD_MAGIC,
      BAD_LENGTH,
      BAD_OFFSET,
      BAD_EPOCH,
      BAD_CRC,
      BAD_ATTRIBUTES,
      BAD_COUNT,
      BAD_RECORD,
      BAD_TIMESTAMP,
      BAD_PRODUCER,
    } = Status;
    const all = [
      OK,
      NEED_MORE,
      BAD_MAGIC,
      BAD_LENGTH,
      BAD_OFFSET,
      BAD_EPOCH,
      BAD_CRC,
      BAD_ATTRIBUTES,
      BAD_COUNT,
      BAD_RECORD,
      BAD_TIMESTAMP,
      BAD_PRODUCER,
    ];
    if (RUNS.numRuns >= 1000) expect(all.filter((status) => !seen.has(status))).toEqual([]);
  });

  test("decoding records sections", () => {
    const sections = anyBytes(encode).map((bytes) => bytes.subarray(Math.min(61, bytes.length)));
    const numbers = fc.oneof(fc.integer({ min: -1, max: 12 }), fc.constantFrom(65_536, 65_537, 2 ** 31, NaN, 0.5));
    fc.assert(
      fc.property(
        sections,
        numbers,
        numbers,
        fc.constantFrom(0, 1000, 2 ** 53, NaN, -(2 ** 53) + 1),
        fc.boolean(),
        (section, count, delta, base, dense) => {
          equal(
            kernel.decodeRecords(section, count, base, delta, dense),
            reference.decodeRecords(section, count, base, delta, dense),
          );
        },
      ),
      RUNS,
    );
  });

  test("filtering", () => {
    fc.assert(
      fc.property(fc.oneof(requests.map(encode), anyBytes(encode)), fc.uint8Array({ maxLength: 3 }), (bytes, keep) => {
        const filtered = kernel.filterBatch(bytes, keep);
        equal(filtered, reference.filterBatch(bytes, keep));
        if (filtered.status === Status.OK) expect(kernel.validateBatch(filtered.bytes)).toBe(Status.OK);
      }),
      RUNS,
    );
  });

  test("scanning chains of good and damaged batches", () => {
    const links = fc.array(
      fc.tuple(requests.map(encode), fc.integer({ min: 0, max: 1 }), fc.integer({ min: 0, max: 3 })),
      { maxLength: 6 },
    );
    const tails = fc.oneof(
      fc.constant(new Uint8Array(0)),
      fc.nat(100).map((length) => new Uint8Array(length)),
      anyBytes(encode),
    );
    fc.assert(
      fc.property(links, tails, scanRequests, (list, tail, request) => {
        let offset =
          Number.isSafeInteger(request.expectedOffset) && request.expectedOffset >= 0 ? request.expectedOffset : 0;
        const batches = list.map(([batch, gap, epoch]) => {
          stampBaseOffset(batch, (offset += request.allowGaps ? gap : 0));
          stampLeaderEpoch(batch, epoch);
          offset += new DataView(batch.buffer).getInt32(23) + 1;
          return batch;
        });
        const bytes = concat(...batches, tail);
        equal(kernel.scan(bytes, request), reference.scan(bytes, request));
      }),
      RUNS,
    );
  });

  test("packing chains of good, damaged and compressed batches", () => {
    const links = fc.array(
      fc.tuple(
        fc.oneof({ weight: 3, arbitrary: requests.map(encode) }, { weight: 1, arbitrary: anyBytes(encode) }),
        fc.integer({ min: 0, max: 9 }),
      ),
      { maxLength: 6 },
    );
    const near = (low: number, high: number) =>
      fc.oneof(
        { weight: 19, arbitrary: fc.integer({ min: low, max: high }) },
        { weight: 1, arbitrary: fc.constantFrom(NaN, 0.5, 2 ** 53, 2 ** 53 - 1) },
      );
    const marks = fc.oneof(
      { weight: 9, arbitrary: fc.constantFrom(0, 44, 255) },
      { weight: 1, arbitrary: fc.constantFrom(256, -1, 0.5) },
    );
    const packings = fc.record({
      expectedOffset: near(-1, 0),
      from: near(-1, 5),
      to: fc.oneof(near(0, 30), fc.constant(2 ** 50)),
      mark: marks,
    });
    const seen = new Map<Status, number>();
    let taken = 0;
    fc.assert(
      fc.property(links, packings, (list, request) => {
        let offset = 0;
        const bytes = concat(
          ...list.map(([batch, gap]) => {
            if (batch.length < 61) return batch;
            stampBaseOffset(batch, (offset += gap === 0 ? 1 : 0));
            offset += Math.max(new DataView(batch.buffer, batch.byteOffset).getInt32(23), 0) + 1;
            return batch;
          }),
        );
        const found = packed(kernel, bytes, request);
        equal(found, packed(reference, bytes, request));
        if (found.status !== Status.BAD_ARGUMENT) equal(found, packedSlowly(kernel, bytes, request));
        seen.set(found.status, (seen.get(found.status) ?? 0) + 1);
        taken += found.values;
      }),
      RUNS,
    );
    const counts = [...seen].map(([status, count]) => `${status}: ${count}`).join(", ");
    if (RUNS.numRuns >= 1000)
      expect(
        [seen.size > 8, (seen.get(Status.OK) ?? 0) > 50, (seen.get(Status.BAD_ATTRIBUTES) ?? 0) > 5, taken > 2_000],
        `${counts}; ${taken} values`,
      ).toEqual([true, true, true, true]);
  });

  test("searching sorted and unsorted indexes", () => {
    const kinds = fc.constantFrom<"offset" | "time">("offset", "time");
    const targets = fc.oneof(fc.double(), fc.maxSafeInteger(), fc.integer());
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), kinds, targets, (entries, kind, target) => {
        const steps: number[][] = [[], []];
        expect(kernel.searchIndex(entries, kind, target, steps[0])).toBe(
          reference.searchIndex(entries, kind, target, steps[1]),
        );
        expect(steps[0]).toEqual(steps[1]);
      }),
      RUNS,
    );
  });

  test("checksums of long inputs, folded in whole and broken blocks", () => {
    const folded = 4 * 209 * 16;
    const sizes = [
      folded - 1,
      folded,
      folded + 1,
      folded + 15,
      folded + 16,
      3 * folded + 7,
      65_535,
      65_536,
      65_536 + folded - 1,
      65_536 + folded,
      200_001,
    ];
    let state = SEED;
    const bytes = new Uint8Array(200_001).map(() => (state = Math.imul(state, 1_103_515_245) + 12_345) >>> 16);
    for (const size of sizes) {
      for (const seed of [0, 1, 0xdeadbeef])
        expect([size, kernel.crc32c(bytes.subarray(0, size), seed)]).toEqual([
          size,
          reference.crc32c(bytes.subarray(0, size), seed),
        ]);
      // The checksum begins inside a region, behind the part of the header that it does not cover.
      const batch = reference.encodeBatch({
        blob: bytes.subarray(0, size),
        lengths: Int32Array.of(-1, size, 0),
        timestamps: Float64Array.of(1),
        count: 1,
        attributes: 0,
        producerId: -1,
        producerEpoch: -1,
        baseSequence: -1,
      }).bytes;
      expect(kernel.validateBatch(batch)).toBe(Status.OK);
      batch[size >> 1]! ^= 4;
      expect(kernel.validateBatch(batch)).toBe(Status.BAD_CRC);
    }
  });

  test("checksums from any seed", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(0xffffffff), (bytes, seed) => {
        expect(kernel.crc32c(bytes, seed)).toBe(reference.crc32c(bytes, seed));
        expect(kernel.crc32c(bytes)).toBe(slowCrc32c(bytes));
      }),
      RUNS,
    );
  });
});
