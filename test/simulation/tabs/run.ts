/**
 * `npm run sim -- --tabs --seeds N --seed S --kind KIND --json FILE --jobs N --twice --trace --bugs`
 *
 * Runs N histories of many tabs from seed S on, over files (opfs) if not told otherwise: KIND is a key of PLANS
 * (plan.ts). Every 20th seed runs twice and must leave the same trace (`--twice`: every one). A failure is printed with
 * its seed and the shortest history that still fails; the exit code is then 1, as it is when a kind of fault never
 * fired. `--trace` prints what one seed did, `--bugs` says which seed catches each planted bug.
 */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { choice, commandLine, flag, integer, jsonFile, seedNumber } from "../../../tools/run/command-line.mjs";
import { writeReport } from "../../support/figures.mjs";
import { Counters } from "../counters.ts";
import { range } from "../seeds.ts";
import { loadTabs, runTabsMutant } from "./entry.ts";
import { History } from "./history.ts";
import { TABS_MUTANTS } from "./mutants.ts";
import { PLANS, type PlanKind } from "./plan.ts";
import { runTabsSeeds, shrinkTabs, TABS_EXPECTED, type TabsFailure, type TabsSeeds } from "./seeds.ts";

/** From this many seeds on, every kind of fault must have occurred. */
const SEEDS_FOR_EXPECTED = 500;
const FAILURES_SHOWN = 3;
const BUG_SEEDS_MAX = 400;

interface Share {
  readonly kind: PlanKind;
  readonly seed: number;
  readonly seeds: number;
  readonly twice: number;
}

const work = async ({ kind, seed, seeds, twice }: Share, onSeed: () => void): Promise<TabsSeeds> =>
  runTabsSeeds({
    ...(await loadTabs()),
    seeds: range(seed, seeds),
    twice: (each) => each % twice === 0,
    failuresMax: 20,
    onSeed,
    plan: PLANS[kind],
  });

function inWorker(share: Share, onSeed: () => void): Promise<TabsSeeds> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(new URL("../../../tools/run/run-ts.mjs", import.meta.url)), {
      argv: [fileURLToPath(import.meta.url)],
      workerData: share,
    });
    worker.on("message", (message: 0 | TabsSeeds) => (message === 0 ? onSeed() : resolve(message)));
    worker.on("error", reject);
    worker.on("exit", (code) => reject(new Error(`a worker ended with ${code}`)));
  });
}

function progress(total: number): { readonly add: () => void; readonly seconds: () => number } {
  const started = performance.now();
  let done = 0;
  const seconds = (): number => (performance.now() - started) / 1000;
  const add = (): void => {
    if (++done % 100 === 0)
      process.stderr.write(`${done} of ${total} histories, ${Math.round(done / seconds())} a second\n`);
  };
  return { add, seconds };
}

async function explain(kind: PlanKind, { seed, check, message }: TabsFailure): Promise<void> {
  console.log(`\nseed ${seed} failed: ${check}: ${message}`);
  const { product, kernel } = await loadTabs();
  const plan =
    check === "not-repeatable" || check === "unhandled-rejection"
      ? PLANS[kind](seed)
      : await shrinkTabs(PLANS[kind](seed), check, product, kernel);
  const { ops, ...world } = plan;
  console.log(`shortest history found: ${JSON.stringify(world)}`);
  for (const op of ops) console.log(`  ${JSON.stringify(op)}`);
  console.log(`again: npm run sim -- --tabs --kind ${kind} --seed ${seed} --seeds 1 --trace`);
}

async function trace(kind: PlanKind, seed: number): Promise<number> {
  const { product, kernel } = await loadTabs();
  const plan = PLANS[kind](seed);
  const { lines, failure, hash } = await new History(plan, product, kernel, true).run();
  for (const op of plan.ops) console.log(JSON.stringify(op));
  for (const line of lines ?? []) console.log(`  ${line}`);
  console.log(failure ? `failed: ${failure.check}: ${failure.message}` : `good; trace ${hash}`);
  return failure ? 1 : 0;
}

