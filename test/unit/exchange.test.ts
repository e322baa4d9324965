/** The contract of exchanged slots, over memory. test/browser/volume.test.ts runs it over OPFS and IndexedDB. */
import { describe, it } from "vitest";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { exchangeCases } from "../contract/exchange-contract.ts";
import type { StoreHost } from "../contract/store-contract.ts";
import { releaseKernel } from "../support/kernels.ts";

const host: StoreHost = {
  kernel: await releaseKernel(),
  newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
  reopen: async (volume) => volume,
};

describe("whole files exchanged", () => {
  for (const { name, run } of exchangeCases) it(name, () => run(host));
});
