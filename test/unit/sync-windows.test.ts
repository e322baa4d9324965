/** The windows of a link's follows (H33): within 12 MiB together as topics come and go, and shared evenly. */
import { describe, expect, it } from "vitest";
import { FollowWindow } from "../../src/sync/follow-window.ts";
import {
  LEVEL_BYTES,
  TOPICS_MAX,
  FOLLOW_BYTES_MAX,
  WindowBudget,
  WINDOWS_BYTES,
} from "../../src/sync/window-budget.ts";
import { Random } from "../simulation/prng.ts";

const KIB = 1024;
const RECORD = 1_000;

/** A follow and the edge's side of it: a log of records of RECORD bytes, sent while there are credits. */
class Follow {
  /** What the edge may send before it hears of more. */
  credits: number;
  /** Records that were taken, of `end`. */
  at = 0;
  readonly #window: FollowWindow;
  readonly #share: ReturnType<WindowBudget["share"]>;

  constructor(
    budget: WindowBudget,
    public end: number,
  ) {
    this.#share = budget.share(0, () => this.end);
    this.credits = this.#share.bytes;
    this.#window = new FollowWindow(this.credits);
  }

  /** One frame. False if there is nothing to send. */
  step(most = 256 * KIB): boolean {
    const records = Math.min(Math.floor(Math.min(most, this.credits) / RECORD), this.end - this.at);
    if (records === 0) return false;
    const bytes = records * RECORD;
    this.at += records;
    this.credits -= bytes;
    const to = { bytes, nextOffset: this.at, isLevel: false };
    this.credits += this.#window.took(bytes, (has, least) => this.#share.next(has, least, to));
    return true;
  }
  finish(): this {
    while (this.step());
    return this;
  }
  leave(): void {
    this.#share.end();
  }
}

const sum = (follows: Iterable<Follow>): number => [...follows].reduce((all, { credits }) => all + credits, 0);

