/**
 * `npm run sim -- --sync --seeds N --seed S --ops N --planted WORDS --json FILE`
 *
 * Runs N histories of devices and an edge from seed S on (world.ts). A failure is printed with its seed; the exit code
 * is then 1, as it is when a kind of fault never occurred. With `--planted` each bug of mutants.ts whose name holds one
 * of the words ("all": every bug) is looked for in N histories, and must be found by its check.
 */
import { commandLine, integer, jsonFile, seedNumber, text } from "../../../tools/run/command-line.mjs";
import { writeReport } from "../../support/figures.mjs";
import { SYNC_MUTANTS } from "./mutants.ts";
import { searchPlanted } from "./planted.ts";
import { runSync } from "./seeds.ts";
import { EXPECTED } from "./expected.ts";

/** From this many seeds on, every kind of fault must have occurred. */
const SEEDS_FOR_EXPECTED = 150;
const FAILURES_SHOWN = 5;

async function planted(words: string, seeds: number, ops: number): Promise<number> {
  const asked = words === "all" ? [""] : words.split(",");
  let survived = 0;
  for (const mutant of SYNC_MUTANTS.filter(({ name }) => asked.some((word) => name.includes(word)))) {
    const { why, seed } = await searchPlanted(mutant, seeds, ops);
    const isFound = why !== undefined && mutant.found.test(why);
    if (!isFound) survived++;
    const how = why === undefined ? "SURVIVED" : `${isFound ? "" : "by another check: "}${why.slice(0, 80)}`;
    console.log(`${mutant.name}: ${seed === undefined ? "" : `seed ${seed}, `}${how}`);
  }
  return survived === 0 ? 0 : 1;
}

async function main(): Promise<number> {
  const {
    seeds,
    seed,
    ops,
    json,
    planted: words,
  } = commandLine({
    script: "sim -- --sync",
    about: "Runs seeded histories of devices that write offline, an edge, and a network that cuts.",
    options: {
      seeds: integer({ default: 500, help: "histories" }),
      seed: seedNumber(),
      ops: integer({ default: 100, help: "steps of a history" }),
      planted: text({ help: "words of planted bugs, with commas between them, or all" }),
      json: jsonFile(),
    },
  });
  if (words !== undefined) return planted(words, seeds, ops);
  const from = Date.now();
  let shown = 0;
  const { failures, counts, records } = await runSync({ seed, seeds, ops }, ({ seed: each, why }) => {
    if (++shown > FAILURES_SHOWN) return;
    console.log(`\nseed ${each} failed: ${why}`);
    console.log(`again: npm run sim -- --sync --seed ${each} --seeds 1 --ops ${ops}`);
  });
  const seconds = (Date.now() - from) / 1000;
  for (const [name, times] of Object.entries(counts)) console.log(`${String(times).padStart(10)}  ${name}`);
  const missing = seeds >= SEEDS_FOR_EXPECTED ? EXPECTED.filter((name) => !counts[name]) : [];
  if (missing.length > 0) console.log(`never happened: ${missing.join(", ")}`);
  const failed = failures.length;
  writeReport(json, { seeds, seed, ops, seconds, records, failed, counts, missing, failures });
  console.log(`${seeds} seeds of ${ops} steps in ${seconds.toFixed(1)} s; ${records} records; ${failed} failed`);
  return failed === 0 && missing.length === 0 ? 0 : 1;
}

process.exitCode = await main();
