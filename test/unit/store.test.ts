/** The store's contract over memory, with the twin and the release kernel. */
import { describe, expect, it } from "vitest";
import { crc32cCombine } from "../../src/store/bytes.ts";
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

  describe(`CRC-32C of a concatenation, ${kernel.build} kernel`, () => {
    it("equals the CRC over both parts, whatever their lengths", () => {
      const bytes = new Uint8Array(70_000).map((_, i) => (i * i * 31 + (i >> 3)) & 0xff);
      for (const cut of [0, 1, 7, 255, 256, 4096, 65_535, 69_999, 70_000]) {
        const [a, b] = [bytes.subarray(0, cut), bytes.subarray(cut)];
        expect(crc32cCombine(kernel.crc32c(a), kernel.crc32c(b), b.length)).toBe(kernel.crc32c(bytes));
      }
    });
  });
}
