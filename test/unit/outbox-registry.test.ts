/**
 * What the edge's registry of outboxes does in the rare cases, over Node's SQLite: it forgets, it is lost, an older
 * version has sealed beside it, its log is a fork or was put back, it is full; and what a join compares.
 */
import { describe, expect, it } from "vitest";
import { readHeader } from "../../src/record/format.ts";
import type { OutboxJoin } from "../../src/sync/sync-frames.ts";
import { Registrations } from "../../worker/stream/registrations.ts";
import { Compaction } from "../../worker/log-object/compaction-schedule.ts";
import { ChunkLog } from "../../worker/store/chunk-log.ts";
import { bytesOf } from "../../worker/store/chunk-tables.ts";
import type { Sql } from "../../worker/store/sql.ts";
import { nodeSql } from "../support/node-sql.ts";
import { retryIn } from "../support/retry.ts";
import { A, B, batchAt, Edge, edge, kernel } from "./outbox-edge.ts";

const DAY_MS = 86_400_000;

/** A database that takes no rows while it is full. */
function fillable(): { readonly sql: Sql; fill(isFull: boolean): void } {
  const inner = nodeSql();
  let isFull = false;
  const sql: Sql = {
    exec(query, ...bindings) {
      if (isFull && query.startsWith("INSERT")) throw new Error("database or disk is full: SQLITE_FULL");
      return inner.exec(query, ...bindings);
    },
    transaction: (work) => inner.transaction(work),
  };
  return { sql, fill: (now) => (isFull = now) };
}

describe("a registry that forgets", () => {
  it.each([
    ["in memory", 10],
    ["spilled to its table", 0],
  ])("an outbox unseen for the age is unknown, and comes back by a claim: %s", async (_, hotMax) => {
    const log = await edge({ maxAgeMs: 30 * DAY_MS, hotMax });
    await log.join({ generation: 5 });
    await log.push([batchAt(0, 3)], { generation: 5 });
    await log.stream.log.roll();
    log.now += 31 * DAY_MS;
    await log.join({ outbox: B });
    await log.push([batchAt(0)], { outbox: B });
    await log.stream.log.roll();
    for (const again of [log, await new Edge(log.sql, log.bounds).open()]) {
      again.now = log.now;
      expect(again.outboxes.entryOf(A)).toBeUndefined();
      expect(again.outboxes.entryOf(B)).toMatchObject({ next: 1 });
      expect(again.outboxes.forgottenAt).toBe(4);
      // Registered or not: one can't be told from the other any more.
      expect(await again.join({ registered: true })).toMatchObject({ refusal: "UNKNOWN_OUTBOX", forgottenAt: 4 });
      expect(await again.join()).toMatchObject({ refusal: "UNKNOWN_OUTBOX", known: false, since: 0 });
      await expect(again.push([batchAt(3)])).rejects.toMatchObject({ code: "UNKNOWN_OUTBOX" });
      await expect(again.push([batchAt(3)], { readTo: 3 })).rejects.toMatchObject({
        code: "OUTBOX_CONFLICT",
        details: { forgottenAt: 4, logEndOffset: 4, lastOffset: -1 },
      });
    }
    // Above every generation that was forgotten, so that each other holder is fenced.
    expect(await log.push([batchAt(3)], { readTo: 4 })).toMatchObject({ generation: 6, next: 4, isClaim: true });
    // Who is known now may lie anywhere.
    log.now += DAY_MS;
    expect(await log.join({ registered: true, generation: 6 })).toMatchObject({ refusal: undefined, since: 0 });
  });

  it("no clock makes it forget where no age is set, nor while the outbox is seen", async () => {
    const [ever, seen] = [await edge(), await edge({ maxAgeMs: DAY_MS })];
    for (const log of [ever, seen]) {
      await log.join();
      await log.push([batchAt(0)]);
    }
    ever.now += 1_000 * DAY_MS;
    seen.now += DAY_MS / 2;
    await seen.join({ registered: true });
    seen.now += DAY_MS / 2 + 1;
    for (const log of [ever, seen]) {
      await log.stream.log.roll();
      expect(log.outboxes.entryOf(A)).toMatchObject({ next: 1 });
      expect(log.outboxes.forgottenAt).toBe(0);
    }
  });

  it("a snapshot that does not check: all is forgotten, and the log has not gone back for that", async () => {
    const log = await edge();
    const { life } = await log.join({ generation: 9 });
    await log.push([batchAt(0, 2)], { generation: 9 });
    await log.stream.log.roll();
    const bytes = bytesOf(log.rows("SELECT value FROM meta WHERE key = 'outboxes'")[0]!["value"]).slice();
    bytes[50]! ^= 1;
    log.rows("UPDATE meta SET value = ? WHERE key = 'outboxes'", bytes);
    await log.open();
    expect(await log.join({ registered: true, generation: 9, life, end: 2 })).toMatchObject({
      refusal: "UNKNOWN_OUTBOX",
      forgottenAt: 2,
      lineage: "same",
    });
    const { generation } = await log.push([batchAt(2)], { generation: 9, readTo: 2 });
    expect(generation).toBeGreaterThan(9);
    await log.open();
    expect(log.outboxes.entryOf(A)).toMatchObject({ generation, next: 3 });
  });
});

