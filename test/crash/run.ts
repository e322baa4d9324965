/**
 * `npm run crash -- --rounds N --target chromium|workerd --seed S --json FILE`
 *
 * Kills a real Chromium, its pages and its workers while they write (or the edge's workerd: test/edge/kills.ts), N
 * times, and checks that nothing acknowledged is lost, duplicated or changed. A finding is printed with its seed and
 * its shortest history; the exit code is then 1. `--plant NAME` builds the page with a bug that must be found
 * (plants.ts says what each does).
 */
import { printFinding } from "../checker/checker.ts";
import { runKills } from "../edge/kills.ts";
import { environment, printFigures, quantile, shown, writeReport } from "../support/figures.mjs";
import { UsageError, choice, commandLine, flag, integer, jsonFile, seedNumber } from "../../tools/run/command-line.mjs";
import { usePackageFiles } from "../../tools/package/package-files.mjs";
import { PLANTS } from "./plants.ts";
import { type CrashResult, type Failure, runRounds } from "./rounds.ts";

const FINDINGS_SHOWN = 3;

function explain({ round, strike, engine, findings, problems }: Failure, seed: number): void {
  console.log(`\nround ${round + 1} failed: ${strike.kind}${strike.aim ? ` at ${strike.aim}` : ""}, ${engine}`);
  for (const problem of problems) console.log(`problem: ${problem}`);
  for (const finding of findings.toSorted((a, b) => a.history.length - b.history.length).slice(0, FINDINGS_SHOWN))
    console.log(printFinding(finding));
  console.log(`again: npm run crash -- --seed ${seed} --rounds ${round + 1}`);
}

function figuresOf({ openings, rounds, seconds, counts, strikes }: CrashResult): Record<string, number> {
  const figures: Record<string, number> = {
    rounds,
    seconds: Math.round(seconds),
    strikes: Object.values(strikes).reduce((sum, { times }) => sum + times, 0),
  };
  const acked = (counts["records acked flushed"] ?? 0) + (counts["records acked written"] ?? 0);
  figures["records acked"] = acked;
  for (const engine of ["opfs", "indexeddb"]) {
    const unclean = openings.filter((opening) => opening.engine === engine && !opening.clean);
    if (unclean.length === 0) continue;
    const ms = unclean.map(({ openMs }) => openMs);
    Object.assign(figures, {
      [`${engine}: unclean openings`]: unclean.length,
      [`${engine}: open p50 ms`]: quantile(ms, 0.5),
      [`${engine}: open p99 ms`]: quantile(ms, 0.99),
      [`${engine}: open max ms`]: Math.max(...ms),
    });
    figures[`${engine}: strike to all read p50 ms`] = quantile(
      unclean.map(({ totalMs }) => totalMs),
      0.5,
    );
  }
  return figures;
}

function print(result: CrashResult, figures: Record<string, number>): void {
  console.log("");
  for (const [name, { times, inside }] of Object.entries(result.strikes).sort(([a], [b]) => (a < b ? -1 : 1))) {
    console.log(`${shown(times).padStart(12)}  ${name}${name.includes("@") ? `, ${inside} in the middle of it` : ""}`);
  }
  printFigures(result.counts);
  printFigures(figures);
}

/** The same for the edge: the whole process group of workerd is killed while 16 writers append. */
async function runWorkerd(rounds: number, seed: number, json: string | undefined): Promise<number> {
  const { report, counts, ...figures } = await runKills({ rounds, seed, log: (line) => console.error(line) });
  writeReport(json, { seed, target: "workerd", figures, counts, anomalies: report.counts, environment: environment() });
  for (const finding of report.findings.slice(0, FINDINGS_SHOWN)) console.log(printFinding(finding));
  printFigures(counts);
  const { acked, absorbed, lost, duplicated, reordered } = figures;
  const found = report.findings.length > 0;
  console.log(
    `seed ${seed}: ${rounds} kills, ${shown(acked)} records acked, ${lost} lost, ${duplicated} duplicated, ` +
      `${reordered} reordered, ${shown(absorbed)} resent ones absorbed; ${shown(figures.seconds)} s`,
  );
  if (found) console.log(`again: npm run crash -- --target workerd --seed ${seed} --rounds ${rounds}`);
  return found || acked === 0 ? 1 : 0;
}

async function main(): Promise<number> {
  const { rounds, target, seed, dist, plant, json } = commandLine({
    script: "crash",
    about: "Kills a real browser, or the edge's workerd, under writers, and looks for every acknowledged record.",
    options: {
      rounds: integer({ default: 20, help: "kills" }),
      target: choice(["chromium", "workerd"], { default: "chromium", help: "what is killed" }),
      seed: seedNumber(),
      dist: flag({ help: "over the package's built files instead of the sources" }),
      plant: choice(Object.keys(PLANTS), { help: "put this bug in; the run must find it" }),
      json: jsonFile(),
    },
    check: ({ dist, plant }) => {
      if (dist && plant !== undefined)
        throw new UsageError("--plant puts a bug into the sources, so it goes without --dist");
    },
  });
  // A signal ends the process by way of its exit handlers, which stop the browser and workerd.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
  if (target === "workerd") return runWorkerd(rounds, seed, json);
  if (dist) await usePackageFiles();
  const result = await runRounds({ rounds, seed, plant, onRound: (line) => console.error(line) });
  const figures = figuresOf(result);
  writeReport(json, {
    seed,
    target,
    plant,
    figures,
    strikes: result.strikes,
    counts: result.counts,
    failure: result.failure,
    environment: environment({ chromium: result.chromium }),
  });
  if (result.failure) explain(result.failure, seed);
  print(result, figures);
  const bad = result.failure
    ? `round ${result.failure.round + 1} FAILED`
    : "0 acknowledged records lost, doubled or changed";
  const acked = figures["records acked"]!;
  console.log(`seed ${seed}: ${result.rounds} rounds, ${shown(acked)} records acked; ${bad}`);
  // A run in which nothing was acknowledged proves nothing, so it fails.
  return result.failure || acked === 0 ? 1 : 0;
}

process.exitCode = await main();
