/** The exports of a bundle with a planted bug: the rot suite over the product in the bundle. */
export { loadKernel } from "../../src/kernel/load.ts";
export { referenceKernel } from "../reference/kernel.ts";
export { rotShare, SMALL } from "./share.ts";
