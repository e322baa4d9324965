/**
 * `node tools/run/run-ts.mjs test/rot/run.ts --every N --swaps N --seed S --json FILE`
 *
 * Flips every bit of a volume with some 1 MiB of batches, puts back earlier versions of every page, exchanges pages,
 * and prints the outcomes by region (bits.ts and pages.ts say how). `--every N` takes every N-th of the bits and pages
 * that need the whole path (default all), `--swaps N` every N-th pair of pages (default 16). The exit code is 1 when
 * damage was not reported.
 */
import { commandLine, integer, jsonFile, seedNumber } from "../../tools/run/command-line.mjs";
import { writeReport } from "../support/figures.mjs";
import { releaseKernel } from "../support/kernels.ts";
import { rotShare, WHOLE } from "./share.ts";

const values = commandLine({
  script: "rot",
  about: "Flips every bit of a volume, brings every page back stale, exchanges pages, and reads what is left.",
  options: {
    every: integer({ default: 1, help: "take every N-th of those that need the long way" }),
    seed: seedNumber(),
    sample: integer({ default: 200, help: "every N-th opened bit goes the whole way as well" }),
    swaps: integer({ default: 16, help: "exchange every N-th pair of pages" }),
    json: jsonFile(),
  },
});
// Most errors here are the expected answer. Without stack traces they cost less.
Error.stackTraceLimit = 0;
const started = performance.now();
const seconds = (): number => (performance.now() - started) / 1000;
const { isTTY } = process.stderr;
let shown = 0;
const done = new Map<string, number>();
const onProgress = (what: string, count: number): void => {
  done.set(what, (done.get(what) ?? 0) + count);
  if (seconds() - shown < (isTTY ? 1 : 20)) return;
  shown = seconds();
  process.stderr.write(`${isTTY ? "\r" : ""}${what} ${done.get(what)}, ${Math.round(shown)} s  ${isTTY ? "" : "\n"}`);
};
const { every, seed, sample } = values;
const share = await rotShare({
  kernel: await releaseKernel(),
  history: WHOLE,
  seed,
  sample,
  every,
  everySwap: values.swaps * every,
  onProgress,
});
if (isTTY) process.stderr.write("\r\u001b[K");
for (const [name, times] of Object.entries(share.counts).sort(([a], [b]) => (a < b ? -1 : 1)))
  console.log(`${String(times).padStart(10)}  ${name}`);
for (const { message, where } of share.failures.slice(0, 10)) console.log(`${message}\n  ${where}`);
const { log, bits, surveyed, sampled, stale, swapped, failures } = share;
console.log(
  `${log.slots} slots of ${log.slotBytes} bytes, ${log.batches} batches of ${log.batchBytes} bytes; seed ${seed}`,
);
console.log(
  `${bits} bits (${surveyed} opened and read, ${sampled} of them the whole way as well), ${stale} stale pages, ` +
    `${swapped} exchanges in ${seconds().toFixed(1)} s; ${failures.length} failed`,
);
writeReport(values.json, { seconds: seconds(), every, seed, ...share });
process.exitCode = failures.length === 0 && bits > 0 ? 0 : 1;
