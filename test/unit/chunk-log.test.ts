/**
 * The chunk store over Node's own SQLite, where a debugger can be used: the same contract as inside workerd
 * (test/edge).
 */
import { describe, expect, it } from "vitest";
import { ChunkLog } from "../../worker/store/chunk-log.ts";
import type { Sql } from "../../worker/store/sql.ts";
import { chunkHost } from "../contract/chunk-host.ts";
import { logStoreCases, makeBatch } from "../contract/log-store-contract.ts";
import { releaseKernel, referenceKernel } from "../support/kernels.ts";
import { nodeSql } from "../support/node-sql.ts";

for (const load of [releaseKernel, referenceKernel]) {
  const kernel = await load();
  describe(`chunk store over Node's SQLite, ${kernel.build} kernel`, () => {
    for (const { name, run } of logStoreCases) it(name, () => run(chunkHost(kernel, async () => nodeSql())));
  });
}

describe("a full database", () => {
  it("takes a trim, which makes its own room, and a compaction that it refuses has changed nothing", async () => {
    const kernel = await releaseKernel();
    const inner = nodeSql();
    const state = { isFull: false, hasRoom: false };
    const sql: Sql = {
      exec(query, ...bindings) {
        if (state.isFull && !state.hasRoom && query.startsWith("INSERT"))
          throw new Error("database or disk is full: SQLITE_FULL");
        state.hasRoom ||= query.startsWith("DELETE FROM chunk");
        return inner.exec(query, ...bindings);
      },
      room: () => (state.isFull ? 0 : Infinity),
      transaction: (work) => inner.transaction(work),
    };
    const log = new ChunkLog({ sql, kernel, now: () => 1, name: "a" });
    for (const base of [0, 1]) {
      await log.append([makeBatch(kernel, base, 1)]);
      await log.roll();
    }
    state.isFull = true;
    const replaced = log.replace(0, 2, [{ baseOffset: 0, nextOffset: 2, bytes: makeBatch(kernel, 0, 1), sealedAt: 1 }]);
    await expect(replaced).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
    // ETags have it: a later compaction must not have the number of this one.
    expect([log.swaps, log.segments().length]).toEqual([0, 3]);
    state.hasRoom = false;
    await log.trim(1);
    expect(log.logStartOffset).toBe(1);
  });
});

describe("a commit that fails", () => {
  it("leaves nothing of itself and, when the disk is not just full, ends the store", async () => {
    const kernel = await releaseKernel();
    const inner = nodeSql();
    let failure: Error | undefined;
    const sql: Sql = {
      exec(query, ...bindings) {
        if (failure && query.startsWith("INSERT") && bindings[0] !== 0) throw failure;
        return inner.exec(query, ...bindings);
      },
      transaction: (work) => inner.transaction(work),
    };
    const log = new ChunkLog({ sql, kernel, now: () => 1, name: "a" });
    const large = () => [makeBatch(kernel, 0, 1, 900_000), makeBatch(kernel, 1, 1, 900_000)];
    failure = new Error("database or disk is full: SQLITE_FULL");
    await expect(log.append(large())).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
    expect([log.logEndOffset, [...inner.exec("SELECT * FROM chunk")].length]).toEqual([0, 0]);
    failure = undefined;
    await log.append(large());
    expect(log.logEndOffset).toBe(2);
    failure = new Error("disk I/O error");
    await expect(log.append([makeBatch(kernel, 2, 1)])).rejects.toMatchObject({
      code: "STORAGE_FAILED",
      details: { poisoned: true },
    });
    await expect(log.append([makeBatch(kernel, 2, 1)])).rejects.toMatchObject({ code: "CLOSED" });
  });
});
