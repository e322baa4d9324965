/**
 * Starts the broker from the sources. The code has the form that bundlers look for. In the package, package/workers.ts
 * takes this file's place.
 */
export const makeBroker = (): SharedWorker =>
  new SharedWorker(new URL("./broker-entry.ts", import.meta.url), { type: "module", name: "tidemark" });
