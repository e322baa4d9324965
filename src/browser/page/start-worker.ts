/**
 * Starts a worker from the sources, in the form that bundlers look for. In the package, package/workers.ts replaces
 * this module.
 */
export const makeWorker = (): Worker =>
  new Worker(new URL("../worker/worker-entry.ts", import.meta.url), { type: "module", name: "tidemark" });
