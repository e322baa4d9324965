/**
 * Views and changes over a synced topic's real storage in random histories (view-world.ts), and bugs planted in them:
 * each must be found by the promise that it breaks.
 */
import { describe, expect, it } from "vitest";
import { importPlanted } from "../support/bundle-planted.ts";
import { releaseKernel } from "../support/kernels.ts";
import { VIEW_MUTANTS } from "./view-mutants.ts";
import type * as Entry from "./view-world.ts";
import { toldAnew, viewHistory } from "./view-world.ts";

const kernel = await releaseKernel();
const FIRST_SEED = 7_000;
const STEPS = 60;
/** Of the histories. A planted bug that survives all fails the test. */
const SEEDS = 40;

it("an opening that has forgotten what was settled is told anew, before what stayed", toldAnew);

describe("views over random histories", () => {
  const seeds = Array.from({ length: SEEDS }, (_, i) => FIRST_SEED + i);
  it.each(seeds)("seed %i: each state that is shown is a fold of the log, and all end as equals", async (seed) => {
    await viewHistory(kernel, seed, STEPS);
  });

  it.each(VIEW_MUTANTS.map((mutant) => [mutant.name, mutant] as const))("found: %s", async (_, mutant) => {
    const planted = await importPlanted<typeof Entry>("test/unit/view-world.ts", mutant);
    const found = async (): Promise<string> => {
      try {
        planted.toldAnew();
        for (let seed = FIRST_SEED; seed < FIRST_SEED + SEEDS; seed++) await planted.viewHistory(kernel, seed, STEPS);
      } catch (thrown) {
        return (thrown as Error).message;
      }
      return "it survives";
    };
    expect(await found()).toMatch(mutant.found);
  });
});