describe("the windows of a link", () => {
  it("one that catches up gets 8 MiB, and is small again when it is level", () => {
    const follow = new Follow(new WindowBudget(), 100_000);
    expect(follow.credits).toBe(8 * LEVEL_BYTES);
    let largest = 0;
    for (let isOn = true; isOn; largest = Math.max(largest, follow.credits)) isOn = follow.step();
    expect(follow.at).toBe(follow.end);
    expect(largest).toBeGreaterThan(0.7 * FOLLOW_BYTES_MAX);
    expect(largest).toBeLessThanOrEqual(FOLLOW_BYTES_MAX);
    expect(follow.credits).toBe(LEVEL_BYTES);
  });

  it("begin small near the end of the log, and wider the farther behind they are", () => {
    const begun = (...range: [number, (number | undefined)?]): number =>
      new WindowBudget().share(range[0], () => range[1]).bytes;
    expect([begun(0), begun(0, 0), begun(5_000, 5_100), begun(0, 1_024)]).toEqual(Array(4).fill(LEVEL_BYTES));
    expect(begun(1_000_000, 1_002_000)).toBe(2_000 * 64);
    expect([begun(0, 8_192), begun(0, 1e9)]).toEqual([8 * LEVEL_BYTES, 8 * LEVEL_BYTES]);
  });

  it("a follow that begins far behind leaves most of the pool to others", () => {
    const budget = new WindowBudget();
    const begun = Array.from({ length: 50 }, () => new Follow(budget, 1e6).credits);
    expect(begun[0]).toBe(8 * LEVEL_BYTES);
    for (const [i, bytes] of begun.entries()) {
      expect(bytes).toBeGreaterThanOrEqual(LEVEL_BYTES);
      expect(bytes).toBeLessThanOrEqual(begun[i - 1] ?? bytes);
    }
    expect(begun.at(-1)).toBe(LEVEL_BYTES);
  });

  it("a wide window that begins anew is small, and may be as wide again", () => {
    const budget = new WindowBudget();
    const share = budget.share(0, () => 1e9);
    const widest = (): number => {
      for (let i = 1; i <= 10; i++) share.next(share.bytes, 0, { bytes: share.bytes, nextOffset: i, isLevel: false });
      return share.bytes;
    };
    const bytes = widest();
    expect(bytes).toBeGreaterThan(0.7 * FOLLOW_BYTES_MAX);
    for (let i = 0; i < 3; i++) {
      share.restart(0);
      expect(share.bytes).toBe(LEVEL_BYTES);
      expect(budget.share(0, () => 0).bytes).toBe(LEVEL_BYTES);
    }
    expect(widest()).toBeGreaterThan(bytes - 10 * LEVEL_BYTES);
  });

  it("topics that come one at a time share evenly, however many came before and are level", () => {
    const budget = new WindowBudget();
    const level = Array.from({ length: 20 }, () => new Follow(budget, 50_000).finish());
    const late: Follow[] = [];
    for (let i = 0; i < 4; i++) {
      late.push(new Follow(budget, 1_000_000));
      for (let turn = 0; turn < 300; turn++) for (const each of late) each.step();
    }
    for (const { credits } of level) expect(credits).toBe(LEVEL_BYTES);
    const part = (WINDOWS_BYTES - TOPICS_MAX * 16 * KIB - 20 * (LEVEL_BYTES - 16 * KIB)) / 4;
    for (const { credits } of late) expect(Math.abs(credits - part) / part).toBeLessThan(0.3);
    expect(sum([...level, ...late])).toBeLessThanOrEqual(WINDOWS_BYTES);
  });

  it("are within 12 MiB at every moment, whatever comes and goes; none is without a window", () => {
    const random = new Random(33);
    const budget = new WindowBudget();
    const follows = new Set<Follow>();
    let most = 0;
    for (let step = 0; step < 20_000; step++) {
      const all = [...follows];
      const one = all[random.int(Math.max(1, all.length))];
      if (follows.size < TOPICS_MAX && random.chance(0.08)) {
        const made = new Follow(budget, random.between(1, 200_000));
        expect(made.credits).toBeGreaterThanOrEqual(16 * KIB);
        follows.add(made);
      } else if (one && random.chance(0.02)) {
        one.leave();
        follows.delete(one);
      } else if (one && random.chance(0.1)) one.end += random.between(1, 5_000);
      else for (let n = random.int(20); n > 0; n--) one?.step(random.between(1, 1_024) * KIB);
      const now = sum(follows);
      if (now > WINDOWS_BYTES) expect.fail(`${now} bytes at step ${step}`);
      most = Math.max(most, now);
    }
    expect(follows.size).toBeGreaterThan(100);
    expect(most).toBeGreaterThan(WINDOWS_BYTES / 2);
    for (const each of follows) each.leave();
    const last = new Follow(budget, 100_000);
    for (let turn = 0; turn < 60; turn++) last.step();
    expect(last.credits).toBeGreaterThan(0.7 * FOLLOW_BYTES_MAX);
  });

  it("are halved as often as the edge says that they are too large, and the pushes under way, too", () => {
    const budget = new WindowBudget();
    const largest = (): number => {
      const follow = new Follow(budget, 100_000);
      for (let turn = 0; turn < 60; turn++) follow.step();
      const { credits } = follow;
      follow.leave();
      return credits;
    };
    const before = largest();
    expect([budget.pushes, budget.isHalved]).toEqual([8, false]);
    budget.halve();
    const halved = largest();
    expect(halved).toBeLessThan(0.6 * before);
    expect([budget.pushes, budget.isHalved]).toEqual([4, true]);
    for (let i = 0; i < 20; i++) budget.halve();
    expect(budget.pushes).toBe(1);
    expect(largest()).toBeGreaterThanOrEqual(16 * KIB);
    for (let i = 0; i < 6; i++) budget.restore();
    expect([budget.pushes, budget.isHalved]).toEqual([8, false]);
    expect(largest()).toBe(before);
  });

  it("a batch that is larger than the window passes, and what it took is given back", () => {
    const budget = new WindowBudget();
    const share = budget.share(0, () => 1_000);
    const window = new FollowWindow(share.bytes);
    const needed = 1_000_000;
    expect(window.starved(needed)).toBe(needed - share.bytes);
    const least: number[] = [];
    const resize = (has: number, lowest: number): number => {
      least.push(lowest);
      return share.next(has, lowest, { bytes: needed, nextOffset: 1_000, isLevel: true });
    };
    expect(window.took(needed, resize)).toBe(LEVEL_BYTES);
    expect([least, share.bytes]).toEqual([[0], LEVEL_BYTES]);
  });

  it("credits are whole bytes, so a follow of batches of any size comes to the end", () => {
    const random = new Random(1, 0);
    const batches = Array.from({ length: 2_000 }, () => random.between(1, 300_000));
    const share = new WindowBudget().share(0, () => 3 * batches.length);
    const window = new FollowWindow(share.bytes);
    let credits = share.bytes;
    const give = (given: number): void => {
      expect(given).toBe(Math.trunc(given));
      credits += given;
    };
    for (const [i, bytes] of batches.entries()) {
      if (bytes > credits) give(window.starved(bytes));
      expect(credits, `batch ${i}`).toBeGreaterThanOrEqual(bytes);
      credits -= bytes;
      const to = { bytes, nextOffset: 3 * i + 3, isLevel: false };
      give(window.took(bytes, (has, least) => share.next(has, least, to)));
    }
  });
});