describe("versions", () => {
  it("tables of an older version get the column, their rows are read, and pushes go on from there", async () => {
    const old = await edge();
    await old.append(2);
    await old.stream.log.roll();
    await old.append();
    // As they were before there were outboxes.
    old.rows("DROP TABLE outbox");
    old.rows("ALTER TABLE chunk DROP COLUMN origins");
    await old.open();
    expect(old.stream.tail).toBe(3);
    await old.join();
    expect(await old.push([batchAt(0)])).toMatchObject({ lastOffset: 3 });
    await old.open();
    expect(old.outboxes.entryOf(A)).toMatchObject({ next: 1, lastOffset: 3, since: 3 });
    expect((await old.stream.log.fetch(0)).bytes.length).toBeGreaterThan(0);
  });

  const sealedByOld = async (): Promise<Edge> => {
    const log = await edge();
    await log.join();
    await log.push([batchAt(0, 2)]);
    // An older version: the same tables, and no book.
    const store = new ChunkLog({ sql: log.sql, kernel, now: () => log.now, name: "a" });
    const batch = batchAt(2);
    await store.append([batch]);
    await store.roll();
    return log;
  };

  it("one that knows no outboxes has sealed: what it left of the rows is caught up with", async () => {
    const log = await (await sealedByOld()).open();
    expect(log.outboxes.entryOf(A)).toMatchObject({ next: 2, lastOffset: 1 });
    expect(log.outboxes.forgottenAt).toBe(0);
  });

  it("one that knows no outboxes has sealed, and the rows have gone since: all is forgotten", async () => {
    const log = await sealedByOld();
    log.rows("DELETE FROM chunk WHERE base_offset = 0");
    await log.open();
    expect(log.outboxes.entryOf(A)).toBeUndefined();
    expect(log.outboxes.forgottenAt).toBe(3);
  });
});

describe("other logs", () => {
  it("a fork begins with nobody, and with what it inherits as forgotten", async () => {
    const fork = await new Edge().open({ fork: { path: "s", offset: 5, requested: undefined, subOffset: 0 } });
    expect(await fork.join()).toMatchObject({ refusal: "UNKNOWN_OUTBOX", forgottenAt: 5 });
    await expect(fork.push([batchAt(0)], { readTo: 4 })).rejects.toMatchObject({ code: "OUTBOX_CONFLICT" });
    expect(await fork.push([batchAt(0)], { readTo: 5 })).toMatchObject({ generation: 2, lastOffset: 5 });
    await fork.open();
    expect(fork.outboxes.forgottenAt).toBe(5);
  });

  it("a join that means another log of this path changes nothing here", async () => {
    const log = await edge();
    expect(await log.join({ stream: "other" })).toMatchObject({ refusal: undefined, known: false, stream: "0" });
    expect(log.outboxes.entryOf(A)).toBeUndefined();
    expect(log.rows("SELECT value FROM meta WHERE key = 'outboxes'")).toEqual([]);
  });

  it("a device without an outbox joins, and a token without write registers nothing", async () => {
    const log = await edge();
    expect(await log.join({ outbox: null })).toMatchObject({ refusal: undefined, known: false, lineage: "same" });
    expect(await log.join({}, false)).toMatchObject({ refusal: undefined, known: false });
    expect(log.rows("SELECT * FROM outbox")).toEqual([]);
  });
});

