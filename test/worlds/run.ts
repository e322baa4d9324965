/**
 * `npm run worlds -- --depth N --from new,used --recrash N --json FILE`
 *
 * Explores all histories of up to N operations (`--depth`, default 4) and prints how many crash images had which
 * outcome. The recovery of every N-th distinct image (`--recrash`, default 24) is crashed as well. The exit code is 1
 * when an image broke a promise; the first ones are printed with their history.
 */
import { choices, commandLine, integer, jsonFile } from "../../tools/run/command-line.mjs";
import { writeReport } from "../support/figures.mjs";
import { releaseKernel } from "../support/kernels.ts";
import { explore, historiesUpTo } from "./explore.ts";
import { type Beginning, BEGINNINGS } from "./world.ts";

const names = Object.keys(BEGINNINGS) as Beginning[];
const values = commandLine({
  script: "worlds",
  about: "Explores every short history of a store, and every crash image of each. --sync: of the rules of sync.",
  options: {
    depth: integer({ default: 4, max: 8, help: "operations of a history" }),
    from: choices(names, { default: names, help: "what the volume holds at the beginning" }),
    recrash: integer({ default: 24, help: "of every N-th distinct image the recovery is crashed, too" }),
    json: jsonFile(),
  },
});
const { depth, from: beginnings } = values;
const total = (historiesUpTo(depth) + 1) * beginnings.length;
const started = performance.now();
const seconds = (): number => (performance.now() - started) / 1000;
let done = 0;
let shown = 0;
const onHistory = (): void => {
  done++;
  if (seconds() - shown < (process.stderr.isTTY ? 1 : 15)) return;
  shown = seconds();
  process.stderr.write(
    `${process.stderr.isTTY ? "\r" : ""}${done} of ${total} histories, ${Math.round(shown)} s ` +
      `${process.stderr.isTTY ? "" : "\n"}`,
  );
};
const explored = await explore({
  kernel: await releaseKernel(),
  depth,
  beginnings,
  recrash: values.recrash,
  onHistory,
});
if (process.stderr.isTTY) process.stderr.write("\r\u001b[K");
for (const { message, history } of explored.failures.slice(0, 5)) console.log(`${message}\n  ${history}`);
const counts = Object.entries(explored.counts).sort(([a], [b]) => (a < b ? -1 : 1));
for (const [name, times] of counts) console.log(`${String(times).padStart(10)}  ${name}`);
const { histories, crashPoints, images, distinct, recrashed, failures } = explored;
console.log(
  `${histories} histories of up to ${depth} operations, ${crashPoints} crash points, ${images} images (${distinct} ` +
    `distinct, of ${recrashed} the recovery crashed too) in ${seconds().toFixed(1)} s; ${failures.length} failed`,
);
writeReport(values.json, { depth, beginnings, seconds: seconds(), ...explored });
process.exitCode = failures.length === 0 && images > 0 ? 0 : 1;
