/**
 * What a million records cost in rows written and requests. Measured on a stream inside a Durable Object, over the
 * object's own SQLite and R2, with the platform's prices of November 2026. docs/operations.md has the table. The test
 * prints its figures and fails when they exceed bounds.
 */
import { runInDurableObject } from "cloudflare:test";
import { expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { Archive } from "../../worker/store/segment-archive.ts";
import { ArchiveTables } from "../../worker/store/archive-tables.ts";
import { Archiver } from "../../worker/log-object/archiver.ts";
import { bucketSource, objectKey, segmentName } from "../../worker/store/bucket.ts";
import type { Sql, SqlRow } from "../../worker/store/sql.ts";
import { Compaction } from "../../worker/log-object/compaction-schedule.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { Stream } from "../../worker/stream/stream.ts";
import type { StreamConfig } from "../../worker/stream/stream-config.ts";
import { retryIn } from "../support/retry.ts";
import { objectOf, real } from "./archive-tools.ts";

/**
 * Dollars for each, on the Workers Paid plan, beyond what is included. From Cloudflare's documentation of Workers,
 * Durable Objects and R2, November 2026.
 */
const PRICES = { workerRequest: 0.3e-6, objectRequest: 0.15e-6, rowWritten: 1e-6, r2Write: 4.5e-6 };
const RECORD_BYTES = 100;
const kernel = await edgeKernel();

interface State {
  readonly storage: {
    readonly sql: { exec(query: string, ...bindings: unknown[]): Iterable<SqlRow> & { rowsWritten: number } };
    transactionSync<T>(work: () => T): T;
  };
}
interface Measured {
  readonly batch: number;
  readonly atOnce: number;
  readonly archive: boolean;
  readonly requests: number;
  readonly rows: number;
  readonly puts: number;
  /** How many of the rows compaction wrote. */
  readonly compaction: number;
}

/** Records of a compacted log use these many keys, over and over. Those of other logs are JSON and have no key. */
const HOT_KEYS = 100;

/** One batch of keyed records, such as an append in the batches dialect carries. */
function keyed(count: number, first: number): Uint8Array {
  const builder = new BatchBuilder(kernel);
  const value = new Uint8Array(RECORD_BYTES).fill(120);
  for (let i = first; i < first + count; i++)
    builder.tryAppend({ key: new TextEncoder().encode(`k${i % HOT_KEYS}`), value, timestamp: 1_000 });
  return builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
}

/** A stream over an object's own SQLite, what works on it in the background, and what these write. */
class Costs {
  #cursors: { rowsWritten: number }[] = [];
  rows = 0;
  seals = 0;
  puts = 0;
  failures = 0;
  readonly #sql: Sql;
  #stream: Stream | undefined;

  constructor(storage: State["storage"]) {
    this.#sql = {
      exec: (query, ...bindings) => {
        const cursor = storage.sql.exec(query, ...bindings);
        this.#cursors.push(cursor);
        return cursor;
      },
      transaction: (work) => storage.transactionSync(work),
    };
  }

  get stream(): Stream {
    return this.#stream!;
  }

  async create(config: StreamConfig): Promise<Stream> {
    const parts = {
      sql: this.#sql,
      kernel,
      archive: new Archive(bucketSource(real.SEGMENTS as never), kernel),
      now: () => Date.now(),
      breathe: () => Promise.resolve(),
      readSource: () => Promise.reject(new Error("no source")),
      onChange: () => {},
      onSealed: () => void this.seals++,
      abort: () => {},
    };
    return (this.#stream = await Stream.create(parts, config));
  }

  archiver(path: string): Archiver {
    return new Archiver({
      bucket: () => real.SEGMENTS as never,
      tables: new ArchiveTables(this.#sql),
      kernel: edgeKernel,
      now: () => Date.now(),
      retry: retryIn(this.#sql, () => Date.now(), "archive"),
      abort: () => {},
      log: () => this.stream.store,
      newKey: (base) => objectKey("dev", path, segmentName("00000000", base)),
      event: (name) => void (name === "archive" && this.puts++),
    });
  }

  compaction(hasBucket: boolean): Compaction {
    return new Compaction({
      stream: () => this.stream,
      kernel: edgeKernel,
      now: () => Date.now(),
      hasBucket: () => hasBucket,
      event: (name) => void (name.endsWith("failed") && this.failures++),
      abort: () => this.failures++,
      retry: retryIn(this.#sql, () => Date.now(), "compaction"),
    });
  }

  /** Counts the rows that were written since the last call, and returns their number. */
  settle(): number {
    const written = this.#cursors.reduce((sum, { rowsWritten }) => sum + rowsWritten, 0);
    this.#cursors = [];
    this.rows += written;
    return written;
  }
}

const configOf = (path: string, isCompacted: boolean): StreamConfig => ({
  id: "00000000",
  path,
  tenant: "dev",
  watched: false,
  contentType: "application/json",
  ttl: undefined,
  expiresAt: undefined,
  fork: undefined,
  closed: false,
  closedBy: undefined,
  deleted: false,
  releasing: false,
  touchedAt: 0,
  ...(isCompacted && { compaction: {} }),
});

/** Sends one append per call: JSON, or keyed batches for a compacted stream. */
function appender(stream: Stream, batch: number, isCompacted: boolean): () => Promise<unknown> {
  if (isCompacted) {
    let first = 0;
    return () => {
      const bytes = keyed(batch, first);
      first += batch;
      return stream.appendBatches([bytes], undefined);
    };
  }
  const record = JSON.stringify("x".repeat(RECORD_BYTES - 2));
  const append = {
    body: new TextEncoder().encode(`[${Array.from({ length: batch }, () => record).join(",")}]`),
    contentType: "application/json",
    closing: false,
    producer: undefined,
    seq: undefined,
    ifEnd: undefined,
  };
  return () => stream.append(append);
}

/** What `records` records cost, as figures per million of them. */
function measure(
  batch: number,
  atOnce: number,
  records: number,
  archive: boolean,
  isCompacted = false,
): Promise<Measured> {
  const path = `costs/${batch}-${atOnce}-${archive}-${isCompacted}`;
  return runInDurableObject(objectOf(path), async (_: unknown, { storage }: State) => {
    const costs = new Costs(storage);
    const stream = await costs.create(configOf(path, isCompacted));
    const archiver = costs.archiver(path);
    const compacting = costs.compaction(archive);
    const append = appender(stream, batch, isCompacted);
    let compaction = 0;
    // What making the stream wrote does not count.
    costs.settle();
    costs.rows = 0;
    for (let sent = 0; sent < records / batch; sent += atOnce) {
      await Promise.all(Array.from({ length: atOnce }, append));
      costs.settle();
      while ((compacting.due ?? Infinity) <= Date.now() && costs.failures === 0) {
        await compacting.run();
        compaction += costs.settle();
      }
      if (archive) while (stream.store.toMove.first !== undefined) await archiver.run();
      costs.settle();
    }
    if (costs.failures > 0) throw new Error("compaction failed");
    const factor = 1e6 / stream.tail;
    // A segment that moves sets an alarm. The object writes it, so that it is not among the rows counted above.
    const alarms = archive ? costs.seals : 0;
    return {
      batch,
      atOnce,
      archive,
      requests: 1e6 / batch,
      rows: Math.round((costs.rows + alarms) * factor),
      puts: Math.round(costs.puts * factor),
      compaction: Math.round(compaction * factor),
    };
  }) as never;
}

it("rows and requests per million records, at batch 1, 100 and 1,000", async () => {
  const found: Measured[] = [];
  for (const archive of [false, true]) {
    found.push(await measure(1, 1, 8_000, archive), await measure(1, 64, 128_000, archive));
    found.push(await measure(100, 1, 200_000, archive), await measure(1_000, 1, 1_000_000, archive));
  }
  for (const { batch, atOnce, archive, requests, rows, puts } of found) {
    const dollars =
      requests * (PRICES.workerRequest + PRICES.objectRequest) + rows * PRICES.rowWritten + puts * PRICES.r2Write;
    console.log(JSON.stringify({ batch, atOnce, archive, requests, rows, puts, dollars: Number(dollars.toFixed(4)) }));
  }
  const rowsOf = (batch: number, atOnce: number, archive: boolean): number =>
    found.find((each) => each.batch === batch && each.atOnce === atOnce && each.archive === archive)!.rows;
  expect(rowsOf(1, 1, false)).toBeLessThanOrEqual(1_005_000);
  expect(rowsOf(1, 64, false)).toBeLessThanOrEqual(35_000);
  expect(rowsOf(100, 1, false)).toBeLessThanOrEqual(10_200);
  expect(rowsOf(1_000, 1, false)).toBeLessThanOrEqual(1_100);
  // Moving a segment deletes its rows, which is billed like writing them, and writes rows about the segment.
  expect(rowsOf(1_000, 1, true)).toBeLessThanOrEqual(2_400);
  expect(rowsOf(1, 64, true)).toBeLessThanOrEqual(70_000);
});

it("rows per million records of a compacted log whose keys repeat", async () => {
  const found = [
    await measure(1, 1, 24_000, false, true),
    await measure(100, 1, 400_000, false, true),
    await measure(100, 1, 400_000, true, true),
  ];
  for (const { batch, archive, rows, compaction, puts } of found)
    console.log(JSON.stringify({ compacted: true, batch, archive, rows, compaction, puts }));
  const [alone, batched, archived] = found as [Measured, Measured, Measured];
  // Compaction deletes each row once. The records that remain of a segment are a row or two, written in every pass that
  // reaches the segment.
  expect(alone.compaction).toBeLessThanOrEqual(1_030_000);
  expect(batched.compaction).toBeLessThanOrEqual(10_600);
  expect(archived.rows).toBeLessThanOrEqual(22_000);
});
