/**
 * `npm run sim -- --api --seeds N --seed S --steps N`
 *
 * Runs N random histories over the public API of `tidemark/node`, from seed S on, and compares all that can be observed
 * with a model. A failure is printed with the shortest list of steps that was found; the exit code is then 1. What
 * shares a commit differs from run to run, so a history need not repeat itself exactly.
 */
import { commandLine, integer, seedNumber } from "../../../tools/run/command-line.mjs";
import { type Step, stepsOf } from "./history.ts";
import { Folders } from "./node-host.ts";

const folders = new Folders();

/** Whether two failures are the same but for their numbers. */
const essence = (error: Error): string =>
  error.message
    .replace(/^step \d+ /, "")
    .replace(/\d+/g, "#")
    .slice(0, 60);

async function shrunk(seed: number, steps: readonly Step[], failure: Error): Promise<void> {
  let best = steps;
  for (let size = steps.length >> 1; size >= 1; size >>= 1)
    for (let at = best.length - size; at >= 0; at -= size) {
      const fewer = [...best.slice(0, at), ...best.slice(at + size)];
      const again = await folders.failureOf(seed, fewer, {});
      if (again && essence(again) === essence(failure)) best = fewer;
    }
  console.log(`shortest history found: ${best.map(({ name, seed }) => `${name}:${seed}`).join(" ")}`);
}

async function main(): Promise<number> {
  const values = commandLine({
    script: "sim",
    command: "npm run sim -- --api",
    about: "Runs random histories over the public API of tidemark/node.",
    options: {
      seeds: integer({ default: 100, help: "histories" }),
      seed: seedNumber(),
      steps: integer({ default: 40, help: "steps of a history" }),
    },
  });
  const counts: Record<string, number> = {};
  let failed = 0;
  for (let seed = values.seed; seed < values.seed + values.seeds; seed++) {
    const steps = stepsOf(seed, values.steps);
    const failure = await folders.failureOf(seed, steps, counts);
    if (!failure) continue;
    failed++;
    console.log(`seed ${seed}: ${failure.message}`);
    await shrunk(seed, steps, failure);
  }
  for (const [name, count] of Object.entries(counts).sort()) console.log(`${String(count).padStart(10)}  ${name}`);
  console.log(`${values.seeds} histories; ${failed} failed`);
  folders.remove();
  return failed > 0 ? 1 : 0;
}

process.exit(await main());
