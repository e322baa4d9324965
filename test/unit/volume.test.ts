/** The volumes' contract over memory. test/browser runs it over OPFS and IndexedDB. */
import { describe, it } from "vitest";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { volumeCases, type VolumeHost } from "../contract/volume-contract.ts";

const host: VolumeHost = {
  newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
  reopen: async (volume) => volume,
  keepsUnflushed: true,
};
// A memory volume is its own storage, so a closed one cannot be told from one that is open again.
const cases = volumeCases.filter(({ name }) => name !== "a closed volume refuses");

describe("volume in memory", () => {
  for (const { name, run } of cases) it(name, () => run(host));
});
