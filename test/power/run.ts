/**
 * `node tools/run/run-ts.mjs test/power/run.ts --images N --seed S --json FILE`
 *
 * Records histories in real Chromium, seed after seed, OPFS twice as often as IndexedDB, and checks N crash images of
 * them (default 10,000), two thirds of them systematic. `--bugs` first shows that each planted bug is found. A failing
 * image leaves its trace in .cache/power and is printed with the command that makes it again (`--trace FILE --plan
 * JSON`). The exit code is 1 after a broken promise, and when a kind of fault never fired.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import type { Kernel } from "../../src/kernel/types.ts";
import { Counters } from "../simulation/counters.ts";
import { commandLine, flag, integer, jsonFile, seedNumber, text, UsageError } from "../../tools/run/command-line.mjs";
import { writeReport } from "../support/figures.mjs";
import { releaseKernel } from "../support/kernels.ts";
import { POWER_BUGS } from "./bugs.ts";
import { checkImage } from "./check.ts";
import { imageMaker, type Plan } from "./images.ts";
import { Promises } from "./promises.ts";
import { recordTrace } from "./record.ts";
import { EXPECTED_FAULTS, replay } from "./replay.ts";
import { cutAgain } from "./second-cut.ts";
import { decodeTrace, encodeTrace, type Trace } from "./trace.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));
/** Enough that two thirds of them meet every flush point. */
const IMAGES_PER_TRACE = 2500;
const SLOT_BYTES = 64 * 1024;
const OPS = 300;

let kernel: Kernel;

const engineOf = (seed: number): "opfs" | "indexeddb" => (seed % 3 === 0 ? "indexeddb" : "opfs");

async function keep(trace: Trace): Promise<string> {
  const directory = path.join(root, ".cache", "power");
  await mkdir(directory, { recursive: true });
  const file = path.join(directory, `${trace.engine}-${trace.seed}.trace`);
  await writeFile(file, encodeTrace(trace));
  return file;
}

/** Gives how many images each planted bug lived through; undefined where it was never found. */
async function showBugs(seed: number): Promise<Record<string, number | undefined>> {
  const found: Record<string, number | undefined> = {};
  for (const { engine, ...bug } of POWER_BUGS) {
    const trace = await recordTrace({
      engine,
      bug,
      seed,
      slotBytes: SLOT_BYTES,
      ops: OPS,
      endings: ["killed", "closed", "killed"],
    });
    const { images, failures } = await replay(trace, { kernel, images: 1000, seed, failuresMax: 1 });
    found[bug.name] = failures.length > 0 ? images : undefined;
    console.log(
      `planted bug, ${bug.name}: ` +
        `${failures[0] ? `image ${images}: ${failures[0].message}` : `NOT FOUND in ${images} images`}`,
    );
  }
  return found;
}

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
  const bugs = values.bugs ? await showBugs(seed) : {};
  const [outcomes, faults, events] = [new Counters(), new Counters(), new Counters()];
  const byEngine = new Counters();
  let failed = 0;
  let done = 0;
  let kills = 0;
  const flushPoints: [met: number, all: number] = [0, 0];
  for (let turn = 0; done < images && failed < 10; turn++) {
    const engine = engineOf(turn + 1);
    const trace = await recordTrace({
      engine,
      seed: seed + turn,
      slotBytes: SLOT_BYTES,
      ops: OPS,
      endings: ["killed", "closed", "killed"],
    });
    for (const { kind } of trace.events) events.add(kind);
    const result = await replay(trace, {
      kernel,
      images: Math.min(IMAGES_PER_TRACE, images - done),
      seed: seed + turn,
    });
    const killed = await replay(trace, { kernel, images: 100, seed: seed + turn, kill: true });
    done += result.images;
    kills += killed.images;
    for (const part of [0, 1] as const) flushPoints[part] += result.flushPoints[part];
    byEngine.add(engine, result.images);
    outcomes.merge(result.outcomes);
    faults.merge(result.faults);
    for (const { plan, message } of [...result.failures, ...killed.failures]) {
      failed++;
      console.log(
        `\nseed ${seed + turn} (${engine}): ${message}\nagain: node tools/run/run-ts.mjs test/power/run.ts --trace ` +
          `${path.relative(root, await keep(trace))} --plan '${JSON.stringify(plan)}'`,
      );
    }
    console.log(
      `${done} of ${images} images, ${turn + 1} traces, ${((performance.now() - started) / 1000).toFixed(0)} s`,
    );
  }
  const missing = images >= 3 * IMAGES_PER_TRACE ? EXPECTED_FAULTS.filter((name) => !faults.counts[name]) : [];
  const survived = Object.entries(bugs).flatMap(([name, after]) => (after === undefined ? [name] : []));
  table("events in the traces", events.counts);
  table("faults", faults.counts);
  table("outcomes", outcomes.counts);
  if (missing.length > 0) console.log(`never happened: ${missing.join(", ")}`);
  if (survived.length > 0) console.log(`planted bugs not found: ${survived.join(", ")}`);
  const seconds = (performance.now() - started) / 1000;
  const summary = {
    images: done,
    byEngine: byEngine.counts,
    flushPoints,
    kills,
    seed,
    failures: failed,
    seconds,
    missing,
    bugs,
    events: events.counts,
    faults: faults.counts,
    outcomes: outcomes.counts,
  };
  writeReport(values.json, summary);
  console.log(
    `\n${done} power cuts (${JSON.stringify(byEngine.counts)}; ${flushPoints[0]} of ${flushPoints[1]} flush ` +
      `points) and ${kills} kills in ${seconds.toFixed(0)} s; ${failed} broken promises`,
  );
  return failed + missing.length + survived.length === 0 && done > 0 ? 0 : 1;
}

process.exitCode = await main();
