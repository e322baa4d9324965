/** Pauses between tries: how long they are, and that they survive an eviction of their object. */
import { describe, expect, it } from "vitest";
import { pauseMs } from "../../src/log/back-off.ts";
import { Retries } from "../../worker/store/retries.ts";
import { DyingSql, nodeSql } from "../support/node-sql.ts";

describe("a pause", () => {
  const BACK_OFF = { minMs: 100, maxMs: 1_000 };

  it("doubles with each failure, up to its bound, however many there are", () => {
    expect([1, 2, 3, 4, 5, 6, 2_000].map((failures) => pauseMs(BACK_OFF, failures))).toEqual([
      100, 200, 400, 800, 1_000, 1_000, 1_000,
    ]);
  });

  it("is random between half of that and all of it", () => {
    expect([0, 0.5, 1].map((random) => pauseMs(BACK_OFF, 2, random))).toEqual([100, 150, 200]);
  });
});

describe("what an object tries again", () => {
  const BACK_OFF = { minMs: 100, maxMs: 1_000 };
  function world() {
    const sql = nodeSql();
    const time = { now: 5_000 };
    const tables = (): string[] =>
      [...sql.exec("SELECT name FROM sqlite_master WHERE type = 'table'")].map(({ name }) => String(name));
    const woken = (used = sql): Retries => new Retries({ sql: used, now: () => time.now, random: () => 1 });
    return { sql, time, tables, woken };
  }

  it("writes nothing while nothing fails", () => {
    const { tables, woken } = world();
    const retry = woken().of("a", BACK_OFF);
    retry.succeeded();
    expect([retry.failures, retry.at, retry.next, tables()]).toEqual([0, 0, 5_100, []]);
  });

  it("continues its pause when the object has slept, and doubles it at the next failure", () => {
    const { time, woken } = world();
    for (const [failures, pause] of [
      [1, 100],
      [2, 200],
      [3, 400],
    ] as const) {
      expect(woken().of("a", BACK_OFF).failed()).toBe(pause);
      const { at, next, failures: kept } = woken().of("a", BACK_OFF);
      expect([kept, at, next]).toEqual([failures, time.now + pause, time.now + pause]);
      time.now = at;
    }
  });

  it("is over where a clock that was ahead has noted it: no pause is longer than the longest", () => {
    const { time, woken } = world();
    time.now += 86_400_000;
    woken().of("a", BACK_OFF).failed();
    time.now -= 86_400_000;
    const { at, next, failures } = woken().of("a", BACK_OFF);
    expect([failures, at, next]).toEqual([1, 0, time.now + BACK_OFF.minMs]);
    expect(woken().of("a", BACK_OFF).failed()).toBe(200);
  });

  it("begins again after a success, and leaves no table behind", () => {
    const { tables, woken } = world();
    const [a, b] = [woken().of("a", BACK_OFF), woken().of("b", BACK_OFF)];
    a.failed();
    b.failed();
    const retries = woken();
    retries.of("a", BACK_OFF).succeeded();
    expect([woken().of("a", BACK_OFF).at, woken().of("b", BACK_OFF).at]).toEqual([0, 5_100]);
    retries.of("b", BACK_OFF).succeeded();
    expect(tables()).toEqual([]);
  });

  it("forgets the pauses of a deleted stream", () => {
    const { woken } = world();
    for (const name of ["archive", "compaction", "tell"]) woken().of(name, BACK_OFF).failed();
    woken().forgetAllBut("archive");
    expect(["archive", "compaction", "tell"].map((name) => woken().of(name, BACK_OFF).failures)).toEqual([1, 0, 0]);
  });

  it("counts in memory when the table cannot be written", () => {
    const { sql, woken } = world();
    const dying = new DyingSql(sql);
    const retry = woken(dying).of("a", BACK_OFF);
    expect(retry.failures).toBe(0);
    dying.isDead = true;
    expect([retry.failed(), retry.failed(), retry.at]).toEqual([100, 200, 5_200]);
  });
});
