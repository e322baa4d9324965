/** Runs the simulation with one planted bug until a check fails. */
import { importPlanted } from "../support/bundle-planted.ts";
import { kernelBytes } from "../support/kernels.ts";
import type { Mutant } from "./mutants.ts";
import { makePlan } from "./plan.ts";
import { scenarioPlan } from "./scenarios.ts";
import { range } from "./seeds.ts";
import type * as Entry from "./mutant-entry.ts";

export interface Caught {
  readonly mutant: string;
  /** The check that caught the bug; undefined when the bug survived all seeds. */
  readonly check: string | undefined;
  readonly message: string;
  readonly seed: number;
  readonly seeds: number;
}

function* narrowSeeds(from: number, count: number, ops: number): Generator<number> {
  for (let seed = from; count > 0; seed++) {
    if (!makePlan(seed, ops).world.narrow) continue;
    count--;
    yield seed;
  }
}

export async function runMutant(mutant: Mutant, seedsMax: number, ops: number): Promise<Caught> {
  const entry = await importPlanted<typeof Entry>("test/simulation/mutant-entry.ts", mutant);
  const kernel = mutant.reference ? entry.referenceKernel() : await entry.loadKernel(await kernelBytes("release"));
  const { scenario, from = 1 } = mutant;
  const { failures, seeds } = await entry.runSeeds({
    kernel,
    seeds: mutant.narrow ? narrowSeeds(from, seedsMax, ops) : range(from, seedsMax),
    ops,
    failuresMax: 1,
    ...(scenario && { plan: (seed: number) => scenarioPlan(scenario, seed) }),
  });
  const failed = failures[0];
  return { mutant: mutant.name, check: failed?.check, message: failed?.message ?? "", seed: failed?.seed ?? -1, seeds };
}
