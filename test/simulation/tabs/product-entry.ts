/** The product as one context runs it: product.ts makes a function of it, whose parameters are the platform's globals. */
export { openTide } from "../../../src/browser/client.ts";
export { rehearse } from "../../../src/browser/rehearsal.ts";
export { WorkerHost } from "../../../src/browser/worker-host.ts";
export { FilesAhead } from "../../../src/browser/ahead.ts";
export { OpfsVolume } from "../../../src/browser/opfs-volume.ts";
export { serveTabs } from "../../../src/browser/broker.ts";
