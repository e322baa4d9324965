/**
 * base.js of the package: TidemarkError and the loader of files. `tidemark`, `tidemark/browser` and `tidemark/worker`
 * import it, so that there is one TidemarkError in an app whichever of them it uses. It is not loaded by address: a page
 * hands core.js what it has from here, and a worker has its own (own-errors.ts).
 */
export { assert, TidemarkError } from "../../errors.ts";
export { importFile, loadFailed } from "../platform/load.ts";
