/**
 * `npm run sync -- --minutes 15 --seed S --profiles 3 --tabs 3 --engine indexeddb --json FILE`
 *
 * Devices in real Chromium, each with a profile on disk and some tabs, sync one topic with an edge in real workerd,
 * through networks with faults. Tabs, browsers and the edge are killed, leaders are stopped, tokens end after 20 s, and
 * profiles are copied and put back (plan.ts). The exit code is 1 when a record is lost, doubled or out of order, when
 * devices differ in the end, when they do not become level, or when a fault never fired. With `--bytes` a session under
 * Node is cut at each byte of either way instead (H1).
 */
import { environment, printFigures, quantile, shown, writeReport } from "../support/figures.mjs";
import {
  UsageError,
  choice,
  commandLine,
  decimal,
  flag,
  integer,
  jsonFile,
  seedNumber,
} from "../../tools/run/command-line.mjs";
import { usePackageFiles } from "../../tools/package/package-files.mjs";
import { cutEachByte } from "../edge/http/byte-cuts.ts";
import { startWorker } from "../edge/local-worker.ts";
import { PLANTS } from "./plants.ts";
import { SYNC_FAULTS } from "./plan.ts";
import { runSync, type SyncRunResult } from "./rounds.ts";

const SHOWN = 5;
/** From this many rounds on, every fault must have occurred. */
const ROUNDS_FOR_EXPECTED = 20;
const CONVERGE_MS = 10_000;
const PROGRESS_CUTS = 200;

function figuresOf({
  rounds,
  seconds,
  counts,
  records,
  lost,
  doubled,
  reordered,
}: SyncRunResult): Record<string, number> {
  const ms = rounds.map(({ convergeMs }) => convergeMs);
  return {
    seconds,
    rounds: rounds.length,
    "records acked": counts["records acked"] ?? 0,
    "records at the edge": records,
    lost,
    doubled,
    "out of order": reordered,
    ...(ms.length > 0 && {
      "time to converge: p50 ms": quantile(ms, 0.5),
      "time to converge: p99 ms": quantile(ms, 0.99),
      "time to converge: max ms": Math.max(...ms),
    }),
  };
}

/** Rejects with what was wrong behind a cut. */
async function everyByte(): Promise<number> {
  const worker = await startWorker();
  try {
    for (const way of ["up", "down"] as const) {
      let done = 0;
      const onCut = (): void => void (++done % PROGRESS_CUTS === 0 && console.error(`${done} cuts of the way ${way}`));
      const { bytes, cuts } = await cutEachByte(worker.url, way, 1, onCut);
      console.log(`${shown(cuts)} cuts of the way ${way}, one at each of ${shown(bytes)} bytes: once, in order, level`);
    }
    return 0;
  } finally {
    await worker.stop();
  }
}

async function main(): Promise<number> {
  const { bytes, minutes, seed, profiles, tabs, engine, only, plant, sources, json } = commandLine({
    script: "sync",
    about: "Devices in real Chromium sync a topic with real workerd under faults of networks, processes and profiles.",
    options: {
      minutes: decimal({ default: 2, min: 0.05, max: 24 * 60, help: "how long" }),
      seed: seedNumber(),
      profiles: integer({ default: 3, min: 1, max: 5, help: "devices" }),
      tabs: integer({ default: 3, min: 1, max: 10, help: "tabs of each device" }),
      engine: choice(["opfs", "indexeddb"], { default: "opfs", help: "where devices store" }),
      only: choice(SYNC_FAULTS, { help: "this fault alone" }),
      plant: choice(Object.keys(PLANTS), { help: "put this bug in; the run must find it; goes with --sources" }),
      sources: flag({ help: "over the sources instead of the package's built files" }),
      bytes: flag({ help: "cut a session at each byte of either way, and nothing else" }),
      json: jsonFile(),
    },
    check: ({ plant, sources }) => {
      if (plant !== undefined && !sources)
        throw new UsageError("--plant puts a bug into the sources, so it goes with --sources");
    },
  });
  // Exit through the exit handlers, so that no browser stays behind.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
  if (bytes) return everyByte();
  if (!sources) await usePackageFiles();
  const result = await runSync({
    seconds: minutes * 60,
    seed,
    profiles,
    tabs,
    engine,
    only,
    plant,
    onStep: (line) => console.error(line),
  });
  const figures = figuresOf(result);
  const { rounds, faults, counts, findings, problems, lost, doubled, reordered } = result;
  const about = { seed, engine, only, figures, environment: environment() };
  writeReport(json, { ...about, faults, counts, rounds, findings, problems });
  for (const problem of problems) console.log(`problem: ${problem}`);
  for (const finding of findings.slice(0, SHOWN)) console.log(finding);
  console.log("");
  printFigures(faults);
  printFigures(counts);
  printFigures(figures);
  const slow = rounds.filter(({ convergeMs }) => convergeMs > CONVERGE_MS);
  for (const round of slow)
    console.log(`level only after ${Math.round(round.convergeMs)} ms: ${round.faults.join(", ")}`);
  const unfired = (only ? [only] : SYNC_FAULTS).filter((fault) => !(faults[fault]! > 0));
  const isLong = only !== undefined || rounds.length >= ROUNDS_FOR_EXPECTED;
  const isShort = isLong ? "" : ` (${rounds.length} rounds are too few to expect each)`;
  if (unfired.length > 0) console.log(`never fired: ${unfired.join(", ")}${isShort}`);
  const bad = lost + doubled + reordered + problems.length;
  console.log(
    `seed ${seed}, ${engine}: ${shown(rounds.length)} rounds, ${shown(figures["records acked"]!)} records acked; ` +
      `${lost} lost, ${doubled} doubled, ${reordered} out of order, ${problems.length} problems`,
  );
  // A run without a round or without an acknowledged record proves nothing.
  const isNothing = rounds.length === 0 || figures["records acked"] === 0;
  return bad > 0 || isNothing || (isLong && unfired.length > 0) ? 1 : 0;
}

process.exitCode = await main();
