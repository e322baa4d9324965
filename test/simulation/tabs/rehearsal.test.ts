/** The run-through of a worker that stands by: everything is called and succeeds, and nobody else sees any of it. */
import { expect, test } from "vitest";
import { rehearsedBatch } from "../../../src/browser/rehearsal.ts";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { kernelBytes, releaseKernel } from "../../tooling/kernels.ts";
import { Random } from "../prng.ts";
import { loadTabs } from "./entry.ts";
import { Platform } from "./platform.ts";
import { World } from "./world.ts";

test("its batch is what a producer makes", async () => {
  const builder = new BatchBuilder(await releaseKernel());
  builder.tryAppend({ key: null, value: new Uint8Array(1), timestamp: 0 });
  expect(rehearsedBatch()).toEqual(builder.build({ producerId: 1, producerEpoch: 0, baseSequence: 0 }));
});

test("it comes to its end, leaves no file, and holds no lock by which a leader is known", async () => {
  const { product } = await loadTabs();
  const world = new World(new Random(7), false);
  const platform = new Platform(world, product, new Random(8), { engine: "opfs", hasSharedWorker: true, isChromium: true, lateLocks: 0 });
  const worker = platform.inWorker("worker");
  const kernel = new WebAssembly.Module(await kernelBytes("release"));
  let outcome: unknown;
  worker.product.rehearse(new worker.product.WorkerHost(), kernel).then(() => (outcome = "done"), (thrown: unknown) => (outcome = thrown));
  expect(await world.run(() => outcome !== undefined, 60_000)).toBe(true);
  expect(outcome).toBe("done");
  expect(platform.files.names([])).toEqual([]);
  expect(platform.locks.names().filter((name) => !name.startsWith("tidemark-rehearsal:"))).toEqual([]);
});
