/** The LogStore contract on a Durable Object's own SQLite, inside workerd, and how many rows each commit writes. */
import { env, runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { ChunkLog } from "../../worker/store/chunk-log.ts";
import { CHUNK_BYTES_MAX } from "../../worker/store/chunk-tables.ts";
import type { Sql, SqlRow } from "../../worker/store/sql.ts";
import { edgeKernel } from "../../worker/kernel.ts";
import { chunkHost } from "../contract/chunk-host.ts";
import { logStoreCases, makeBatch } from "../contract/log-store-contract.ts";

const kernel = await edgeKernel();
const { LOGS } = env;
let objects = 0;

/** Runs `work` inside a new object, with its SQLite and a count of the rows that it has written. */
function inObject<T>(work: (sql: Sql, written: () => number) => Promise<T>): Promise<T> {
  const stub = LOGS.get(LOGS.idFromName(`store-${++objects}`));
  return runInDurableObject(stub as never, async (_instance: unknown, state: { readonly storage: Storage }) => {
    const { storage } = state;
    const cursors: { rowsWritten: number }[] = [];
    const sql: Sql = {
      exec(query, ...bindings) {
        const cursor = storage.sql.exec(query, ...bindings);
        cursors.push(cursor);
        return cursor;
      },
      transaction: (inner) => storage.transactionSync(inner),
    };
    const written = () => cursors.splice(0).reduce((sum, { rowsWritten }) => sum + rowsWritten, 0);
    return work(sql, written);
  }) as Promise<T>;
}

interface Storage {
  readonly sql: { exec(query: string, ...bindings: unknown[]): Iterable<SqlRow> & { rowsWritten: number } };
  transactionSync<T>(work: () => T): T;
}

describe("chunk store in a Durable Object", () => {
  for (const { name, run } of logStoreCases) {
    it(name, () =>
      inObject(async (sql) => {
        // A case may make several stores, one after the other, in the same object.
        const fresh = async () => {
          for (const table of ["chunk", "segment", "damage", "meta"])
            void [...sql.exec(`DROP TABLE IF EXISTS ${table}`)];
          return sql;
        };
        await run(chunkHost(kernel, fresh));
      }),
    );
  }
});

describe("rows written", () => {
  const options = { kernel, now: () => 1_000_000, name: "a" };

  it("one for a commit, however many batches and records it holds", () =>
    inObject(async (sql, written) => {
      const log = new ChunkLog({ sql, ...options });
      log.onSeal = () => new Uint8Array(100);
      written();
      const append = async (batches: readonly Uint8Array[]) => {
        await log.append(batches);
        await log.flush();
        return written();
      };
      expect(await append([makeBatch(kernel, 0, 1)])).toBe(1);
      expect(await append([makeBatch(kernel, 1, 1000)])).toBe(1);
      expect(await append(Array.from({ length: 64 }, (_, i) => makeBatch(kernel, 1001 + i, 1, 1000)))).toBe(1);
      const large = Array.from({ length: 3 }, (_, i) => makeBatch(kernel, 1065 + i, 1, 900_000));
      expect(await append(large)).toBe(3);
    }));

  it("a million records in batches of 1,000 cost at most 1,100 rows, seals and all", () =>
    inObject(async (sql, written) => {
      const log = new ChunkLog({ sql, ...options });
      log.onSeal = () => new Uint8Array(1000);
      written();
      const builder = new BatchBuilder(kernel);
      for (let i = 0; i < 1000; i++) builder.tryAppend({ key: null, value: new Uint8Array(100), timestamp: 1 });
      const batch = builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
      for (let commit = 0; commit < 1000; commit++) {
        new DataView(batch.buffer, batch.byteOffset).setBigInt64(0, BigInt(log.logEndOffset));
        await log.append([batch]);
      }
      expect(log.logEndOffset).toBe(1_000_000);
      const rows = written();
      console.log(`rows written per million records at batch 1,000: ${rows}`);
      expect(rows).toBeLessThanOrEqual(1100);
    }));

  it("opening again writes nothing", () =>
    inObject(async (sql, written) => {
      const log = new ChunkLog({ sql, ...options });
      await log.append([makeBatch(kernel, 0, 10)]);
      written();
      expect(new ChunkLog({ sql, ...options }).logEndOffset).toBe(10);
      expect(written()).toBe(0);
    }));

  it("no row is larger than 1 MiB", () =>
    inObject(async (sql) => {
      const log = new ChunkLog({ sql, ...options });
      await log.append(Array.from({ length: 40 }, (_, i) => makeBatch(kernel, i, 1, 100_000)));
      const [row] = [...sql.exec("SELECT max(length(bytes)) AS largest, count(*) AS rows FROM chunk")];
      expect(row!["largest"]).toBeLessThanOrEqual(CHUNK_BYTES_MAX);
      expect(row!["rows"]).toBe(4);
    }));
});
