/** What a bundle with a planted bug exports: its own explorer over its own product. */
export { loadKernel } from "../../src/kernel/load.ts";
export { explore } from "./explore.ts";
