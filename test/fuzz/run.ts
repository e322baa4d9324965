/**
 * `node tools/run/run-ts.mjs test/fuzz/run.ts --target decoder --executions N --seed S --jobs N --json FILE`
 *
 * Runs N hostile inputs, beginning with seed S, through a target (or through all of them: `--target all`), on as many
 * threads as `--jobs` says (default 1). The first broken promise is printed with its input and ends the run with exit
 * code 1.
 */
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { choices, commandLine, integer, jsonFile, seedNumber } from "../../tools/run/command-line.mjs";
import { writeReport } from "../support/figures.mjs";
import { debugKernel, releaseKernel, referenceKernel } from "../support/kernels.ts";
import { readCorpus } from "./corpus.ts";
import { fuzz, type FuzzResult, TARGETS, type TargetName } from "./targets.ts";

interface Share {
  readonly target: TargetName;
  readonly seed: number;
  readonly executions: number;
}

async function work(share: Share, onProgress: (done: number) => void): Promise<FuzzResult> {
  const kernel = await releaseKernel();
  const others = [await debugKernel(), referenceKernel()];
  return fuzz({ ...share, kernel, others, corpus: readCorpus(), onProgress });
}

/** Runs one thread's share: this program again, in a worker thread. */
function inWorker(share: Share, onProgress: (done: number) => void): Promise<FuzzResult> {
  return new Promise((resolve, reject) => {
    const program = fileURLToPath(new URL("../../tools/run/run-ts.mjs", import.meta.url));
    const worker = new Worker(program, { argv: [fileURLToPath(import.meta.url)], workerData: share });
    worker.on("message", (message: number | FuzzResult) =>
      typeof message === "number" ? onProgress(message) : resolve(message),
    );
    worker.on("error", reject);
    worker.on("exit", (code) => reject(new Error(`a worker thread ended with exit code ${code}`)));
  });
}

function merged(results: readonly FuzzResult[]): FuzzResult {
  const sum = (pick: (result: FuzzResult) => Record<string, number>): Record<string, number> => {
    const all: Record<string, number> = {};
    for (const result of results)
      for (const [name, count] of Object.entries(pick(result))) all[name] = (all[name] ?? 0) + count;
    return all;
  };
  const executions = results.reduce((total, result) => total + result.executions, 0);
  return {
    target: results[0]!.target,
    executions,
    outcomes: sum(({ outcomes }) => outcomes),
    figures: sum(({ figures }) => figures),
  };
}

async function runTarget(
  target: TargetName,
  executions: number,
  seed: number,
  jobs: number,
): Promise<FuzzResult & { seconds: number; perSecond: number }> {
  const started = performance.now();
  let done = 0;
  let shown = started;
  const onProgress = (count: number): void => {
    done += count;
    if (performance.now() - shown < 10_000) return;
    shown = performance.now();
    process.stderr.write(
      `${target}: ${done} of ${executions}, ${Math.round(done / ((shown - started) / 1000))} a second\n`,
    );
  };
  const threads = Math.max(1, Math.min(jobs, Math.ceil(executions / 1000)));
  const size = Math.ceil(executions / threads);
  const shares = Array.from({ length: threads }, (_, i): Share => ({
    target,
    seed: seed + i,
    executions: Math.min(size, executions - i * size),
  }));
  const results = await Promise.all(
    shares.map((share) => (threads === 1 ? work(share, onProgress) : inWorker(share, onProgress))),
  );
  const seconds = (performance.now() - started) / 1000;
  return { ...merged(results), seconds, perSecond: Math.round(executions / seconds) };
}

async function main(): Promise<number> {
  const values = commandLine({
    script: "fuzz",
    about: "Runs hostile inputs through what reads bytes from outside.",
    options: {
      target: choices(Object.keys(TARGETS) as TargetName[], {
        default: ["decoder"],
        help: "all, or names with commas",
      }),
      executions: integer({ default: 1_000_000, help: "inputs for each target" }),
      seed: seedNumber(),
      jobs: integer({ default: 1, max: 64, help: "threads" }),
      json: jsonFile(),
    },
  });
  const results = [];
  let failure: unknown;
  for (const name of values.target) {
    try {
      results.push(await runTarget(name, values.executions, values.seed, values.jobs));
    } catch (thrown) {
      failure = thrown;
      console.log((thrown as Error).message);
    }
  }
  for (const { target, executions, perSecond, outcomes, figures } of results) {
    console.log(`${target}: ${executions} executions, ${perSecond} a second, seed ${values.seed}, no finding`);
    for (const [name, count] of Object.entries({ ...outcomes, ...figures }))
      console.log(`  ${name.padEnd(28)}${count}`);
  }
  writeReport(values.json, { command: process.argv.slice(2).join(" "), results, failed: failure !== undefined });
  return failure === undefined ? 0 : 1;
}

if (isMainThread) process.exitCode = await main();
else parentPort!.postMessage(await work(workerData as Share, (done) => parentPort!.postMessage(done)));
