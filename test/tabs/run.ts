/**
 * `npm run tabs -- --minutes 10 --seed S --tabs 8 --engine opfs|indexeddb --json FILE`
 *
 * Eight tabs of a real Chromium on one profile write and follow while they are closed, crashed, reloaded, left,
 * stopped, frozen and throttled, and while the browser is killed (long.ts). `--only close` strikes with this fault
 * alone, and always the leader. The exit code is 1 when an acked record is lost, doubled or changed, when a call hung,
 * or when a fault never fired. `--plant NAME` plants a bug that must be found.
 */
import { printFinding } from "../checker/checker.ts";
import { PLANTS } from "../crash/plants.ts";
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
import { environment, printFigures, quantile, shown, writeReport } from "../support/figures.mjs";
import { usePackageFiles } from "../../tools/package/package-files.mjs";
import { type LongResult, runLong } from "./long.ts";
import { FAULTS } from "./nemesis.ts";

const FINDINGS_SHOWN = 3;
/** From this many strikes on, every fault must have occurred: the rarest comes once in fifty. */
const STRIKES_FOR_EXPECTED = 250;

function figuresOf({ failOvers, seconds, steps, terms, ackMsMax, skewMs, counts }: LongResult): Record<string, number> {
  const figures: Record<string, number> = {
    seconds,
    steps,
    terms: terms.length,
    "records acked": counts["records acked flushed"] ?? 0,
    "longest append ms": ackMsMax,
    "clock skew ms": skewMs,
  };
  for (const fault of new Set(failOvers.map((each) => each.fault).sort())) {
    const all = failOvers.filter((each) => each.fault === fault);
    if (all.length === 0) continue;
    const ms = all.map(({ ackedMs }) => ackedMs);
    const name = `fail-over, ${fault}`;
    Object.assign(figures, {
      [`${name}: times`]: all.length,
      [`${name}: p50 ms`]: quantile(ms, 0.5),
      [`${name}: p99 ms`]: quantile(ms, 0.99),
      [`${name}: max ms`]: Math.max(...ms),
    });
    figures[`${name}: p50 from the strike to the death ms`] = quantile(
      all.map(({ diedMs }) => diedMs),
      0.5,
    );
    figures[`${name}: p50 until it is known ms`] = quantile(
      all.map(({ lostMs }) => lostMs),
      0.5,
    );
    figures[`${name}: p50 until the next leads ms`] = quantile(
      all.map(({ changedMs }) => changedMs),
      0.5,
    );
  }
  return figures;
}

async function main(): Promise<number> {
  const { minutes, seed, tabs, engine, only, dist, plant, json } = commandLine({
    script: "tabs",
    about: "Tabs of a real Chromium write and follow while they are closed, crashed, stopped, frozen and killed.",
    options: {
      minutes: decimal({ default: 1, min: 0.05, max: 24 * 60, help: "how long" }),
      seed: seedNumber(),
      tabs: integer({ default: 8, min: 2, max: 50, help: "tabs at a time" }),
      engine: choice(["opfs", "indexeddb"], { default: "opfs", help: "where the log lives" }),
      only: choice(FAULTS, { help: "this fault alone, and always at the leader" }),
      dist: flag({ help: "over the package's built files instead of the sources" }),
      plant: choice(Object.keys(PLANTS), { help: "put this bug in; the run must find it" }),
      json: jsonFile(),
    },
    check: ({ dist, plant }) => {
      if (dist && plant !== undefined)
        throw new UsageError("--plant puts a bug into the sources, so it goes without --dist");
    },
  });
  // Exit through the exit handlers, so that no browser stays behind.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => process.exit(130));
  if (dist) await usePackageFiles();
  const result = await runLong({
    seconds: minutes * 60,
    seed,
    tabs,
    engine,
    only,
    plant,
    onStep: (line) => console.error(line),
  });
  const figures = figuresOf(result);
  writeReport(json, {
    seed,
    engine,
    only,
    plant,
    figures,
    faults: result.faults,
    counts: result.counts,
    failOvers: result.failOvers,
    terms: result.terms,
    findings: result.findings,
    problems: result.problems,
    environment: environment({ chromium: result.browser }),
  });
  for (const problem of result.problems) console.log(`problem: ${problem}`);
  for (const finding of result.findings
    .toSorted((a, b) => a.history.length - b.history.length)
    .slice(0, FINDINGS_SHOWN))
    console.log(printFinding(finding));
  console.log("");
  printFigures(result.faults);
  printFigures(result.counts);
  printFigures(figures);
  const hasFired = (fault: string): boolean => Object.keys(result.faults).some((name) => name.startsWith(fault));
  const unfired = (only ? [only] : FAULTS).filter((fault) => !hasFired(fault));
  const isLong = only !== undefined || result.steps >= STRIKES_FOR_EXPECTED;
  const isShort = isLong ? "" : ` (${result.steps} strikes are too few to expect each)`;
  if (unfired.length > 0) console.log(`never fired: ${unfired.join(", ")}${isShort}`);
  const bad = result.findings.length + result.problems.length;
  console.log(
    `seed ${seed}, ${engine}: ${shown(result.steps)} strikes, ${shown(figures["records acked"]!)} records acked; ` +
      `${bad > 0 ? `${bad} FINDINGS` : "0 findings"}`,
  );
  // A run without a strike or without an acknowledged record proves nothing.
  const isNothing = result.steps === 0 || figures["records acked"] === 0;
  return bad > 0 || isNothing || (isLong && unfired.length > 0) ? 1 : 0;
}

process.exitCode = await main();
