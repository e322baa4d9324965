/** What a join's samples cost an edge whose segments are in object storage (H14): reads of the bucket are counted. */
import { describe, expect, it } from "vitest";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { type Sample, SAMPLES_MAX } from "../../src/sync/sync-frames.ts";
import { Archiver } from "../../worker/log-object/archiver.ts";
import { ArchiveTables } from "../../worker/store/archive-tables.ts";
import { bucketSource } from "../../worker/store/bucket.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import { countingBucket } from "../support/counting-bucket.ts";
import { retryIn } from "../support/retry.ts";
import { batchAt, Edge, kernel } from "./outbox-edge.ts";

const SEGMENTS = 20;
const BATCHES = 5;

/** A log whose segments are all in the bucket, and the batches that a device has of it. */
async function archived() {
  const bucket = countingBucket();
  const edge = new Edge();
  edge.archive = () => new Archive(bucketSource(bucket), kernel);
  await edge.open();
  let keys = 0;
  const archiver = new Archiver({
    bucket: () => bucket,
    tables: new ArchiveTables(edge.sql),
    kernel: async () => kernel,
    now: () => edge.now,
    retry: retryIn(edge.sql, () => edge.now, "archive"),
    event: () => undefined,
    log: () => edge.stream.store,
    newKey: async () => `k${keys++}`,
    abort: () => undefined,
  });
  for (let segment = 0; segment < SEGMENTS; segment++) {
    for (let i = 0; i < BATCHES; i++) await edge.append(2);
    await edge.stream.log.roll();
  }
  for (let run = 0; run < SEGMENTS && edge.stream.store.toMove.first !== undefined; run++) await archiver.run();
  expect(edge.stream.store.toMove.first).toBeUndefined();
  const headers: ReturnType<typeof readHeader>[] = [];
  for (let at = 0; at < edge.stream.tail;) {
    const { bytes, nextOffset } = await edge.stream.readBatches(at, edge.stream.tail, 1 << 20);
    headers.push(...splitBatches(bytes).map((batch) => readHeader(batch)));
    at = nextOffset;
  }
  return { edge, bucket, headers };
}

/** As many as a join may have, each in a segment of its own: none is read along with another. */
const samplesOf = (headers: Awaited<ReturnType<typeof archived>>["headers"], isOther: boolean): Sample[] =>
  Array.from({ length: SAMPLES_MAX }, (_, i) => {
    const { baseOffset, crc } = headers[headers.length - 1 - i * BATCHES]!;
    return [baseOffset, isOther && i < 3 ? (crc ^ 1) >>> 0 : crc];
  });

describe("samples of a join whose segments are in object storage", () => {
  it.each([
    ["the edge holds the same", false],
    ["the edge holds others", true],
  ])("%s: one read of a range for each sample, and one more for an index that is not in memory", async (_, isOther) => {
    const { edge, bucket, headers } = await archived();
    const samples = samplesOf(headers, isOther);
    const end = nextOffsetOf(headers.at(-1)!);
    await edge.open();
    for (const perSample of [2, 1]) {
      bucket.reads = 0;
      const joined = await edge.join({ end, samples });
      expect(joined.lineage).toBe(isOther ? "back" : "same");
      if (!isOther) expect(joined.agreedTo).toBe(end);
      expect(bucket.reads).toBeGreaterThan(0);
      expect(bucket.reads).toBeLessThanOrEqual(perSample * samples.length);
    }
  });
});
