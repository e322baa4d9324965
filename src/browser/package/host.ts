/** base.js of the package, second half: the worker's part, and what two of the parts on demand need in a worker. */
export { proveTerm, waitAlone } from "../volume/sole-writer.ts";
export { start } from "../worker/start.ts";
