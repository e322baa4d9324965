/**
 * Histories of sync over a simulated network and the Worker's own edge: see world.ts. Bundled, as
 * `npm run sim -- --sync` is: there an import() in the product takes a known number of turns, so that runs repeat.
 */
import { describe, expect, it } from "vitest";
import { importPlanted } from "../../support/bundle-planted.ts";
import { SYNC_PLANS } from "./kinds.ts";
import type * as Entry from "./mutant-entry.ts";
import { ALL_MUTANTS, ENTRY, searchPlanted } from "./planted.ts";

const SEEDS = 150;
const STEPS = 100;
/** Every sixth message of a session is struck here. `npm run sim -- --sync --frames` strikes each. */
const FRAME_STEP = 6;
/** A planted bug that survives this many seeds fails the test. */
const PLANTED_SEEDS = 100;

const { runSync, runHistory, HISTORIES, floorOf, rareIn, runFrames, FRAME_FAULTS } = await importPlanted<typeof Entry>(
  ENTRY,
  undefined,
);

describe("histories", () => {
  it.each(SYNC_PLANS)(
    `%s: ${SEEDS} from seed 1: each acknowledged record is at the edge once, in order, and on every device`,
    async (plan) => {
      const { failures, counts } = await runSync({ seed: 1, seeds: SEEDS, ops: STEPS, plan });
      expect(failures).toEqual([]);
      expect(rareIn(counts, plan, floorOf(SEEDS, STEPS))).toEqual([]);
    },
    600_000,
  );

  it("what is too rare in a long run is named", () => {
    expect([floorOf(149, 100), floorOf(150, 100), floorOf(200, 300), floorOf(20_000, 300)]).toEqual([0, 2, 10, 100]);
    const all = Object.fromEntries(rareIn({}, "wide", 1).map((rare) => [rare.split(":")[0]!, 100]));
    expect(rareIn(all, "wide", 100)).toEqual([]);
    expect(rareIn({ ...all, gap: 99 }, "wide", 100)).toEqual(["gap: 99 of 100"]);
    expect(rareIn({ ...all, gap: 9 }, "first", 10)).toEqual(["gap: 9 of 10"]);
  });

  it("a seed is its history", async () => {
    const [one, two] = [await runSync({ seed: 5, seeds: 2, ops: 40 }), await runSync({ seed: 5, seeds: 2, ops: 40 })];
    expect(one).toEqual(two);
  });

  it.each(Object.keys(HISTORIES))("written down: %s", async (name) => {
    expect(await runHistory(name)).toBeUndefined();
  });

  it.each(FRAME_FAULTS)("a session, struck at its messages: %s", async (fault) => {
    const { failures, messages } = await runFrames(1, [fault], fault === "cut" ? 1 : FRAME_STEP);
    expect(failures).toEqual([]);
    expect(messages).toBeGreaterThan(50);
  });

  // `npm run sim -- --sync --planted all` looks for the others as well.
  const quick = ALL_MUTANTS.filter(({ isQuick }) => isQuick);
  it.each(quick.map((mutant) => [mutant.name, mutant] as const))(
    "found: %s",
    async (_, mutant) => {
      const { why } = await searchPlanted(mutant, PLANTED_SEEDS, STEPS);
      expect(why).toMatch(mutant.found);
    },
    60_000,
  );
});
