/**
 * `node tools/run/run-ts.mjs test/power/run.ts --images N --seed S --json FILE`
 *
 * Records histories in real Chromium, one for each seed, two of three over OPFS and the third over IndexedDB, and
 * checks N crash images of them (default 10,000); two thirds of the images are systematic. `--bugs` first shows that
 * each planted bug is found. When an image breaks a promise, its history is kept in .cache/power, and the command that
 * makes the image again is printed (`--trace FILE --plan JSON`). The exit code is 1 when a promise was broken, when a
 * kind of fault never happened, and when a planted bug was not found.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { EncodingKernel } from "../../src/kernel/types.ts";
import { Counters } from "../simulation/counters.ts";
import { commandLine, flag, integer, jsonFile, seedNumber, text, UsageError } from "../../tools/run/command-line.mjs";
import { writeReport } from "../support/figures.mjs";
import { releaseKernel } from "../support/kernels.ts";
import type { PlantedBug } from "../support/planted-bug.ts";
import { POWER_BUGS } from "./bugs.ts";
import { checkImage } from "./check.ts";
import { imageMaker, type Plan } from "./images.ts";
import { Promises } from "./promises.ts";
import { recordTrace } from "./record.ts";
import { EXPECTED_FAULTS, replay } from "./replay.ts";
import { cutAgain } from "./second-cut.ts";
import { decodeTrace, encodeTrace, type Trace } from "./trace.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** So many that their systematic two thirds cut at every flush point of a history. */
const IMAGES_PER_TRACE = 2500;
const SLOT_BYTES = 64 * 1024;
const OPS = 300;

let kernel: EncodingKernel;

const engineOf = (seed: number): "opfs" | "indexeddb" => (seed % 3 === 0 ? "indexeddb" : "opfs");

const record = (engine: "opfs" | "indexeddb", seed: number, bug?: PlantedBug): Promise<Trace> =>
  recordTrace({
    engine,
    seed,
    slotBytes: SLOT_BYTES,
    ops: OPS,
    endings: ["killed", "closed", "killed"],
    ...(bug && { bug }),
  });

/** Saves a history, so that `--trace` can make an image of it again. Returns the file. */
async function keep(trace: Trace): Promise<string> {
  const directory = path.join(root, ".cache", "power");
  await mkdir(directory, { recursive: true });
  const file = path.join(directory, `${trace.engine}-${trace.seed}.trace`);
  await writeFile(file, encodeTrace(trace));
  return file;
}

/** After how many images each planted bug was found, or undefined if it was not found. */
async function showBugs(seed: number): Promise<Record<string, number | undefined>> {
  const found: Record<string, number | undefined> = {};
  for (const { engine, ...bug } of POWER_BUGS) {
    const trace = await record(engine, seed, bug);
    const { images, failures } = await replay(trace, { kernel, images: 1000, seed, failuresMax: 1 });
    found[bug.name] = failures.length > 0 ? images : undefined;
    console.log(
      `planted bug, ${bug.name}: ` +
        `${failures[0] ? `image ${images}: ${failures[0].message}` : `NOT FOUND in ${images} images`}`,
    );
  }
  return found;
}

/** Makes one image again: prints the events before the cut, what is left, and what the check of the image says. */
async function again(file: string, json: string): Promise<number> {
  const trace = decodeTrace<Trace>(await readFile(file));
  const plan = JSON.parse(json) as Plan;
  const counters = new Counters();
  const cut = imageMaker(trace, counters)(plan);
  const image = plan.secondCut > 0 ? await cutAgain(kernel, cut, trace.slotBytes, plan, counters) : cut;
  const from = Math.max(0, plan.point - 12);
  for (const [at, event] of trace.events.slice(from, plan.point).entries()) {
    console.log(
      String(from + at).padStart(6),
      JSON.stringify(event, (_, value: unknown) => (value instanceof Uint8Array ? `${value.length} bytes` : value)),
    );
  }
  console.log(
    `slots ${image.slots.map((bytes) => (bytes ? "+" : "-")).join("")}; faults ${JSON.stringify(counters.counts)}`,
  );
  console.log(await checkImage(kernel, image, trace.slotBytes, new Promises(trace).at(plan.point, "power")));
  return 0;
}

function table(title: string, counts: Readonly<Record<string, number>>): void {
  console.log(`\n${title}`);
  for (const [name, times] of Object.entries(counts).sort(([a], [b]) => (a < b ? -1 : 1)))
    console.log(`${String(times).padStart(10)}  ${name}`);
}

