/** The warm-up of a standby worker: all its calls succeed, and no other context sees any of them. */
import { expect, test } from "vitest";
import { rehearsedBatch } from "../../../src/browser/worker/warm-up.ts";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { kernelBytes, releaseKernel } from "../../support/kernels.ts";
import { simulatedBrowser } from "./workers.ts";

test("its batch is what a producer makes", async () => {
  const builder = new BatchBuilder(await releaseKernel());
  builder.tryAppend({ key: null, value: new Uint8Array(1), timestamp: 0 });
  expect(rehearsedBatch()).toEqual(builder.build({ producerId: 1, producerEpoch: 0, baseSequence: 0 }));
});

test("it comes to its end, leaves no file, and holds no lock by which a leader is known", async () => {
  const { platform, sure } = simulatedBrowser();
  const worker = platform.inWorker("worker");
  const kernel = new WebAssembly.Module(await kernelBytes("release"));
  await sure(worker.product.rehearse((openVolume) => new worker.product.WorkerHost(openVolume), kernel));
  expect(platform.files.names([])).toEqual([]);
  expect(platform.locks.names().filter((name) => !name.startsWith("tidemark-rehearsal:"))).toEqual([]);
});
