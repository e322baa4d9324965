/**
 * Whether the kept copy and the log that stands at the edge now agree, at the one batch that both should have: asked of
 * the real storage of a topic that was restarted with "offerAgain". The worlds and the simulation have the offers.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import type { SegmentStore } from "../../src/store/segment-store.ts";
import { OfferAgain } from "../../src/sync/offer-again.ts";
import { restart } from "../../src/sync/stop-syncing.ts";
import { batchOf, ListedEdge, Synced } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
/** The edge was put back to three records of four. */
const SINCE = 3;
let edge: ListedEdge;
let synced: Synced;

/** Four records of another device are in the kept copy. At the edge three are left, and one is new. */
beforeEach(async () => {
  synced = await Synced.make({
    kernel,
    newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
    reopen: async (volume) => volume,
  });
  edge = new ListedEdge(kernel);
  await synced.join();
  for (let i = 0; i < 4; i++) edge.append(batchOf(kernel, [`r${i}`], 5, i));
  await synced.storage.receive(edge.frame(0));
  await restart(synced.store, synced.storage, SINCE);
  await synced.reopen();
  edge.batches.pop();
  edge.append(batchOf(kernel, ["new"], 6, 0));
});

/** The device's new copy begins behind the batch in question, so the edge is asked for what lies below. */
async function checked(store: SegmentStore = synced.store): Promise<number> {
  await synced.join(edge.end);
  const offers = (await OfferAgain.open(synced.storage, store))!;
  return offers.check(edge.headers(SINCE - 1, edge.end));
}

describe("the kept copy and the edge's log, below the offset from which records are offered", () => {
  it("agree where the same batch stands in both", async () => {
    expect(await checked()).toBe(SINCE);
  });

  it("agree, as far as anybody can tell, where compaction has taken that batch at the edge", async () => {
    edge.compact(SINCE - 1);
    expect(await checked()).toBe(SINCE);
  });

  it("agree, as far as anybody can tell, where compaction has taken it from the kept copy", async () => {
    expect(await checked(await withHole())).toBe(SINCE);
  });

  it("do not agree where another batch stands there", async () => {
    edge.batches.splice(SINCE - 1);
    edge.append(batchOf(kernel, ["other"], 7, 0));
    edge.append(batchOf(kernel, ["new"], 6, 0));
    expect(await checked()).toBe(0);
  });
});

/** The store with a kept copy that has no batch at the offset in question: a read of it gives the one behind. */
async function withHole(): Promise<SegmentStore> {
  const { store } = synced;
  const find: SegmentStore["find"] = async (name) => {
    const log = (await store.find(name))!;
    const read: typeof log.read = async (from, ...more) => {
      const found = await log.read(from, ...more);
      const header = readHeader(found.bytes);
      return header.baseOffset === SINCE - 1 ? log.read(nextOffsetOf(header), ...more) : found;
    };
    return new Proxy(log, {
      get: (target, name): unknown => (name === "read" ? read : Reflect.get(target, name, target)),
    });
  };
  return { find } as Partial<SegmentStore> as SegmentStore;
}
