/** The exports of a bundle of the edge for histories over a simulated platform (platform.ts). */
export { default as worker, LogObject, SubscriptionObject } from "../../../worker/index.ts";
export { edgeKernel } from "../../../worker/kernel.ts";
export { BatchBuilder } from "../../../src/record/batch-builder.ts";
export { stampBaseOffset } from "../../../src/record/format.ts";
export { decodeBatch, splitBatches } from "../../../src/record/record-batch.ts";
