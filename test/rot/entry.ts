/** What a bundle with a planted bug exports: its own rot over its own product. */
export { loadKernel } from "../../src/kernel/load.ts";
export { twinKernel } from "../reference/kernel.ts";
export { rotShare, SMALL } from "./share.ts";
