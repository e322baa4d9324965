/**
 * Compaction in portions: bounded steps have the same result as one pass. More keys than one pass can hold take several
 * passes, each of which continues behind the one before.
 */
import { describe, expect, it } from "vitest";
import { Compactor, type CompactorOptions } from "../../src/log/compaction.ts";
import { batchOf, dump, type Fixture, fixture, kernel } from "./log-fixtures.ts";

const RECORDS = 400;
const KEYS = 40;

async function filled(): Promise<Fixture> {
  const made = await fixture({}, { slotBytes: 16 * 1024 });
  for (let i = 0; i < RECORDS; i++) await made.log.append(batchOf([`k${(i * 7) % KEYS}=${i}-${"x".repeat(100)}`]));
  await made.log.roll();
  return made;
}

async function compactorOf(
  { log, store }: Fixture,
  options: Partial<CompactorOptions> = {},
  settings: object = {},
): Promise<Compactor> {
  return new Compactor({
    store: await store.log("t-0"),
    kernel,
    settings: { ...log.settings, compaction: {}, ...settings },
    ...options,
  });
}

const swap = (work: () => Promise<void>): Promise<void> => work();
const keysOf = (records: readonly string[]): string[] => records.map((record) => record.split(":")[1]!.split("=")[0]!);

describe("compaction in portions", () => {
  it("the smallest portions each do something, and together have the result of one pass", async () => {
    const whole = await filled();
    await (await compactorOf(whole)).run(whole.clock.time, whole.log.highWatermark, swap);
    const made = await filled();
    const compactor = await compactorOf(made);
    let portions = 0;
    do {
      await compactor.run(made.clock.time, made.log.highWatermark, swap, 1);
      portions++;
    } while (compactor.isUnderWay);
    expect(portions).toBeGreaterThan(8);
    expect(compactor.passesDone).toBe(1);
    expect(await dump(made.log)).toEqual(await dump(whole.log));
    expect(keysOf(await dump(made.log)).sort()).toEqual([...new Set(keysOf(await dump(made.log)))].sort());
  });

  it("a pass that is forgotten in the middle begins again, and has the same result", async () => {
    const made = await filled();
    for (let portions = 1; portions < 30; portions++) {
      const compactor = await compactorOf(made);
      for (let i = 0; i < portions; i++) await compactor.run(made.clock.time, made.log.highWatermark, swap, 1);
    }
    expect((await dump(made.log)).length).toBe(KEYS);
  });

  it("more keys than a pass holds: each pass continues behind the one before, until keys are unique", async () => {
    const made = await filled();
    const compactor = await compactorOf(made, {}, { compactionKeysMax: 13 });
    const reached: number[] = [];
    for (let passes = 0; compactor.cleanTo < RECORDS && passes < 100; passes++) {
      await compactor.run(made.clock.time, made.log.highWatermark, swap);
      reached.push(compactor.cleanTo);
      const below = keysOf((await dump(made.log)).filter((record) => parseInt(record) < compactor.cleanTo));
      expect(new Set(below).size).toBe(below.length);
    }
    expect(reached.length).toBeGreaterThan(3);
    expect(reached).toEqual([...reached].sort((a, b) => a - b));
    expect((await dump(made.log)).length).toBe(KEYS);
  });

  it("a log that was empty when it was cleaned first is compacted all the same", async () => {
    const made = await fixture({ compaction: {} }, { slotBytes: 16 * 1024 });
    expect((await made.log.clean()).compacted.segments).toBe(0);
    for (let i = 0; i < RECORDS; i++) await made.log.append(batchOf([`k${(i * 7) % KEYS}=${i}-${"x".repeat(100)}`]));
    await made.log.roll();
    expect((await made.log.clean()).compacted.recordsRemoved).toBe(RECORDS - KEYS);
    expect((await dump(made.log)).length).toBe(KEYS);
  });

  it("long keys count for more than one", async () => {
    const made = await fixture({}, { slotBytes: 16 * 1024 });
    for (let i = 0; i < 40; i++) await made.log.append(batchOf([`${`k${i % 20}`.padEnd(640, "k")}=${i}`]));
    await made.log.roll();
    const compactor = await compactorOf(made, {}, { compactionKeysMax: 22 });
    await compactor.run(made.clock.time, made.log.highWatermark, swap);
    // A key counts for eleven, so that there is room for two of them.
    expect(compactor.cleanTo).toBe(2);
  });

  it("a tombstone stays until the records that it deletes are removed", async () => {
    const made = await fixture({}, { slotBytes: 16 * 1024 });
    for (const record of ["a=1", "b=1", "a=", "b=2"]) await made.log.append(batchOf([record]));
    await made.log.roll();
    const compactor = await compactorOf(made, { tombstonesLast: true }, { compaction: { tombstoneRetentionMs: 0 } });
    await compactor.run(made.clock.time, made.log.highWatermark, swap);
    expect(await dump(made.log)).toEqual(["2:a=", "3:b=2"]);
    await compactor.run(made.clock.time, made.log.highWatermark, swap);
    expect(await dump(made.log)).toEqual(["3:b=2"]);
  });
});
