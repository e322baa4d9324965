/** The storage of synced topics over memory: the contract's cases. */
import { describe, it } from "vitest";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { syncedCases } from "../contract/synced-contract.ts";
import { syncedHealingCases } from "../contract/synced-healing-contract.ts";
import { syncedReadingCases } from "../contract/synced-reading-contract.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();

describe("a synced topic over memory", () => {
  for (const { name, run } of [...syncedCases, ...syncedReadingCases, ...syncedHealingCases])
    it(name, () =>
      run({
        kernel,
        newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
        reopen: async (volume) => volume,
      }),
    );
});
