/**
 * Whether the kept copy and the log that stands at the edge now agree, at the one batch that both should have: asked of
 * the real storage of a topic that was restarted with "offerAgain". And where a hole of that log keeps records back.
 * And that readers of changes are told of the new copy. The simulation has the offers.
 */
import { beforeEach, describe, expect, it } from "vitest";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { saveNotes } from "../../src/store/noted-logs.ts";
import type { SegmentStore } from "../../src/store/segment-store.ts";
import { deleteLog } from "../../src/store/trim-and-replace.ts";
import { ChangeReader } from "../../src/sync/change-reader.ts";
import { claim, type ClaimHost } from "../../src/sync/claimer.ts";
import type { EdgeLog } from "../../src/sync/edge-socket.ts";
import { copyName } from "../../src/sync/notes.ts";
import { OfferAgain } from "../../src/sync/offer-again.ts";
import { stored } from "../../src/sync/outbox.ts";
import { Signal } from "../../src/sync/signal.ts";
import { restart } from "../../src/sync/stop-syncing.ts";
import type { Joined } from "../../src/sync/sync-frames.ts";
import type { TopicCut } from "../../src/sync/topic-cut.ts";
import { batchOf, ListedEdge, Synced, type SyncedHost } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";

const kernel = await releaseKernel();
/** The edge was put back to three records of four. */
const SINCE = 3;
const host: SyncedHost = {
  kernel,
  newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
  reopen: async (volume) => volume,
};
let edge: ListedEdge;
let synced: Synced;

/** Four records of another device are in the kept copy. At the edge three are left, and one is new. */
beforeEach(async () => {
  synced = await Synced.make(host);
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

describe("readers of changes, behind a restart at a log with the same id", () => {
  const readNow = (reader: ChangeReader<never>): Promise<TopicCut> =>
    synced.log.changes(reader.committed, { provisional: reader.provisional, told: reader.told });
  const isReset = async (reader: ChangeReader<never>): Promise<boolean> => {
    const { committed: _, ...cut } = { ...(await readNow(reader)), committed: [], provisional: [] };
    return reader.take({ ...cut, committed: [] }).some(({ type }) => type === "reset");
  };

  it("are told that another copy is here, however far that has come", async () => {
    await synced.join();
    await synced.storage.receive(edge.frame(0));
    const { stream: first } = await readNow(new ChangeReader(0));
    expect([synced.storage.watermark, first]).toEqual([4, `${synced.storage.outboxNote.stream}~1`]);
    for (const [n, name] of ["one more", "and one"].entries()) edge.append(batchOf(kernel, [name], 6, n + 1));
    await synced.storage.receive(edge.frame(4));
    // One that stood in the copy of before, which had four records, and one that stands in this one.
    expect(await isReset(new ChangeReader(4, synced.storage.outboxNote.stream))).toBe(true);
    expect(await isReset(new ChangeReader(4, first))).toBe(false);
  });

  it("each time, and also where a copy of before was made anew from the edge", async () => {
    const { outboxNote } = synced.storage;
    await synced.join();
    expect(outboxNote.anew).toBe(1);
    await synced.store.find("orders.kept-0").then((kept) => deleteLog(kept!));
    const replica = synced.storage.replica!;
    await saveNotes(synced.store, [[replica.log, stored({ ...replica.note, anew: 3 })]]);
    await restart(synced.store, synced.storage);
    await synced.reopen();
    await synced.join();
    expect(copyName(synced.storage.replicaNote)).toBe(`${synced.storage.outboxNote.stream}~4`);
  });
});

/** What a join tells, as far as an offer asks. */
type Told = Pick<Joined, "forgottenAt" | "lastOffset">;

/**
 * Five records of another device and an own one behind them are in the kept copy. The edge has lost the own one, and
 * retention has taken three. What an offer with `since` comes to.
 */
async function offeredFrom(since: number, told: Told, isHoleBehind = false): Promise<unknown> {
  const mine = await Synced.make(host);
  const { storage } = mine;
  const trimmed = new ListedEdge(kernel);
  await mine.join();
  for (let i = 0; i < 5; i++) trimmed.append(batchOf(kernel, [`r${i}`], 5, i));
  const { batch } = await mine.append("mine");
  trimmed.append(batch);
  await storage.receive(trimmed.frame(0));
  await storage.trim();
  await restart(mine.store, storage, since);
  await mine.reopen();
  trimmed.batches.pop();
  trimmed.start = 3;
  const joined = { ...told, logStartOffset: 3, logEndOffset: trimmed.end, closed: false } as Joined;
  if (isHoleBehind) trimmed.compact(trimmed.append(batchOf(kernel, ["a copy's"], 8, 0)));
  await mine.join(3);
  await mine.storage.receive(trimmed.frame(3));
  let offered: unknown;
  const push: EdgeLog["push"] = async ({ at }, batches) => {
    for (const each of batches) await mine.storage.receive(trimmed.frame(trimmed.append(each)));
    return { generation: 2, next: at + batches.length, appended: [], duplicate: false, lastOffset: trimmed.end - 1 };
  };
  const claiming: Partial<ClaimHost> = {
    store: mine.storage,
    changed: new Signal(),
    isOver: () => false,
    proveTerm: () => Promise.resolve(),
    taken: () => undefined,
    offered(what) {
      offered = what;
      // A process that ends now offers again, and tells what it comes to.
      expect(mine.storage.outboxNote.offering).toBeDefined();
    },
  };
  const log = { push, fetch: async (from) => trimmed.frame(Number(from)).bytes } as Partial<EdgeLog> as EdgeLog;
  expect(await claim(claiming as ClaimHost, log, joined)).toEqual({ then: "join" });
  expect(mine.storage.outboxNote.offering).toBeUndefined();
  return offered;
}

const OFFERED = { records: 1, left: 0 };
const LEFT = { records: 0, left: 1 };

describe("holes of the edge's log, which retention and compaction leave", () => {
  it.each([0, 2, 5])(
    "below what it had when an id joined that had pushed nothing from %i on hide nothing",
    async (at) => {
      expect(await offeredFrom(at, { forgottenAt: 0, lastOffset: at - 1 })).toEqual(OFFERED);
    },
  );

  it.each([
    ["has pushed behind that", 0, { forgottenAt: 0, lastOffset: 0 }],
    ["has pushed behind that", 2, { forgottenAt: 0, lastOffset: 4 }],
    ["may be forgotten", 0, { forgottenAt: 4, lastOffset: -1 }],
  ] as const)("may hide what a copy has offered where the id %s (since %i)", async (_, since, told) => {
    expect(await offeredFrom(since, told)).toEqual(LEFT);
  });

  it("may hide it behind what the edge had when the id joined", async () => {
    expect(await offeredFrom(0, { forgottenAt: 0, lastOffset: -1 }, true)).toEqual(LEFT);
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
