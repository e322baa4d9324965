/** The store's contract over memory, with the twin and the release kernel. */
import { describe, expect, it } from "vitest";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { storeCases, type StoreHost } from "../contract/store-contract.ts";
import { releaseKernel, twinKernel } from "../tooling/kernels.ts";

for (const load of [releaseKernel, twinKernel]) {
  const kernel = await load();
  const host: StoreHost = {
    kernel,
    newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
    reopen: async (volume) => volume,
  };
  describe(`segmented store over memory, ${kernel.build} kernel`, () => {
    for (const { name, run } of storeCases) it(name, () => run(host));
  });
}
