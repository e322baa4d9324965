/**
 * `npm run sim -- --seeds N --seed S --ops N --json FILE --jobs N --twice --trace`
 *
 * Runs N histories from seed S on, over as many threads as asked for (default: 2). Every 20th seed runs twice and must
 * leave the same trace (`--twice`: every one). A failure is printed with its seed and the shortest history that still
 * fails; the exit code is then 1, as it is when a kind of fault never fired. `--trace` prints what one seed did.
 *
 * Switches add faults beyond the promises, to see their effect: `--names` (a power cut loses slots made in the same
 * life), `--forgetful` (a failed flush forgets its writes), `--old-pages` (stale pages from before a crash).
 */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { commandLine, flag, integer, jsonFile, seedNumber } from "../../tools/run/command-line.mjs";
import { writeReport } from "../support/figures.mjs";
import { releaseKernel } from "../support/kernels.ts";
import { Counters, EXPECTED } from "./counters.ts";
import { type Beyond, makePlan } from "./plan.ts";
import { type FailedSeed, OPS_DEFAULT, range, runSeeds, type SeedsResult } from "./seeds.ts";
import { shrink } from "./shrink.ts";
import { Simulation } from "./simulation.ts";
import { installSyncGzip } from "./sync-gzip.ts";

interface Share {
  readonly seed: number;
  readonly seeds: number;
  readonly ops: number;
  readonly twice: number;
  readonly beyond: Beyond;
}

/** From this many seeds on, every kind of fault must have occurred. */
const SEEDS_FOR_EXPECTED = 500;
const FAILURES_SHOWN = 3;

async function work({ seed, seeds, ops, twice, beyond }: Share, onSeed: () => void): Promise<SeedsResult> {
  const kernel = await releaseKernel();
  return runSeeds({
    kernel,
    seeds: range(seed, seeds),
    ops,
    twice: (each) => each % twice === 0,
    failuresMax: 20,
    onSeed,
    plan: (each, length) => makePlan(each, length, beyond),
  });
}

/** Runs one thread's share of the seeds: this program again, in a worker. */
function inWorker(share: Share, onSeed: (done: number) => void): Promise<SeedsResult> {
  return new Promise((resolve, reject) => {
    const program = fileURLToPath(new URL("../../tools/run/run-ts.mjs", import.meta.url));
    const worker = new Worker(program, { argv: [fileURLToPath(import.meta.url)], workerData: share });
    worker.on("message", (message: number | SeedsResult) =>
      typeof message === "number" ? onSeed(message) : resolve(message),
    );
    worker.on("error", reject);
    worker.on("exit", (code) => reject(new Error(`a worker ended with ${code}`)));
  });
}

async function serve(): Promise<void> {
  let done = 0;
  const result = await work(workerData as Share, () => {
    if (++done % 25 === 0) parentPort!.postMessage(25);
  });
  parentPort!.postMessage(result);
}

function progress(total: number): { readonly add: (count: number) => void; readonly end: () => number } {
  const started = performance.now();
  let done = 0;
  let shown = started;
  const seconds = (): number => (performance.now() - started) / 1000;
  const add = (count: number): void => {
    done += count;
    const { isTTY } = process.stderr;
    if (performance.now() - shown < (isTTY ? 1000 : 15_000)) return;
    shown = performance.now();
    const line = `${done} of ${total} seeds, ${Math.round(done / seconds())} a second`;
    process.stderr.write(isTTY ? `\r${line} ` : `${line}\n`);
  };
  const end = (): number => {
    if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
    return seconds();
  };
  return { add, end };
}

async function explain(failed: FailedSeed, ops: number, beyond: Beyond): Promise<void> {
  console.log(`\nseed ${failed.seed} failed: ${failed.message}`);
  if (failed.check === "not-repeatable" || failed.check === "unhandled-rejection") {
    console.log(failed.stack);
    return;
  }
  const kernel = await releaseKernel();
  installSyncGzip();
  const { plan, result, runs } = await shrink(makePlan(failed.seed, ops, beyond), kernel, failed.check);
  console.log(
    `shortest history found (${plan.ops.length} of ${ops} operations, ${runs} runs): ` +
      `${result.failure?.message ?? failed.message}`,
  );
  console.log(`  world ${JSON.stringify(plan.world)}`);
  for (const { id, ...op } of plan.ops) console.log(`  ${String(id).padStart(4)} ${JSON.stringify(op)}`);
  console.log((result.failure?.stack ?? failed.stack).split("\n").slice(1, 12).join("\n"));
  console.log(`again: npm run sim -- --seed ${failed.seed} --seeds 1 --ops ${ops} --trace`);
}

