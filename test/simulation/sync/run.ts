/**
 * `npm run sim -- --sync --seeds N --seed S --ops N --plan PLAN --jobs N --planted WORDS --json FILE`
 *
 * Runs N histories of devices and an edge from seed S on (world.ts; PLAN is one of kinds.ts). A failure is printed with
 * its seed and the fewest steps that still fail; the exit code is then 1, as it is when a kind of fault was too rare
 * (expected.ts): in 2,000 histories of 300 steps each must occur 100 times.
 * With `--planted` each bug of mutants.ts whose name holds one of the words ("all": every bug) is looked for in N
 * histories, and must be found by its check. With `--frames` each message of a session is struck in each way
 * (each-frame.ts), in N timings of it. With `--writes` each write of a device's volume is the first that is refused
 * (refused-writes.ts), in N timings.
 */
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { choice, commandLine, flag, integer, jsonFile, seedNumber, text } from "../../../tools/run/command-line.mjs";
import { writeReport } from "../../support/figures.mjs";
import { runFrames } from "./each-frame.ts";
import { floorOf, rareIn } from "./expected.ts";
import { SYNC_PLANS, type SyncPlan } from "./kinds.ts";
import { ALL_MUTANTS, searchPlanted } from "./planted.ts";
import { runRefusedWrites } from "./refused-writes.ts";
import { type FailedSeed, fewestSteps, runSync, type SyncRun, type SyncSeeds } from "./seeds.ts";

const FAILURES_SHOWN = 5;
const PROGRESS_SEEDS = 500;

type OnSeed = (failed: FailedSeed | undefined) => void;

async function planted(words: string, seeds: number, ops: number): Promise<number> {
  const asked = words === "all" ? [""] : words.split(",");
  let survived = 0;
  for (const mutant of ALL_MUTANTS.filter(({ name }) => asked.some((word) => name.includes(word)))) {
    const { why, seed } = await searchPlanted(mutant, seeds, ops);
    const isFound = why !== undefined && mutant.found.test(why);
    if (!isFound) survived++;
    const how = why === undefined ? "SURVIVED" : `${isFound ? "" : "by another check: "}${why.slice(0, 80)}`;
    console.log(`${mutant.name}: ${seed === undefined ? "" : `seed ${seed}, `}${how}`);
  }
  return survived === 0 ? 0 : 1;
}

