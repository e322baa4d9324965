/** Entry of a bundle with a planted bug: the explorer together with the product that it explores. */
export { loadKernel } from "../../src/kernel/load.ts";
export { explore } from "./explore.ts";
