/**
 * What a million records cost: rows written and requests, measured on the stream of a Durable Object over its own
 * SQLite and R2, with the platform's prices of November 2026. docs/operations.md has the table; this prints it and
 * holds it to bounds.
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
 * Dollars. Workers Paid, beyond what is included; docs of Cloudflare Workers, Durable Objects and R2, November 2026.
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
  /** Of the rows, those of compaction. */
  readonly compaction: number;
}

/** Of a compacted log: so many keys, ever again. Without: JSON over HTTP, which has none. */
const HOT_KEYS = 100;

/** One append of keyed records, as the batches dialect brings it. */
function keyed(count: number, first: number): Uint8Array {
  const builder = new BatchBuilder(kernel);
  const value = new Uint8Array(RECORD_BYTES).fill(120);
  for (let i = first; i < first + count; i++)
    builder.tryAppend({ key: new TextEncoder().encode(`k${i % HOT_KEYS}`), value, timestamp: 1_000 });
  return builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
}

/** Per million records, from `records` of them. */
function measure(
  batch: number,
  atOnce: number,
  records: number,
  archive: boolean,
  isCompacted = false,
): Promise<Measured> {
  const path = `costs/${batch}-${atOnce}-${archive}-${isCompacted}`;
  return runInDurableObject(objectOf(path), async (_: unknown, { storage }: State) => {
    let cursors: { rowsWritten: number }[] = [];
    const sql: Sql = {
      exec(query, ...bindings) {
        const cursor = storage.sql.exec(query, ...bindings);
        cursors.push(cursor);
        return cursor;
      },
      transaction: (work) => storage.transactionSync(work),
    };
    const config: StreamConfig = {
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
    };
    let seals = 0;
    const stream = await Stream.create(
      {
        sql,
        kernel,
        archive: new Archive(bucketSource(real.SEGMENTS as never), kernel),
        now: () => Date.now(),
        breathe: () => Promise.resolve(),
        readSource: () => Promise.reject(new Error("no source")),
        onChange: () => {},
        onSealed: () => void seals++,
        abort: () => {},
      },
      config,
    );
    let puts = 0;
    const archiver = new Archiver({
      bucket: () => real.SEGMENTS as never,
      tables: new ArchiveTables(sql),
      kernel: edgeKernel,
      now: () => Date.now(),
      retry: retryIn(sql, () => Date.now(), "archive"),
      abort: () => {},
      log: () => stream.store,
      newKey: (base) => objectKey("dev", path, segmentName("00000000", base)),
      event: (name) => void (name === "archive" && puts++),
    });
    let failures = 0;
    const failed = (name: string): void => void (name.endsWith("failed") && failures++);
    const compacting = new Compaction({
      stream: () => stream,
      kernel: edgeKernel,
      now: () => Date.now(),
      hasBucket: () => archive,
      event: failed,
      abort: () => failures++,
      retry: retryIn(sql, () => Date.now(), "compaction"),
    });
    let rows = 0;
    let compaction = 0;
    const settle = (): number => {
      const written = cursors.reduce((sum, { rowsWritten }) => sum + rowsWritten, 0);
      cursors = [];
      rows += written;
      return written;
    };
    settle();
    rows = 0;
    const body = new TextEncoder().encode(
      `[${Array.from({ length: batch }, () => JSON.stringify("x".repeat(RECORD_BYTES - 2))).join(",")}]`,
    );
    let first = 0;
    const appendKeyed = () => {
      const bytes = keyed(batch, first);
      first += batch;
      return stream.appendBatches([bytes], undefined);
    };
    const append = () =>
      stream.append({
        body,
        contentType: "application/json",
        closing: false,
        producer: undefined,
        seq: undefined,
        ifEnd: undefined,
      });
    for (let sent = 0; sent < records / batch; sent += atOnce) {
      await Promise.all(Array.from<unknown, Promise<unknown>>({ length: atOnce }, isCompacted ? appendKeyed : append));
      settle();
      while ((compacting.due ?? Infinity) <= Date.now() && failures === 0) {
        await compacting.run();
        compaction += settle();
      }
      if (archive) while (stream.store.firstToMove !== undefined) await archiver.run();
      settle();
    }
    // Three rows for the alarm, its row and the note of each segment that moves: the alarm is the object's, not counted
    // above.
    const factor = 1e6 / stream.tail;
    const alarms = archive ? seals : 0;
    if (failures > 0) throw new Error("it failed");
    return {
      batch,
      atOnce,
      archive,
      requests: 1e6 / batch,
      rows: Math.round((rows + alarms) * factor),
      puts: Math.round(puts * factor),
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
  // Deleting a row is billed like writing one, and each segment has its notes.
  expect(rowsOf(1_000, 1, true)).toBeLessThanOrEqual(2_400);
  expect(rowsOf(1, 64, true)).toBeLessThanOrEqual(70_000);
}, 60_000);

it("rows of a compacted log of ever the same keys, per million records", async () => {
  const found = [
    await measure(1, 1, 24_000, false, true),
    await measure(100, 1, 400_000, false, true),
    await measure(100, 1, 400_000, true, true),
  ];
  for (const { batch, archive, rows, compaction, puts } of found)
    console.log(JSON.stringify({ compacted: true, batch, archive, rows, compaction, puts }));
  const [alone, batched, archived] = found as [Measured, Measured, Measured];
  // Each row is deleted once, and what stays of a segment is a row or two, written in every pass that reaches it.
  expect(alone.compaction).toBeLessThanOrEqual(1_030_000);
  expect(batched.compaction).toBeLessThanOrEqual(10_600);
  expect(archived.rows).toBeLessThanOrEqual(22_000);
}, 60_000);
