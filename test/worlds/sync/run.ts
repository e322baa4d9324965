/**
 * `npm run worlds -- --sync --states N --only NAME,… --jobs N --json FILE`
 *
 * Walks the small worlds of sync (configurations.ts), each in a thread: with the rules of docs/sync.md nothing may be
 * found. Then plants each wrong rule (wrong-rules.ts), which must be found. The exit code is 1 when either is not so.
 */
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";
import { choices, commandLine, integer, jsonFile } from "../../../tools/run/command-line.mjs";
import { writeReport } from "../../support/figures.mjs";
import { configOf, type Given, LARGE, SMALL } from "./configurations.ts";
import { RULES } from "./rules.ts";
import { search, type Searched } from "./search.ts";
import { isFound, WRONG_RULES } from "./wrong-rules.ts";

interface Task {
  readonly name: string;
  /** In the list of wrong rules; -1: the right ones. */
  readonly wrong: number;
  readonly given: Given;
  readonly statesMax: number;
}
interface Done extends Searched {
  readonly seconds: number;
}

const TASKS = [...SMALL, ...LARGE];

function walk({ wrong, given, statesMax }: Task, onStates: (states: number) => void): Done {
  const started = performance.now();
  const planted = WRONG_RULES[wrong];
  const searched = search({
    config: configOf(given),
    rules: { ...RULES, ...planted?.rules },
    after: planted?.after,
    statesMax,
    onProgress: onStates,
  });
  return { ...searched, seconds: (performance.now() - started) / 1000 };
}

function serve(): void {
  let told = 0;
  const done = walk(workerData as Task, (states) => {
    if (states - told < 10_000) return;
    parentPort!.postMessage(states - told);
    told = states;
  });
  parentPort!.postMessage(done);
}

function inWorker(task: Task, onStates: (more: number) => void): Promise<Done> {
  return new Promise((resolve, reject) => {
    const program = fileURLToPath(new URL("../../../tools/run/run-ts.mjs", import.meta.url));
    const resourceLimits = { maxOldGenerationSizeMb: 4096 };
    const options = { argv: [fileURLToPath(import.meta.url)], workerData: task, resourceLimits };
    const worker = new Worker(program, options);
    worker.on("message", (message: number | Done) =>
      typeof message === "number" ? onStates(message) : resolve(message),
    );
    worker.on("error", reject);
    worker.on("exit", (code) => reject(new Error(`a worker ended with ${code}`)));
  });
}

const read = () =>
  commandLine({
    script: "worlds",
    command: "npm run worlds -- --sync",
    about: "Walks every short history of sync's rules, and plants wrong rules that must be found.",
    options: {
      states: integer({ default: 2_000_000, max: 16_000_000, help: "states at which a world is cut off" }),
      only: choices(
        TASKS.map(({ name }) => name),
        { help: "these worlds alone, and no wrong rules" },
      ),
      jobs: integer({ default: availableParallelism(), max: 64, help: "threads" }),
      json: jsonFile(),
    },
  });

function show({ name, wrong }: Task, { states, depth, complete, violation, seconds }: Done): boolean {
  const isGood = wrong < 0 ? !violation : isFound(WRONG_RULES[wrong]!, violation);
  const end = violation
    ? `found at step ${violation.trace.length}: ${violation.what}`
    : complete
      ? "complete"
      : "cut off";
  const count = states.toLocaleString("en-US").padStart(12);
  const figures = `${count}  ${String(depth).padStart(2)}  ${seconds.toFixed(1)} s`;
  if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
  console.log(`${isGood ? "good" : "BAD "} ${figures.padEnd(26)}  ${name}: ${end}`);
  if (!isGood) for (const [i, step] of (violation?.trace ?? []).entries()) console.log(`  ${i + 1}. ${step}`);
  return isGood;
}

async function main(): Promise<void> {
  const { states: statesMax, only, jobs, json } = read();
  const worlds = TASKS.filter(({ name }) => !only || only.includes(name));
  const wrong = only ? [] : WRONG_RULES;
  const tasks: Task[] = [
    ...wrong.map(({ name, given }, at) => ({ name, given, wrong: at, statesMax })),
    ...worlds.map(({ name, given }) => ({ name, given, wrong: -1, statesMax })),
  ];
  const started = performance.now();
  let [states, shown, bad, next] = [0, 0, 0, 0];
  const onStates = (more: number): void => {
    states += more;
    const seconds = (performance.now() - started) / 1000;
    if (seconds - shown < (process.stderr.isTTY ? 1 : 15)) return;
    shown = seconds;
    const figures = `${states.toLocaleString("en-US")} states, ${Math.round(seconds)} s`;
    const line = `${next} of ${tasks.length} worlds begun, ${figures}`;
    process.stderr.write(process.stderr.isTTY ? `\r${line} ` : `${line}\n`);
  };
  const report: (Done & { name: string; isGood: boolean })[] = [];
  const thread = async (): Promise<void> => {
    while (next < tasks.length) {
      const task = tasks[next++]!;
      const done = await inWorker(task, onStates);
      const isGood = show(task, done);
      if (!isGood) bad++;
      report.push({ name: task.name, isGood, ...done });
    }
  };
  await Promise.all(Array.from({ length: jobs }, thread));
  const seconds = (performance.now() - started) / 1000;
  console.log(`${worlds.length} worlds, ${wrong.length} wrong rules, ${seconds.toFixed(1)} s; ${bad} bad`);
  writeReport(json, { seconds, statesMax, worlds: report });
  process.exitCode = bad === 0 ? 0 : 1;
}

if (isMainThread) await main();
else serve();
