/**
 * base.js of the package: TidemarkError and the loader of files. `tidemark`, `tidemark/browser` and `tidemark/worker`
 * import it, so that an app has one TidemarkError whichever of them it uses. It is not loaded by address: a page passes
 * its exports to core.js, and a worker makes its own (own-errors.ts).
 */
export { assert, KIND_OF, TidemarkError } from "../../errors.ts";
export { LOAD_HELP } from "../platform/load-help.ts";
export { importFile, loadFailed } from "../platform/load.ts";
