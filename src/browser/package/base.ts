/**
 * base.js of the package, first half: what an app's bundle and core.js share. Apps import it through `tidemark`,
 * `tidemark/browser` and `tidemark/worker`, so that there is one TidemarkError among them. The second half is the
 * worker's part (worker/start.ts), which the build adds as a function of the core; apps' bundlers leave it out, and a
 * worker loads the file.
 */
export { assert, TidemarkError } from "../../errors.ts";
export { importFile, loadFailed } from "../platform/load.ts";
