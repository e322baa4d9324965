/** What a bundle of the simulation exports, with or without a planted bug: its own simulation over its own product. */
export { loadKernel } from "../../src/kernel/load.ts";
export { twinKernel } from "../reference/kernel.ts";
export { runSeeds } from "./seeds.ts";
export { shrink } from "./shrink.ts";
