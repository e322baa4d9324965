/**
 * How a worker is started from the sources, in the words that bundlers look for. In the package, package/workers.ts
 * stands in for this.
 */
export const makeWorker = (): Worker =>
  new Worker(new URL("../worker/worker-entry.ts", import.meta.url), { type: "module", name: "tidemark" });
