/**
 * The whole log over storage that loses, tears, reorders and rots. `SIM_SEEDS` sets how many histories run here
 * (default 1,000); `npm run sim` runs as many as wanted. The planted bugs show that the checks can fail.
 */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { importPlanted } from "../support/bundle-planted.ts";
import { kernelBytes } from "../support/kernels.ts";
import { EXPECTED } from "./counters.ts";
import { MUTANTS } from "./mutants.ts";
import { runMutant } from "./mutant-runner.ts";
import { makePlan } from "./plan.ts";
import { SCENARIOS, scenarioPlan } from "./scenarios.ts";
import type * as Entry from "./mutant-entry.ts";
import { OPS_DEFAULT, range, type SeedsResult } from "./seeds.ts";

const SEEDS = Number(process.env["SIM_SEEDS"] ?? 1000);
/** A planted bug that survives this many seeds fails the test. Most are caught within 50. */
const MUTANT_SEEDS_MAX = 4000;

/**
 * Bundled, as `npm run sim` is: there an import() in the product takes a known number of turns, so that runs repeat.
 */
const { loadKernel, runSeeds, shrink } = await importPlanted<typeof Entry>(
  "test/simulation/mutant-entry.ts",
  undefined,
);
const kernel = await loadKernel(await kernelBytes("release"));
const regressions = JSON.parse(readFileSync(new URL("regressions.json", import.meta.url), "utf8")) as {
  ops: number;
  seeds: number[];
};

function failuresOf({ failures }: SeedsResult): string[] {
  return failures.map(({ seed, message }) => `seed ${seed}: ${message} (npm run sim -- --seed ${seed} --seeds 1)`);
}

test("histories that once failed", async () => {
  const result = await runSeeds({ kernel, seeds: regressions.seeds, ops: regressions.ops });
  expect(failuresOf(result)).toEqual([]);
});

test(`${SEEDS} histories keep every promise, and every kind of fault fired`, { timeout: 600_000 }, async () => {
  const result = await runSeeds({
    kernel,
    seeds: range(1, SEEDS),
    ops: OPS_DEFAULT,
    failuresMax: 5,
    twice: (seed) => seed % 50 === 0,
  });
  expect(failuresOf(result)).toEqual([]);
  expect(result.seeds).toBe(SEEDS);
  if (SEEDS >= 1000) expect(EXPECTED.filter((name) => !result.counts[name])).toEqual([]);
});

test("the same seeds leave the same trace, other seeds another", async () => {
  const run = (from: number) => runSeeds({ kernel, seeds: range(from, 50), ops: OPS_DEFAULT });
  const [first, again, other] = [await run(100_000), await run(100_000), await run(100_050)];
  expect(again.hash).toBe(first.hash);
  expect(again.counts).toEqual(first.counts);
  expect(other.hash).not.toBe(first.hash);
});

test("longer histories", async () => {
  expect(failuresOf(await runSeeds({ kernel, seeds: range(500_000, 30), ops: 500 }))).toEqual([]);
});

test.each(SCENARIOS)("written by hand: %s", async (scenario) => {
  const plan = (seed: number) => scenarioPlan(scenario, seed);
  expect(failuresOf(await runSeeds({ kernel, seeds: range(1, 20), ops: 0, plan }))).toEqual([]);
});

test("a good history has nothing to shrink to", async () => {
  const { plan, result } = await shrink(makePlan(1, 10), kernel, "lost-acked");
  expect(result.failure).toBeUndefined();
  expect(plan.ops).toHaveLength(10);
});

test.each(MUTANTS.map((mutant) => [mutant.name, mutant] as const))("planted bug is caught: %s", async (_, mutant) => {
  const caught = await runMutant(mutant, MUTANT_SEEDS_MAX, OPS_DEFAULT);
  expect(caught.check, `survived ${caught.seeds} seeds`).toBeDefined();
});