async function showTrace(seed: number, ops: number, beyond: Beyond): Promise<number> {
  installSyncGzip();
  const plan = makePlan(seed, ops, beyond);
  const result = await new Simulation(plan, await releaseKernel(), true).run();
  console.log(`seed ${seed}: ${JSON.stringify(plan.world)}`);
  for (const line of result.lines ?? []) console.log(`  ${line}`);
  console.log(result.failure ? `failed: ${result.failure.stack}` : `good; trace ${result.hash}`);
  return result.failure ? 1 : 0;
}

function parse() {
  const values = commandLine({
    script: "sim",
    about:
      "Runs seeded histories of the log over a storage that loses, tears and rots. " +
      "--tabs: of many tabs instead; --sync: of devices and an edge; --edge: of the edge; --api: of the public API.",
    options: {
      seeds: integer({ default: 2000, help: "histories" }),
      seed: seedNumber(),
      ops: integer({ default: OPS_DEFAULT, help: "operations of a history" }),
      jobs: integer({ default: Math.min(2, availableParallelism()), max: 64, help: "threads" }),
      json: jsonFile(),
      twice: flag({ help: "run every history twice and compare" }),
      trace: flag({ help: "print what the history of --seed did" }),
      names: flag({ help: "beyond the promises: a power cut loses slots made in the same life" }),
      forgetful: flag({ help: "beyond the promises: a failed flush forgets what it was to write" }),
      "old-pages": flag({ help: "beyond the promises: stale pages from before a crash" }),
    },
  });
  const beyond: Beyond = {
    ...(values.names && { losesNames: true }),
    ...(values.forgetful && { flushForgets: true }),
    ...(values["old-pages"] && { staleAcrossLives: true }),
  };
  return { ...values, beyond };
}

async function main(): Promise<number> {
  const { seeds, seed, ops, jobs, json, twice, trace, beyond } = parse();
  if (trace) return showTrace(seed, ops, beyond);
  const bar = progress(seeds);
  const every = twice ? 1 : 20;
  const threads = Math.max(1, Math.min(jobs, Math.ceil(seeds / 50)));
  const size = Math.ceil(seeds / threads);
  const shares: Share[] = [];
  for (let from = 0; from < seeds; from += size)
    shares.push({ seed: seed + from, seeds: Math.min(size, seeds - from), ops, twice: every, beyond });
  const results = await Promise.all(
    shares.map((share) => (threads === 1 ? work(share, () => bar.add(1)) : inWorker(share, (done) => bar.add(done)))),
  );
  const elapsed = bar.end();
  const counters = new Counters();
  for (const { counts } of results) counters.merge(counts);
  const failures = results.flatMap((result) => result.failures);
  for (const failed of failures.slice(0, FAILURES_SHOWN)) await explain(failed, ops, beyond);
  if (failures.length > FAILURES_SHOWN)
    console.log(
      `\nand seeds ${failures
        .slice(FAILURES_SHOWN)
        .map((each) => `${each.seed} (${each.check})`)
        .join(", ")}`,
    );
  const done = results.reduce((sum, result) => sum + result.seeds, 0);
  const repeated = results.reduce((sum, result) => sum + result.twice, 0);
  const missing = done >= SEEDS_FOR_EXPECTED ? EXPECTED.filter((name) => !counters.counts[name]) : [];
  const counts = Object.fromEntries(Object.entries(counters.counts).sort(([a], [b]) => (a < b ? -1 : 1)));
  const summary = {
    seeds: done,
    seed,
    ops,
    failures: failures.length,
    repeated,
    seconds: elapsed,
    seedsPerSecond: done / elapsed,
    missing,
    hash: results.map((result) => result.hash).join("-"),
    counts,
  };
  writeReport(json, { ...summary, failed: failures.map(({ stack: _, ...rest }) => rest) });
  console.log("");
  for (const [name, times] of Object.entries(counts)) console.log(`${String(times).padStart(10)}  ${name}`);
  if (missing.length > 0) console.log(`never happened: ${missing.join(", ")}`);
  console.log(
    `${done} seeds of ${ops} operations in ${elapsed.toFixed(1)} s (${Math.round(done / elapsed)} a second); ` +
      `${repeated} run twice; ${failures.length} failed`,
  );
  return failures.length === 0 && missing.length === 0 && done > 0 ? 0 : 1;
}

if (isMainThread) process.exitCode = await main();
else await serve();
