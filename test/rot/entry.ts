/** Entry of a bundle with a planted bug: the rot suite together with the product that it tests. */
export { loadKernel } from "../../src/kernel/load.ts";
export { referenceKernel } from "../reference/kernel.ts";
export { rotShare, SMALL } from "./share.ts";
