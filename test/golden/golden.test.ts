/**
 * Golden record batches (v1/README.md): every kernel reads each file as the manifest says, and writes the same bytes.
 */
import { readdirSync } from "node:fs";
import { beforeAll, describe, expect, test } from "vitest";
import { INDEX_STATE_EMPTY, Status, type Kernel, type PackingKernel } from "../../src/kernel/types.ts";
import { readHeader, stampBaseOffset, stampLeaderEpoch } from "../../src/record/format.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { requestOf, scanRequest } from "../contract/kernel-samples.ts";
import { debugKernel, releaseKernel, referenceKernel } from "../support/kernels.ts";
import { kafkaRead } from "./kafkajs.ts";
import { golden, manifest, type GoldenRecord } from "./manifest.ts";

const hex = (bytes: Uint8Array | null | undefined): string | null =>
  bytes == null ? null : Buffer.from(bytes).toString("hex");
const bytesOf = (text: string | null): Uint8Array | null =>
  text === null ? null : Uint8Array.from(Buffer.from(text, "hex"));

async function recordsOf(kernel: Kernel, bytes: Uint8Array): Promise<GoldenRecord[]> {
  const batch = await decodeBatch(kernel, bytes);
  return Array.from({ length: batch.count }, (_, i) => ({
    offset: batch.offsetAt(i),
    timestamp: batch.timestampAt(i),
    key: hex(batch.keyAt(i)),
    value: hex(batch.valueAt(i)),
    headers: batch.headersAt(i).map(([name, value]): [string, string | null] => [name, hex(value)]),
  }));
}

const builds = { release: releaseKernel, debug: debugKernel, reference: async () => referenceKernel() };

describe.each(Object.entries(builds))("%s", (_, open) => {
  let kernel: PackingKernel;
  beforeAll(async () => {
    kernel = await open();
  });

  test.each(manifest.batches)("$file is read as written: $contains", async ({ file, header, records }) => {
    const bytes = golden(file);
    expect(kernel.validateBatch(bytes)).toBe(Status.OK);
    expect(readHeader(bytes)).toMatchObject({
      ...header,
      recordCount: records.length,
      sizeBytes: bytes.length,
      magic: 2,
    });
    expect(await recordsOf(kernel, bytes)).toEqual(records);
  });

  test.each(manifest.batches.filter(({ encodes }) => encodes))(
    "$file is written anew, byte for byte",
    ({ file, header, records }) => {
      const inputs = records.map(({ key, value, headers, timestamp }) => ({
        key: bytesOf(key),
        value: bytesOf(value),
        timestamp,
        headers: headers.map(([name, header]): [string, Uint8Array | null] => [name, bytesOf(header)]),
      }));
      const { attributes, producerId, producerEpoch, baseSequence } = header;
      const { status, bytes } = kernel.encodeBatch(
        requestOf(inputs, { attributes, producerId, producerEpoch, baseSequence }),
      );
      expect(status).toBe(Status.OK);
      stampBaseOffset(bytes, header.baseOffset);
      stampLeaderEpoch(bytes, header.leaderEpoch);
      expect(hex(bytes)).toBe(hex(golden(file)));
    },
  );

  test.each(
    manifest.batches.flatMap(({ file, filterOf }) =>
      filterOf ? [{ file, ...{ from: filterOf.file, keep: filterOf.keep } }] : [],
    ),
  )("$file is what compaction leaves of $from", ({ file, from, keep }) => {
    const bits = Uint8Array.of(keep.reduce((sum, i) => sum | (1 << i), 0));
    const { status, bytes } = kernel.filterBatch(golden(from), bits);
    expect([status, hex(bytes)]).toEqual([Status.OK, hex(golden(file))]);
  });

  test("chain.bin is walked whole and gets its indexes", () => {
    const { file, batches, baseOffset, nextOffset, offset, time } = manifest.chain;
    const bytes = golden(file);
    const scan = kernel.scan(
      bytes,
      scanRequest({ expectedOffset: baseOffset, segmentBaseOffset: baseOffset, index: INDEX_STATE_EMPTY }),
    );
    expect(scan).toMatchObject({
      status: Status.OK,
      validBytes: bytes.length,
      batches,
      records: batches * 3,
      nextOffset,
      lastEpoch: 2,
    });
    expect([hex(scan.offsetEntries), hex(scan.timeEntries)]).toEqual([offset, time]);
    expect(splitBatches(bytes).map((batch) => kernel.validateBatch(batch))).toEqual(Array(batches).fill(Status.OK));
  });

  test.each(manifest.batches)(
    "$file is packed: the values that the manifest names, or none where it is compressed",
    ({ file, header, records }) => {
      const bytes = golden(file);
      const into = new Uint8Array(bytes.length);
      const { status, validBytes, packedBytes } = kernel.pack(
        bytes,
        { expectedOffset: header.baseOffset, from: 0, to: Number.MAX_SAFE_INTEGER, mark: 0x2c },
        into,
      );
      const [isCompressed, isControl] = [(header.attributes & 7) !== 0, (header.attributes & 0x20) !== 0];
      const values =
        isCompressed || isControl ? [] : records.flatMap(({ value }) => (value === null ? [] : [`2c${value}`]));
      expect([status, validBytes, hex(into.subarray(0, packedBytes))]).toEqual([
        isCompressed ? Status.BAD_ATTRIBUTES : Status.OK,
        isCompressed ? 0 : bytes.length,
        values.join(""),
      ]);
    },
  );

  test("every single bit of plain.bin is guarded", () => {
    // Except for base offset and leader epoch: the leader sets them, and the check of continuity guards them.
    const bytes = golden("plain.bin");
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const damaged = bytes.slice();
      damaged[bit >> 3]! ^= 0x80 >> (bit & 7);
      const isStamped = bit >> 3 < 8 || (bit >> 3 >= 12 && bit >> 3 < 16);
      if (!isStamped) expect([bit, kernel.validateBatch(damaged)]).not.toEqual([bit, Status.OK]);
    }
  });
});

describe("beside the kernels", () => {
  test("the manifest names every file, and every named file exists", () => {
    const named = [...manifest.batches.map(({ file }) => file), manifest.chain.file, "README.md", "manifest.json"];
    expect(readdirSync(new URL("./v1/", import.meta.url)).sort()).toEqual(named.sort());
  });

  test("some fixtures are encoded again, and some are compacted", () => {
    expect(manifest.batches.filter(({ encodes }) => encodes).length).toBeGreaterThan(5);
    expect(manifest.batches.filter(({ filterOf }) => filterOf).length).toBe(2);
    expect([manifest.chain.offset.length >= 16 * 2, manifest.chain.time.length >= 24]).toEqual([true, true]);
  });

  test.each(manifest.batches)("kafkajs reads $file as we do", async ({ file, records }) => {
    const batch = await kafkaRead(golden(file));
    const seen = batch.records.map(({ key, value, timestamp, offset, headers }) => ({
      offset: Number(offset),
      timestamp: Number(timestamp),
      key: hex(key),
      value: hex(value),
      headers: Object.entries(headers).map(([name, value]) => [name, hex(value as Buffer | null)]),
    }));
    expect(seen).toEqual(records);
  });
});
