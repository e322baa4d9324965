/**
 * What a million records cost: rows written and requests, measured on the stream of a Durable Object over its own SQLite and R2, with
 * the platform's prices of November 2026. docs/operations.md has the table; this prints it and holds it to bounds.
 */
import { runInDurableObject } from "cloudflare:test";
import { expect, it } from "vitest";
import { Archive } from "../../worker/archive.ts";
import { ArchiveTables } from "../../worker/archive-tables.ts";
import { Archiver, bucketSource, objectKey, segmentName } from "../../worker/archiver.ts";
import type { Sql, SqlRow } from "../../worker/chunk-tables.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { Stream, type StreamConfig } from "../../worker/stream.ts";
import { objectOf, real } from "./archive-tools.ts";

/** Dollars. Workers Paid, beyond what is included; docs of Cloudflare Workers, Durable Objects and R2, November 2026. */
const PRICES = { workerRequest: 0.3e-6, objectRequest: 0.15e-6, rowWritten: 1e-6, r2Write: 4.5e-6 };
const RECORD_BYTES = 100;
const kernel = await edgeKernel();

interface State {
  readonly storage: { readonly sql: { exec(query: string, ...bindings: unknown[]): Iterable<SqlRow> & { rowsWritten: number } }; transactionSync<T>(work: () => T): T };
}
interface Measured {
  readonly batch: number;
  readonly atOnce: number;
  readonly archive: boolean;
  readonly requests: number;
  readonly rows: number;
  readonly puts: number;
}

/** Per million records, from `records` of them. */
function measure(batch: number, atOnce: number, records: number, archive: boolean): Promise<Measured> {
  const path = `costs/${batch}-${atOnce}-${archive}`;
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
      id: "00000000", path, tenant: "dev", watched: false, contentType: "application/json", ttl: undefined, expiresAt: undefined, fork: undefined,
      closed: false, closedBy: undefined, deleted: false, releasing: false, touchedAt: 0,
    };
    let seals = 0;
    const stream = await Stream.create({
      sql, kernel, archive: new Archive(bucketSource(real.SEGMENTS as never), kernel), now: () => Date.now(), breathe: () => Promise.resolve(),
      readSource: () => Promise.reject(new Error("no source")), onChange: () => {}, onSealed: () => void seals++, abort: () => {},
    }, config);
    let puts = 0;
    const archiver = new Archiver({
      bucket: () => real.SEGMENTS as never, tables: new ArchiveTables(sql), kernel: edgeKernel, now: () => Date.now(), random: () => 0, abort: () => {},
      log: () => stream.store, newKey: (base) => objectKey("dev", path, segmentName("00000000", base)), event: (name) => void (name === "archive" && puts++),
    });
    let rows = 0;
    const settle = (): void => {
      rows += cursors.reduce((sum, { rowsWritten }) => sum + rowsWritten, 0);
      cursors = [];
    };
    settle();
    rows = 0;
    const body = new TextEncoder().encode(`[${Array.from({ length: batch }, () => JSON.stringify("x".repeat(RECORD_BYTES - 2))).join(",")}]`);
    const append = () => stream.append({ body, contentType: "application/json", closing: false, producer: undefined, seq: undefined, ifEnd: undefined });
    for (let sent = 0; sent < records / batch; sent += atOnce) {
      await Promise.all(Array.from({ length: atOnce }, append));
      if (archive) while (stream.store.firstToMove !== undefined) await archiver.run();
      settle();
    }
    // Three rows for the alarm, its row and the note of each segment that moves: the alarm is the object's, not counted above.
    const factor = 1e6 / stream.tail;
    const alarms = archive ? seals : 0;
    return { batch, atOnce, archive, requests: 1e6 / batch, rows: Math.round((rows + alarms) * factor), puts: Math.round(puts * factor) };
  }) as never;
}

it("rows and requests per million records, at batch 1, 100 and 1,000", async () => {
  const found: Measured[] = [];
  for (const archive of [false, true]) {
    found.push(await measure(1, 1, 8_000, archive), await measure(1, 64, 128_000, archive));
    found.push(await measure(100, 1, 200_000, archive), await measure(1_000, 1, 1_000_000, archive));
  }
  for (const { batch, atOnce, archive, requests, rows, puts } of found) {
    const dollars = requests * (PRICES.workerRequest + PRICES.objectRequest) + rows * PRICES.rowWritten + puts * PRICES.r2Write;
    console.log(JSON.stringify({ batch, atOnce, archive, requests, rows, puts, dollars: Number(dollars.toFixed(4)) }));
  }
  const rowsOf = (batch: number, atOnce: number, archive: boolean): number => found.find((each) => each.batch === batch && each.atOnce === atOnce && each.archive === archive)!.rows;
  expect(rowsOf(1, 1, false)).toBeLessThanOrEqual(1_005_000);
  expect(rowsOf(1, 64, false)).toBeLessThanOrEqual(35_000);
  expect(rowsOf(100, 1, false)).toBeLessThanOrEqual(10_200);
  expect(rowsOf(1_000, 1, false)).toBeLessThanOrEqual(1_100);
  // Deleting a row is billed like writing one, and each segment has its notes.
  expect(rowsOf(1_000, 1, true)).toBeLessThanOrEqual(2_400);
  expect(rowsOf(1, 64, true)).toBeLessThanOrEqual(70_000);
}, 60_000);
