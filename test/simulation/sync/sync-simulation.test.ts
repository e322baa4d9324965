/** Histories of sync over a simulated network and the Worker's own edge: see world.ts. */
import { describe, expect, it } from "vitest";
import { PLANTS } from "./plants.ts";
import { MemoryDisk } from "./memory-store.ts";
import { diskOf, runSync } from "./seeds.ts";
import { FAULTS, World } from "./world.ts";

const SEEDS = 60;
const STEPS = 60;
const PLANTED_SEEDS = 40;

describe("histories", () => {
  it(`${SEEDS} from seed 1: each acknowledged record is at the edge once, in order, and on every device`, async () => {
    const { failures, counts } = await runSync({ seed: 1, seeds: SEEDS, ops: STEPS });
    expect(failures).toEqual([]);
    for (const each of [...FAULTS, "claim"]) expect(counts[each], each).toBeGreaterThan(20);
  }, 120_000);

  it("a seed is its history", async () => {
    for (const seed of [5, 6]) {
      const [one, two] = [await new World(seed, diskOf(seed)).run(40), await new World(seed, diskOf(seed)).run(40)];
      expect(one).toEqual(two);
    }
  });

  it.each(PLANTS)("found: %s", async (_, Store, found) => {
    let failed: string | undefined;
    for (let seed = 1; seed <= PLANTED_SEEDS && !failed; seed++)
      failed = (await new World(seed, () => new MemoryDisk(Store)).run(STEPS)).failed;
    expect(failed).toMatch(found);
  });
});