async function bugs(): Promise<number> {
  let survived = 0;
  for (const mutant of TABS_MUTANTS) {
    const { failures, seeds } = await runTabsMutant(mutant, BUG_SEEDS_MAX);
    const [caught] = failures;
    if (!caught) survived++;
    console.log(
      caught
        ? `${`seed ${caught.seed}`.padEnd(12)}${mutant.name}: ${caught.check}`
        : `SURVIVED    ${mutant.name} ${seeds} seeds`,
    );
  }
  console.log(`${TABS_MUTANTS.length - survived} planted bugs caught, ${survived} survived`);
  return survived === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const values = commandLine({
    script: "sim",
    command: "npm run sim -- --tabs",
    about: "Runs seeded histories of many tabs of one browser.",
    options: {
      seeds: integer({ default: 500, help: "histories" }),
      seed: seedNumber(),
      jobs: integer({ default: Math.min(2, availableParallelism()), max: 64, help: "threads" }),
      kind: choice(Object.keys(PLANS) as PlanKind[], { default: "opfs", help: "which histories" }),
      json: jsonFile(),
      twice: flag({ help: "run every history twice and compare" }),
      trace: flag({ help: "print what the history of --seed did" }),
      bugs: flag({ help: "say which seed catches each planted bug" }),
    },
  });
  const { seeds, seed, kind } = values;
  if (values.trace) return trace(kind, seed);
  if (values.bugs) return bugs();
  const bar = progress(seeds);
  const jobs = Math.max(1, Math.min(values.jobs, Math.ceil(seeds / 50)));
  const size = Math.ceil(seeds / jobs);
  const shares: Share[] = [];
  for (let from = 0; from < seeds; from += size)
    shares.push({ kind, seed: seed + from, seeds: Math.min(size, seeds - from), twice: values.twice ? 1 : 20 });
  const results = await Promise.all(
    shares.map((share) => (jobs === 1 ? work(share, bar.add) : inWorker(share, bar.add))),
  );
  const counters = new Counters();
  for (const { counts } of results) counters.merge(counts);
  const failures = results.flatMap((result) => result.failures);
  for (const failed of failures.slice(0, FAILURES_SHOWN)) await explain(kind, failed);
  if (failures.length > FAILURES_SHOWN)
    console.log(
      `\nand seeds ${failures
        .slice(FAILURES_SHOWN)
        .map((each) => `${each.seed} (${each.check})`)
        .join(", ")}`,
    );
  const done = results.reduce((sum, result) => sum + result.seeds, 0);
  const repeated = results.reduce((sum, result) => sum + result.twice, 0);
  const missing =
    done >= SEEDS_FOR_EXPECTED
      ? (kind === "opfs" || kind === "indexeddb" ? TABS_EXPECTED[kind] : []).filter((name) => !counters.counts[name])
      : [];
  const counts = Object.fromEntries(Object.entries(counters.counts).sort(([a], [b]) => (a < b ? -1 : 1)));
  const summary = {
    kind,
    seeds: done,
    seed,
    failures: failures.length,
    repeated,
    seconds: bar.seconds(),
    missing,
    hash: results.map(({ hash }) => hash).join("-"),
    counts,
    failed: failures,
  };
  writeReport(values.json, summary);
  console.log("");
  for (const [name, times] of Object.entries(counts)) console.log(`${String(times).padStart(10)}  ${name}`);
  if (missing.length > 0) console.log(`never happened: ${missing.join(", ")}`);
  console.log(
    `${done} histories of many tabs in ${bar.seconds().toFixed(1)} s; ${repeated} run twice; ${failures.length} failed`,
  );
  return failures.length === 0 && missing.length === 0 && done > 0 ? 0 : 1;
}

async function serve(): Promise<void> {
  parentPort!.postMessage(await work(workerData as Share, () => parentPort!.postMessage(0)));
}

if (isMainThread) process.exitCode = await main();
else await serve();
