/** The exports of a bundle with a planted bug: the explorer over the product in the bundle. */
export { loadKernel } from "../../src/kernel/load.ts";
export { explore } from "./explore.ts";