/** Each write of a device's volume is the first that is refused, in so many timings of a history. */
async function everyWrite(from: number, seeds: number): Promise<number> {
  let [refused, failed] = [0, 0];
  for (let seed = from; seed < from + seeds; seed++) {
    const { writes, failures } = await runRefusedWrites(seed);
    refused += writes;
    failed += failures.length;
    for (const { write, why } of failures.slice(0, FAILURES_SHOWN)) console.log(`seed ${seed}, write ${write}: ${why}`);
  }
  console.log(`${seeds} timings of a history, refused at ${refused} writes; ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

/** Each seed is a timing of the session. */
async function everyFrame(from: number, seeds: number): Promise<number> {
  let [struck, failed] = [0, 0];
  for (let seed = from; seed < from + seeds; seed++) {
    const { histories, failures } = await runFrames(seed);
    struck += histories;
    failed += failures.length;
    for (const { fault, message, why } of failures.slice(0, FAILURES_SHOWN))
      console.log(`seed ${seed}, ${fault} at message ${message}: ${why}`);
  }
  console.log(`${seeds} timings of a session, struck ${struck} times; ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

function inWorker(share: SyncRun, onSeed: OnSeed): Promise<SyncSeeds> {
  return new Promise((resolve, reject) => {
    const worker = new Worker(fileURLToPath(new URL("../../../tools/run/run-ts.mjs", import.meta.url)), {
      argv: [fileURLToPath(import.meta.url)],
      workerData: share,
    });
    worker.on("message", ({ failed, all }: { failed?: FailedSeed; all?: SyncSeeds }) =>
      all ? resolve(all) : onSeed(failed),
    );
    worker.on("error", reject);
    worker.on("exit", (code) => reject(new Error(`a worker ended with ${code}`)));
  });
}

async function serve(): Promise<void> {
  const all = await runSync(workerData as SyncRun, (failed) => parentPort!.postMessage({ failed }));
  parentPort!.postMessage({ all });
}

function merged(parts: readonly SyncSeeds[]): SyncSeeds {
  const counts: Record<string, number> = {};
  for (const part of parts)
    for (const [name, times] of Object.entries(part.counts)) counts[name] = (counts[name] ?? 0) + times;
  return {
    seeds: parts.reduce((sum, { seeds }) => sum + seeds, 0),
    records: parts.reduce((sum, { records }) => sum + records, 0),
    failures: parts.flatMap(({ failures }) => failures),
    counts: Object.fromEntries(Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

/** Prints failures as they come, and from time to time how far the run is. */
function progress(run: Required<Omit<SyncRun, "failuresMax" | "having">>): {
  readonly onSeed: OnSeed;
  seconds(): number;
} {
  const from = Date.now();
  const seconds = (): number => (Date.now() - from) / 1000;
  let [done, shown] = [0, 0];
  const onSeed: OnSeed = (failed) => {
    if (++done % PROGRESS_SEEDS === 0)
      process.stderr.write(`${done} of ${run.seeds} histories, ${(done / seconds()).toFixed(1)} a second\n`);
    if (!failed || ++shown > FAILURES_SHOWN) return;
    console.log(`\nseed ${failed.seed} failed: ${failed.why}`);
    console.log(`again: npm run sim -- --sync --seed ${failed.seed} --seeds 1 --ops ${run.ops} --plan ${run.plan}`);
  };
  return { onSeed, seconds };
}

async function main(): Promise<number> {
  const values = commandLine({
    script: "sim -- --sync",
    about: "Runs seeded histories of devices that write offline, an edge, and a network that cuts.",
    options: {
      seeds: integer({ default: 500, help: "histories" }),
      seed: seedNumber(),
      ops: integer({ default: 100, help: "steps of a history" }),
      plan: choice([...SYNC_PLANS] as SyncPlan[], { default: "wide", help: "which histories" }),
      jobs: integer({ default: 1, max: 64, help: "threads" }),
      planted: text({ help: "words of planted bugs, with commas between them, or all" }),
      frames: flag({ help: "each message of a session is struck in each way, in so many timings of it" }),
      writes: flag({ help: "each write of a device's volume is the first one refused, in so many timings" }),
      json: jsonFile(),
    },
  });
  const { seeds, seed, ops, plan, json } = values;
  if (values.planted !== undefined) return planted(values.planted, seeds, ops);
  if (values.frames) return everyFrame(seed, seeds);
  if (values.writes) return everyWrite(seed, seeds);
  const run = { seed, seeds, ops, plan };
  const { onSeed, seconds } = progress(run);
  const jobs = Math.min(values.jobs, seeds);
  const size = Math.ceil(seeds / jobs);
  const shares = Array.from({ length: jobs }, (_, i) => ({ ...run, seed: seed + i * size })).map((share) => ({
    ...share,
    seeds: Math.min(size, seed + seeds - share.seed),
  }));
  const all = merged(
    jobs === 1 ? [await runSync(run, onSeed)] : await Promise.all(shares.map((share) => inWorker(share, onSeed))),
  );
  const { counts, records, failures } = all;
  for (const { seed: failed } of failures.slice(0, FAILURES_SHOWN)) {
    const fewest = await fewestSteps({ ...run, seed: failed });
    console.log(`\nseed ${failed}: fails with --ops ${fewest.ops}: ${fewest.why}`);
  }
  for (const [name, times] of Object.entries(counts)) console.log(`${String(times).padStart(10)}  ${name}`);
  const floor = floorOf(seeds, ops);
  const rare = rareIn(counts, plan, floor);
  if (rare.length > 0) console.log(`too rare: ${rare.join(", ")}`);
  writeReport(json, { ...run, seconds: seconds(), records, failed: failures.length, counts, floor, rare, failures });
  console.log(
    `${all.seeds} seeds of ${ops} steps in ${seconds().toFixed(1)} s; ${records} records; ${failures.length} failed`,
  );
  return failures.length === 0 && rare.length === 0 ? 0 : 1;
}

if (isMainThread) process.exitCode = await main();
else await serve();
