/** How workers are started from the sources, in the words that bundlers look for. In the package, package/workers.ts stands in for this. */
export const makeWorker = (): Worker =>
  new Worker(new URL("../worker/worker-entry.ts", import.meta.url), { type: "module", name: "tidemark" });

export const makeBroker = (): SharedWorker =>
  new SharedWorker(new URL("../tabs/broker-entry.ts", import.meta.url), { type: "module", name: "tidemark" });
