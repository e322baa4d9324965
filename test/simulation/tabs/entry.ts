/** Loads the product, unchanged or with a planted bug, and its kernel, for tests and the command line. */
import { kernelBytes } from "../../support/kernels.ts";
import { range } from "../seeds.ts";
import type { TabsMutant } from "./mutants.ts";
import { PLANS } from "./plan.ts";
import type { Product } from "./platform.ts";
import { simulatedProduct } from "./product.ts";
import { runTabsSeeds, type TabsSeeds } from "./seeds.ts";

export async function loadTabs(
  bug?: TabsMutant,
): Promise<{ readonly product: Product; readonly kernel: WebAssembly.Module }> {
  return { product: await simulatedProduct(bug), kernel: await WebAssembly.compile(await kernelBytes("release")) };
}

/** Runs seeds over the product with a planted bug until a check fails. */
export async function runTabsMutant(mutant: TabsMutant, seedsMax: number): Promise<TabsSeeds> {
  return runTabsSeeds({
    ...(await loadTabs(mutant)),
    seeds: range(mutant.from ?? 1, seedsMax),
    failuresMax: 1,
    plan: PLANS[mutant.plan ?? "opfs"],
  });
}
