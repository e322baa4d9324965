/**
 * Many tabs of one simulated browser, with everything that can go wrong between them. `TABS_SEEDS` sets how many
 * histories run here; `npm run sim -- --tabs` runs as many as wanted. The planted bugs show that the checks can fail.
 */
import { expect, test } from "vitest";
import { range } from "../seeds.ts";
import { loadTabs, runTabsMutant } from "./entry.ts";
import { judge } from "./judge.ts";
import { TABS_MUTANTS } from "./mutants.ts";
import { runTabsSeeds, shrinkTabs, TABS_EXPECTED } from "./seeds.ts";
import { makeTabsPlan, PLANS } from "./plan.ts";

const SEEDS = Number(process.env["TABS_SEEDS"] ?? 250);
/** A planted bug that survives this many seeds, from its first one on, fails the test. */
const MUTANT_SEEDS_MAX = 400;
/** Histories that are tried to make one shorter. */
const SHRINK_RUNS = 20;

const tabs = await loadTabs();

test.each(["opfs", "indexeddb"] as const)(
  `${SEEDS} histories of many tabs over %s keep every promise, and every kind of fault fired`,
  { timeout: 600_000 },
  async (kind) => {
    const { seeds, failures, counts } = await runTabsSeeds({
      ...tabs,
      plan: PLANS[kind],
      seeds: range(1, SEEDS),
      twice: (seed) => seed % 50 === 0,
      failuresMax: 5,
    });
    expect(
      failures.map(
        ({ seed, check, message }) =>
          `seed ${seed}: ${check}: ${message} (npm run sim -- --tabs --kind ${kind} --seed ${seed} --seeds 1)`,
      ),
    ).toEqual([]);
    expect(seeds).toBe(SEEDS);
    if (SEEDS >= 250) expect(TABS_EXPECTED[kind].filter((name) => !counts[name])).toEqual([]);
  },
);

test.each([
  ["lease", "leaders that wake when their lease has ended"],
  ["held", "leaders that hang while they write to a database"],
  ["opening", "leaders that hang while they open a database"],
  ["next", "leaders that hang while they open files"],
  ["woken", "leaders that wake while they are deposed, and do not know"],
  ["sleep", "followers that sleep while they are waited for"],
  ["leaving", "tabs that let go before they are gone"],
  ["late", "tabs that hear late of a leader's end"],
] as const)("%s: %s", async (kind, _) => {
  const { failures } = await runTabsSeeds({ ...tabs, seeds: range(1, 60), plan: PLANS[kind] });
  expect(failures).toEqual([]);
});

test("synced: a topic that the leader keeps in sync with an edge", async () => {
  const { failures, counts } = await runTabsSeeds({
    ...tabs,
    seeds: range(1, 50),
    plan: PLANS.synced,
    twice: (seed) => seed <= 10,
  });
  expect(failures).toEqual([]);
  const strikes = ["cut-sockets", "edge-reset", "edge-away", "via.worker", "via.port", "stopped.write"];
  expect(strikes.filter((name) => !counts[name])).toEqual([]);
});

test("a tab that was alone when its worker ended, and hears of another one before it has looked, goes on", async () => {
  const { failures } = await runTabsSeeds({ ...tabs, seeds: [61_866], plan: PLANS.opfs });
  expect(failures).toEqual([]);
});

test("the same seeds leave the same trace, other seeds another", async () => {
  const run = (from: number) => runTabsSeeds({ ...tabs, seeds: range(from, 10) });
  const [first, again, other] = [await run(100_000), await run(100_000), await run(100_010)];
  expect(again.hash).toBe(first.hash);
  expect(again.counts).toEqual(first.counts);
  expect(other.hash).not.toBe(first.hash);
});

test("the judge names each way in which a log can be wrong", () => {
  const sent = ["a", "b", "c"].map((value, order) => ({ value, tab: 0, order, offset: order as number | undefined }));
  const log = sent.map(({ value }, offset) => ({ value, offset }));
  const check = (change: object): string | undefined =>
    judge({ sent, seen: [{ tab: 0, seen: log }], logs: [log], ...change })?.check;
  expect(check({})).toBeUndefined();
  expect(check({ logs: [log, log.slice(1)] })).toBe("inconsistent");
  expect(check({ logs: [[...log, { value: "c", offset: 3 }]] })).toBe("doubled");
  expect(check({ logs: [[...log, { value: "d", offset: 3 }]] })).toBe("phantom");
  expect(check({ logs: [log.slice(1)] })).toBe("offset");
  expect(check({ logs: [[1, 0, 2].map((at, offset) => ({ value: sent[at]!.value, offset }))] })).toBe("order");
  expect(check({ logs: [log.slice(0, 2)] })).toBe("lost");
  expect(check({ seen: [{ tab: 0, seen: log.slice(1) }] })).toBe("skip");
  expect(check({ seen: [{ tab: 0, seen: [{ value: "b", offset: 0 }] }] })).toBe("unseen");
});

test("failing histories are made shorter: several together to less than half", async () => {
  // It fails early, and a retry is all that it needs.
  const mutant = TABS_MUTANTS.find(({ name }) => name === "un-acked batches are given up")!;
  const planted = await loadTabs(mutant);
  // One alone says little: in some history nearly every step is needed.
  const seeds = range(mutant.from ?? 1, MUTANT_SEEDS_MAX);
  const { failures } = await runTabsSeeds({ ...planted, seeds, failuresMax: 3, plan: PLANS.opfs });
  expect(failures.length).toBe(3);
  let [before, after] = [0, 0];
  for (const { seed, check } of failures) {
    const { ops } = await shrinkTabs(makeTabsPlan(seed), check, planted.product, planted.kernel, SHRINK_RUNS);
    before += makeTabsPlan(seed).ops.length;
    after += ops.length;
  }
  expect(after).toBeLessThan(before / 2);
});

test.each(TABS_MUTANTS.map((mutant) => [mutant.name, mutant] as const))(
  "planted bug is caught: %s",
  async (_, mutant) => {
    const { failures, seeds } = await runTabsMutant(mutant, MUTANT_SEEDS_MAX);
    expect(failures[0]?.check, `survived ${seeds} seeds`).toBeDefined();
  },
);
