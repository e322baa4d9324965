/**
 * `npm run sim -- --edge --seeds N --seed S --ops N`
 *
 * Runs N histories of the edge from seed S on, each of so many steps (history.ts). A failure is printed with its seed,
 * the fewest steps that still fail, and the last requests; the exit code is then 1. Behind them stands how often each
 * kind of step and event came up: what never did is not tested.
 */
import { commandLine, integer, seedNumber } from "../../../tools/run/command-line.mjs";
import { importEdge } from "./bundle.ts";
import { runHistories, shortened } from "./run-histories.ts";

const REQUESTS_SHOWN = 40;

const { seeds, seed, ops } = commandLine({
  script: "sim -- --edge",
  about: "Runs seeded histories of requests to the whole edge, beside a model of what it holds.",
  options: {
    seeds: integer({ default: 200, help: "histories" }),
    seed: seedNumber(),
    ops: integer({ default: 120, help: "steps of a history" }),
  },
});
const edge = await importEdge();
const { failures, counts, done } = await runHistories(edge, { seed, seeds, steps: ops });
for (const failed of failures) {
  const { why, steps, trace } = await shortened(edge, failed);
  console.log(`seed ${failed.seed}: ${failed.why}\n  steps ${steps.join()}: ${why}`);
  console.log(trace.slice(-REQUESTS_SHOWN).join("\n"));
}
for (const [name, count] of Object.entries(counts).sort()) console.log(`${name}: ${count}`);
console.log(`${done} histories, ${failures.length} failed`);
process.exitCode = failures.length > 0 ? 1 : 0;
