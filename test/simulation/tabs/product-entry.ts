/**
 * The product's entry for one context. product.ts bundles it into a function whose parameters are the platform's
 * globals.
 */
export { openTide } from "../../../src/browser/page/open-tide.ts";
export { rehearse } from "../../../src/browser/worker/warm-up.ts";
export { start } from "../../../src/browser/worker/start.ts";
export { WorkerHost } from "../../../src/browser/worker/worker-host.ts";
export { FilesAhead } from "../../../src/browser/volume/preopened-files.ts";
export { OpfsVolume } from "../../../src/browser/volume/opfs-volume.ts";
export { serveTabs } from "../../../src/browser/tabs/broker.ts";