describe("a log that was put back", () => {
  const TABLES = ["chunk", "segment", "damage", "meta", "outbox", "archive"];
  const dump = (log: Edge) => TABLES.map((table) => [table, log.rows(`SELECT * FROM ${table}`)] as const);
  function putBack(log: Edge, dumped: ReturnType<typeof dump>): void {
    for (const [table, rows] of dumped) {
      log.rows(`DELETE FROM ${table}`);
      for (const row of rows) {
        const names = Object.keys(row);
        const places = names.map(() => "?").join(", ");
        log.rows(`INSERT INTO ${table}(${names.join(", ")}) VALUES (${places})`, ...Object.values(row));
      }
    }
  }

  it("says so to whoever saw more, whatever has been written since, and to nobody else", async () => {
    const log = await edge();
    const first = await log.join();
    await log.push([batchAt(0, 2)]);
    await log.open();
    await log.append();
    const { life } = await log.join({ registered: true });
    expect(life).not.toBe(first.life);
    const backup = dump(log);
    await log.open();
    await log.append(2);
    const lost = await log.join({ registered: true });
    expect(lost.logEndOffset).toBe(5);
    putBack(log, backup);
    await log.open();
    const lineage = async (told: string, end: number, passed = 0): Promise<string> =>
      (await log.join({ registered: true, life: told, end, passed })).lineage;
    // Not grown again.
    expect(await lineage(lost.life, 5)).toBe("back");
    expect(await lineage(life, 3)).toBe("same");
    await log.append(9);
    expect(await lineage(lost.life, 5)).toBe("back");
    expect(await lineage(lost.life, 3)).toBe("back");
    expect(await lineage(life, 3)).toBe("same");
    expect(await lineage(life, 4)).toBe("back");
    expect(await lineage(life, 0, 4)).toBe("back");
    expect(await lineage(first.life, 2)).toBe("same");
    expect(await lineage(first.life, 3)).toBe("back");
  });

  it("keeps 4,096 lives; an older one says nothing by itself, one that never was says enough", async () => {
    const log = await edge();
    const { life: oldest } = await log.join();
    for (let i = 0; i < 4_100; i++) {
      log.outboxes.lives.opened(2 + i);
      log.outboxes.lives.begin(0);
    }
    await log.append(2);
    expect(log.outboxes.lives.all).toHaveLength(4_096);
    expect(log.outboxes.lives.dropped).toBe(5);
    expect((await log.join({ life: oldest, end: 0, registered: true })).lineage).toBe("same");
    expect((await log.join({ life: oldest, end: 1, registered: true })).lineage).toBe("back");
    expect((await log.join({ life: "0000ffff00000001", end: 0, registered: true })).lineage).toBe("back");
  });
});

describe("what a join compares", () => {
  const three = async (compacted: boolean): Promise<Edge> => {
    const log = await new Edge().open(compacted ? { compaction: {} } : {});
    await log.join();
    await log.push([batchAt(0, 2), batchAt(2), batchAt(3, 2)]);
    return log;
  };
  const crcs = [batchAt(0, 2), batchAt(2), batchAt(3, 2)].map((batch) => readHeader(batch).crc) as [
    number,
    number,
    number,
  ];
  const lineage = async (log: Edge, samples: OutboxJoin["samples"]) => {
    const { lineage: is, agreedTo } = await log.join({ registered: true, samples });
    return [is, agreedTo];
  };

  it("the newest batch that is the same below any that is not", async () => {
    const log = await three(false);
    expect(await lineage(log, [])).toEqual(["same", 0]);
    expect(
      await lineage(log, [
        [3, crcs[2]],
        [2, crcs[1]],
        [0, crcs[0]],
      ]),
    ).toEqual(["same", 5]);
    expect(
      await lineage(log, [
        [3, crcs[2] ^ 1],
        [2, crcs[1]],
      ]),
    ).toEqual(["back", 3]);
    // Another batch may have the same checksum and stand elsewhere; a newer agreement heals nothing.
    expect(
      await lineage(log, [
        [3, crcs[2]],
        [1, crcs[1]],
      ]),
    ).toEqual(["back", 0]);
    // Where the device has none there is one.
    expect(await lineage(log, [[1, null]])).toEqual(["back", 0]);
    // Beyond the end nothing is said; that the device has more is.
    expect(await lineage(log, [[5, 7]])).toEqual(["same", 0]);
    expect(await log.join({ registered: true, end: 6 })).toMatchObject({ lineage: "back" });
  });

  it("nothing where compaction made the batches, and nothing below the start", async () => {
    const log = await three(true);
    await log.stream.log.roll();
    await new Compaction({
      stream: () => log.stream,
      kernel: async () => kernel,
      now: () => log.now,
      hasBucket: () => false,
      retry: retryIn(log.sql, () => log.now, "compaction"),
      event: () => {},
      abort: (reason) => expect.fail(reason),
    }).run();
    expect(log.stream.log.segments().some(({ compacted }) => compacted)).toBe(true);
    expect(
      await lineage(log, [
        [3, 1],
        [2, 1],
        [0, 1],
        [1, null],
      ]),
    ).toEqual(["same", 0]);
    expect(log.outboxes.entryOf(A)).toMatchObject({ next: 5 });
    const trimmed = await three(false);
    await trimmed.stream.log.roll();
    await trimmed.append();
    await trimmed.stream.log.trim(5);
    expect(await lineage(trimmed, [[0, 1]])).toEqual(["same", 0]);
    await trimmed.open();
    expect(trimmed.outboxes.entryOf(A)).toMatchObject({ next: 5, lastOffset: 4 });
  });
});

