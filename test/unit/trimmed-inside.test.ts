/** A synced topic's copy may begin inside a batch, after a trim: the batch is still one of this device. */
import { expect, it } from "vitest";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { placesOf } from "../../src/sync/place-search.ts";
import { ListedEdge, Synced } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();

/** A device whose copy is a, b, c, d in one own batch, and e, and whose copy is trimmed below c. */
async function trimmed() {
  const synced = await Synced.make({
    kernel,
    newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
    reopen: async (volume) => volume,
  });
  const edge = new ListedEdge(kernel);
  await synced.join();
  for (const names of [["a", "b", "c", "d"], ["e"]]) edge.append((await synced.append(...names)).batch);
  await synced.storage.receive(edge.frame(0));
  await synced.storage.trim();
  await synced.log.trim(2);
  return synced;
}

it("its places are found, and no hole is seen in it", async () => {
  const { storage } = await trimmed();
  const owner = { producerId: 77, producerEpoch: 0 };
  const wanted = [
    { ...owner, baseSequence: 0, position: 0, count: 4, at: 0 },
    { ...owner, baseSequence: 4, position: 4, count: 1, at: 0 },
  ];
  expect((await placesOf(storage, 0, wanted, [])).runs).toEqual([{ from: 0, to: 5, offset: 0 }]);
  expect(await storage.replica!.uncovered(0)).toEqual([[0, 2]]);
});
