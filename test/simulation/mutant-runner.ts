/** Bundles the simulation with one planted bug and runs seeds until a check fails. */
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { rolldown } from "rolldown";
import { kernelBytes } from "../tooling/kernels.ts";
import { plantedBug } from "../tooling/planted-bug.ts";
import type { Mutant } from "./mutants.ts";
import { makePlan } from "./plan.ts";
import { scenarioPlan } from "./scenarios.ts";
import { range } from "./seeds.ts";
import type * as Entry from "./mutant-entry.ts";

const root = fileURLToPath(new URL("../../", import.meta.url));

export interface Caught {
  readonly mutant: string;
  /** Undefined: it survived all seeds. */
  readonly check: string | undefined;
  readonly message: string;
  readonly seed: number;
  readonly seeds: number;
}

export async function bundleMutant(mutant: Mutant): Promise<string> {
  const plugin = plantedBug(mutant);
  const bundle = await rolldown({
    input: path.join(root, "test/simulation/mutant-entry.ts"),
    cwd: root,
    platform: "node",
    external: (id) => /^(node:|rolldown)/.test(id),
    plugins: [plugin],
    transform: { target: "node20" },
    logLevel: "silent",
  });
  const directory = path.join(root, ".cache", "mutants");
  await mkdir(directory, { recursive: true });
  const file = path.join(directory, `${mutant.name.replace(/\W+/g, "-")}-${process.pid}.mjs`);
  await bundle.write({ file, format: "esm", codeSplitting: false });
  await bundle.close();
  plugin.check();
  return file;
}

function* narrowSeeds(from: number, count: number, ops: number): Generator<number> {
  for (let seed = from; count > 0; seed++) {
    if (!makePlan(seed, ops).world.narrow) continue;
    count--;
    yield seed;
  }
}

export async function runMutant(mutant: Mutant, seedsMax: number, ops: number): Promise<Caught> {
  const url = pathToFileURL(await bundleMutant(mutant)).href;
  const entry = (await import(/* @vite-ignore */ url)) as typeof Entry;
  const kernel = mutant.twin ? entry.twinKernel() : await entry.loadKernel(await kernelBytes("release"));
  const { scenario, from = 1 } = mutant;
  const { failures, seeds } = await entry.runSeeds({ kernel, seeds: mutant.narrow ? narrowSeeds(from, seedsMax, ops) : range(from, seedsMax), ops, failuresMax: 1, ...(scenario && { plan: (seed: number) => scenarioPlan(scenario, seed) }) });
  const failed = failures[0];
  return { mutant: mutant.name, check: failed?.check, message: failed?.message ?? "", seed: failed?.seed ?? -1, seeds };
}