describe("bounds", () => {
  it("joins alone do not fill the memory: who has pushed nothing is in its row", async () => {
    const log = await edge({ hotMax: 8 });
    const ids = Array.from({ length: 100 }, (_, i) => `1${`${i}`.padStart(15, "0")}`);
    await log.push([batchAt(0)], { outbox: ids[0]!, readTo: 0 });
    for (const outbox of ids) await log.join({ outbox, registered: outbox === ids[0], generation: 2 });
    expect(log.outboxes.count).toBeLessThanOrEqual(9);
    for (const [i, outbox] of ids.entries())
      expect(log.outboxes.entryOf(outbox)).toMatchObject({ generation: 2, next: i === 0 ? 1 : 0 });
  });

  it("more outboxes than a log may know are LIMIT_EXCEEDED, by join and by claim; who is known goes on", async () => {
    const log = await edge({ registeredMax: 1 });
    await log.join();
    await expect(log.join({ outbox: B })).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
    await expect(log.push([batchAt(0)], { outbox: B, readTo: 0 })).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
    expect(await log.push([batchAt(0)])).toMatchObject({ next: 1 });
    await log.open();
    await expect(log.join({ outbox: B })).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
  });

  it("an owner registers so many outboxes a day at a log; those that are known and other owners go on", async () => {
    let now = 1_000;
    const today = new Registrations(() => now, 2);
    for (let i = 0; i < 2; i++) {
      today.check("ann");
      today.add("ann");
    }
    expect(() => today.check("ann")).toThrow(
      expect.objectContaining({ code: "TOO_MANY_REQUESTS", details: { registrationsPerDay: 2, retryAfter: 600 } }),
    );
    today.check("ben");
    now += 86_400_000;
    today.check("ann");

    const log = await edge({ registrationsPerDay: 1 });
    await log.join();
    await expect(log.join({ outbox: B })).rejects.toMatchObject({ code: "TOO_MANY_REQUESTS" });
    const claimed = log.push([batchAt(0)], { outbox: B, readTo: 0 });
    await expect(claimed).rejects.toMatchObject({ code: "TOO_MANY_REQUESTS" });
    await log.join();
    expect(await log.push([batchAt(0)])).toMatchObject({ next: 1 });
  });

  it("generations end at 2^31 - 1: no claim goes beyond", async () => {
    const log = await edge();
    const most = 2 ** 31 - 1;
    await log.join({ generation: most - 1 });
    const taken = await log.push([batchAt(0)], { generation: 1, readTo: 0 });
    expect(taken).toMatchObject({ generation: most });
    await expect(log.push([batchAt(1)], { readTo: 1 })).rejects.toMatchObject({ code: "LIMIT_EXCEEDED" });
    await log.open();
    expect(log.outboxes.entryOf(A)).toMatchObject({ generation: most, next: 1 });
  });

  it("a full database refuses a join as QUOTA_EXCEEDED, and nothing has changed", async () => {
    const { sql, fill } = fillable();
    const log = await new Edge(sql).open();
    for (const other of [A, B]) {
      fill(true);
      await expect(log.join({ outbox: other })).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
      expect(log.outboxes.entryOf(other)).toBeUndefined();
      fill(false);
      expect(await log.join({ outbox: other })).toMatchObject({ known: true });
    }
    fill(true);
    await expect(log.push([batchAt(0)])).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
    // What is in memory is ahead of the log.
    expect(log.aborted).toMatch(/QUOTA_EXCEEDED/);
    fill(false);
    await log.open();
    expect(log.outboxes.entryOf(A)).toMatchObject({ next: 0, lastOffset: -1 });
  });

  it("a log whose very first join met a full database is taken for the same one after its next opening", async () => {
    const { sql, fill } = fillable();
    const log = await new Edge(sql).open();
    fill(true);
    await expect(log.join()).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
    fill(false);
    await log.append();
    const { life } = await log.join();
    await log.append();
    await log.open();
    expect(await log.join({ registered: true, life, end: 2 })).toMatchObject({ lineage: "same", life });
  });
});
