/** The exports of a simulation bundle: the simulation over the product in the bundle, which may have a planted bug. */
export { loadKernel } from "../../src/kernel/load.ts";
export { referenceKernel } from "../reference/kernel.ts";
export { runSeeds } from "./seeds.ts";
export { shrink } from "./shrink.ts";
