/**
 * The times of a fail-over, computed from made-up notes of tabs: from the strike to the next leader and its first ack.
 */
import { describe, expect, test } from "vitest";
import type { Term } from "./events.ts";
import { failOversOf, type Struck } from "./fail-overs.ts";

const STRUCK: Struck = { fault: "crash", tab: 1, epoch: 5, strikeAt: 1000, at: 1080 };
const term = (tab: number, epoch: number, lostAt: number, changedAt: number, ackedAt: number): Term => ({
  tab,
  epoch,
  role: "follower",
  lostAt,
  changedAt,
  ackedAt,
});

describe("a fail-over", () => {
  test("counts from the death to the first ack of the next term, whoever got it", () => {
    const terms = [
      term(3, 6, 1090, 1120, 1150),
      term(2, 6, 1085, 1130, 1140),
      term(2, 7, 2000, 2010, 2020),
      term(9, 5, 0, 1, 2),
    ];
    expect(failOversOf([STRUCK], [], terms)).toEqual([
      { fault: "crash", diedMs: 80, lostMs: 5, changedMs: 40, ackedMs: 60 },
    ]);
  });

  test("counts from when the page was told to go, where it is told", () => {
    const left = [
      { left: 1, at: 900 },
      { left: 2, at: 1010 },
      { left: 1, at: 1030 },
    ];
    const [close] = failOversOf([{ ...STRUCK, fault: "close beside hang", at: 1000 }], left, [
      term(2, 6, 1050, 1060, 1070),
    ]);
    expect(close).toEqual({ fault: "close beside hang", diedMs: 30, lostMs: 20, changedMs: 30, ackedMs: 40 });
  });

  test("counts from the first loss if a process ends after its locks moved on, and to the next term only", () => {
    const [crash] = failOversOf([STRUCK], [], [term(2, 6, 1015, 1050, 1065), term(3, 7, 2200, 2300, 2400)]);
    expect(crash).toEqual({ fault: "crash", diedMs: 15, lostMs: 0, changedMs: 35, ackedMs: 50 });
  });

  test("is none where the lead had been handed over before the strike, or nobody led any more", () => {
    expect(failOversOf([STRUCK], [], [term(2, 6, 950, 980, 990), term(3, 6, 950, 980, 1010)])).toEqual([]);
    expect(failOversOf([STRUCK], [], [term(9, 5, 0, 1, 2)])).toEqual([]);
  });
});
