/**
 * The age of records when the clock is wrong or jumps: retention and compaction never remove a record or a tombstone
 * sooner than with a right clock.
 */
import { describe, expect, it } from "vitest";
import { settledTimes } from "../../src/log/age.ts";
import { batchOf, dump, fixture } from "./log-fixtures.ts";

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const NOW = 1_764_000_000_000;
const sealed = (...times: (number | undefined)[]) => times.map((sealedAt) => ({ sealedAt }) as never);

describe("when a segment's records were all there", () => {
  it.each([
    ["a clock that runs", [NOW - 3, NOW - 2, NOW - 1, undefined], [NOW - 3, NOW - 2, NOW - 1, undefined]],
    [
      "a clock that was not set (1970)",
      [NOW - 3, 1000, 2000, NOW - 1, undefined],
      [NOW - 3, NOW - 1, NOW - 1, NOW - 1, undefined],
    ],
    ["not set, and nothing was sealed since", [NOW - 3, 1000, undefined], [NOW - 3, undefined, undefined]],
    ["a clock that was ahead of now", [NOW + DAY, NOW - 1, undefined], [NOW - 1, NOW - 1, undefined]],
    ["ahead, and nothing was sealed since", [NOW - 3, NOW + DAY, undefined], [NOW - 3, undefined, undefined]],
    [
      "a clock that was behind",
      [NOW - DAY, NOW - 30 * DAY, NOW - 1, undefined],
      [NOW - DAY, NOW - DAY, NOW - 1, undefined],
    ],
  ] as const)("%s", (_, times, expected) => {
    expect(settledTimes(sealed(...times), NOW)).toEqual(expected);
  });
});

describe("retention by age", () => {
  const week = { retention: { maxAgeMs: 7 * DAY } };
  const append = async (
    made: Awaited<ReturnType<typeof fixture>>,
    record: string,
    timestamp: number,
  ): Promise<void> => {
    await made.log.append(batchOf([record], {}, timestamp));
    await made.log.roll();
  };

  it("records with old timestamps stay as long as others: age counts from their append", async () => {
    const made = await fixture(week);
    await append(made, "late=10 days", made.clock.time - 10 * DAY);
    await append(made, "late=of 1999", 915_000_000_000);
    await made.log.clean();
    expect(await dump(made.log)).toEqual(["0:late=10 days", "1:late=of 1999"]);
    made.clock.time += 7 * DAY;
    await made.log.clean();
    expect(await dump(made.log)).toHaveLength(2);
    made.clock.time += 1;
    await made.log.clean();
    expect(await dump(made.log)).toEqual([]);
  });

  it("a record with a future timestamp is removed with the others, and keeps none of them", async () => {
    const made = await fixture(week);
    await append(made, "a=1", made.clock.time + 1000 * DAY);
    await append(made, "b=2", made.clock.time);
    made.clock.time += 7 * DAY + 1;
    await made.log.clean();
    expect(await dump(made.log)).toEqual([]);
  });

  it("1970 → now: records from before the clock was set stay for a week after it was set", async () => {
    const made = await fixture(week);
    const now = made.clock.time;
    made.clock.time = 5000;
    await append(made, "early=1", 5000);
    made.clock.time = now;
    await made.log.clean();
    expect(await dump(made.log)).toEqual(["0:early=1"]);
    await append(made, "b=2", now);
    made.clock.time += 7 * DAY;
    await made.log.clean();
    expect(await dump(made.log)).toEqual(["0:early=1", "1:b=2"]);
    made.clock.time += 1;
    await made.log.clean();
    expect(await dump(made.log)).toEqual([]);
  });

  it("a clock that was a month behind, then right: no record of that month is removed too soon", async () => {
    const made = await fixture(week);
    await append(made, "a=1", made.clock.time);
    made.clock.time -= 30 * DAY;
    await append(made, "b=2", made.clock.time);
    made.clock.time += 30 * DAY + HOUR;
    await made.log.clean();
    expect(await dump(made.log)).toEqual(["0:a=1", "1:b=2"]);
  });

  it("segments of a clock years ahead stay only until others follow, and the active one is rolled", async () => {
    const made = await fixture(week);
    made.clock.time += 5 * 365 * DAY;
    await append(made, "ahead=1", made.clock.time);
    await made.log.append(batchOf(["ahead=2"]));
    made.clock.time -= 5 * 365 * DAY;
    expect((await made.log.clean()).rolled, "created five years from now").toBe(true);
    await append(made, "b=2", made.clock.time);
    made.clock.time += 7 * DAY + 1;
    await made.log.clean();
    expect(await dump(made.log)).toEqual([]);
  });

  it("tombstones stay for their time under the same clock", async () => {
    const made = await fixture({ compaction: { tombstoneRetentionMs: DAY } });
    const now = made.clock.time;
    made.clock.time = 5000;
    await append(made, "a=1", 5000);
    await append(made, "a=", 5000);
    made.clock.time = now;
    await made.log.clean();
    expect(await dump(made.log), "sealed in 1970 is not 55 years old").toEqual(["1:a="]);
    await append(made, "b=1", now);
    made.clock.time += DAY;
    await made.log.clean();
    expect(await dump(made.log)).toEqual(["2:b=1"]);
  });
});
