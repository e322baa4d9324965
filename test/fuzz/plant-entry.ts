/**
 * Entry of a bundle with a planted bug: the kernel's wrapper, the reference kernel and all that a target reaches. It
 * runs
 * a target over a given kernel module.
 */
import { loadPackingKernel } from "../../src/kernel/packing-kernel.ts";
import { referenceKernel } from "../reference/kernel.ts";
import { fuzz, type TargetName } from "./targets.ts";
import { seedBatches } from "./seeds.ts";

export async function run(target: TargetName, seed: number, executions: number, module: BufferSource): Promise<void> {
  const kernel = await loadPackingKernel(module);
  await fuzz({ target, seed, executions, kernel, others: [referenceKernel()], corpus: seedBatches(kernel) });
}
