/**
 * How the broker is started from the sources, in the words that bundlers look for. In the package, package/workers.ts
 * stands in for this.
 */
export const makeBroker = (): SharedWorker =>
  new SharedWorker(new URL("./broker-entry.ts", import.meta.url), { type: "module", name: "tidemark" });