/** What all histories of a run showed. */
class Tally {
  readonly events = new Counters();
  readonly faults = new Counters();
  readonly outcomes = new Counters();
  readonly byEngine = new Counters();
  readonly flushPoints: [met: number, all: number] = [0, 0];
  done = 0;
  kills = 0;
  failed = 0;

  /** Records the history of a seed, checks at most `images` power cuts of it and a hundred kills. */
  async add(engine: "opfs" | "indexeddb", seed: number, images: number): Promise<void> {
    const trace = await record(engine, seed);
    for (const { kind } of trace.events) this.events.add(kind);
    const cuts = await replay(trace, { kernel, images, seed });
    const killed = await replay(trace, { kernel, images: 100, seed, kill: true });
    this.done += cuts.images;
    this.kills += killed.images;
    for (const part of [0, 1] as const) this.flushPoints[part] += cuts.flushPoints[part];
    this.byEngine.add(engine, cuts.images);
    this.outcomes.merge(cuts.outcomes);
    this.faults.merge(cuts.faults);
    for (const { plan, message } of [...cuts.failures, ...killed.failures]) {
      this.failed++;
      console.log(
        `\nseed ${seed} (${engine}): ${message}\nagain: node tools/run/run-ts.mjs test/power/run.ts --trace ` +
          `${path.relative(root, await keep(trace))} --plan '${JSON.stringify(plan)}'`,
      );
    }
  }
}

async function main(): Promise<number> {
  const values = commandLine({
    script: "power",
    about: "Records histories in a real Chromium and opens what a power cut would have left of each.",
    options: {
      images: integer({ default: 10_000, help: "power cuts" }),
      seed: seedNumber(),
      json: jsonFile(),
      bugs: flag({ help: "first show that each planted bug is found" }),
      trace: text({ sample: "FILE", help: "make one image of this recorded history again; needs --plan" }),
      plan: text({ sample: "JSON", help: "which image, as a failure prints it" }),
    },
    check({ trace, plan }) {
      if ((trace === undefined) !== (plan === undefined)) throw new UsageError("--trace and --plan go together");
    },
  });
  kernel = await releaseKernel();
  if (values.trace !== undefined) return again(values.trace, values.plan!);
  const { images, seed } = values;
  const started = performance.now();
  const secondsSince = (): number => (performance.now() - started) / 1000;
  const bugs = values.bugs ? await showBugs(seed) : {};
  const tally = new Tally();
  for (let turn = 0; tally.done < images && tally.failed < 10; turn++) {
    await tally.add(engineOf(turn + 1), seed + turn, Math.min(IMAGES_PER_TRACE, images - tally.done));
    console.log(`${tally.done} of ${images} images, ${turn + 1} traces, ${secondsSince().toFixed(0)} s`);
  }
  return report(tally, { images, seed, bugs, seconds: secondsSince(), json: values.json });
}

interface Run {
  /** The power cuts that were asked for. */
  readonly images: number;
  readonly seed: number;
  readonly bugs: Readonly<Record<string, number | undefined>>;
  readonly seconds: number;
  readonly json: string | undefined;
}

/** Prints the figures and writes the report. Returns the exit code. */
function report(tally: Tally, { images, seed, bugs, seconds, json }: Run): number {
  const { done, kills, failed, flushPoints } = tally;
  const [events, faults, outcomes] = [tally.events.counts, tally.faults.counts, tally.outcomes.counts];
  const byEngine = tally.byEngine.counts;
  const missing = images >= 3 * IMAGES_PER_TRACE ? EXPECTED_FAULTS.filter((name) => !faults[name]) : [];
  const survived = Object.entries(bugs).flatMap(([name, after]) => (after === undefined ? [name] : []));
  table("events in the traces", events);
  table("faults", faults);
  table("outcomes", outcomes);
  if (missing.length > 0) console.log(`never happened: ${missing.join(", ")}`);
  if (survived.length > 0) console.log(`planted bugs not found: ${survived.join(", ")}`);
  writeReport(json, {
    images: done,
    byEngine,
    flushPoints,
    kills,
    seed,
    failures: failed,
    seconds,
    missing,
    bugs,
    events,
    faults,
    outcomes,
  });
  console.log(
    `\n${done} power cuts (${JSON.stringify(byEngine)}; ${flushPoints[0]} of ${flushPoints[1]} flush ` +
      `points) and ${kills} kills in ${seconds.toFixed(0)} s; ${failed} broken promises`,
  );
  return failed + missing.length + survived.length === 0 && done > 0 ? 0 : 1;
}

process.exitCode = await main();
