/**
 * Power cuts at every call of a synced topic's storage, in every way that images.ts knows. From whatever is left the
 * topic opens again, goes on from the edge, and ends where nothing had happened: the windows W1 to W17 of docs/sync.md
 * that lie in the storage (W9 and W16 also in noted-logs.test.ts).
 */
import { describe, expect, it } from "vitest";
import type { Volume } from "../../src/store/volume.ts";
import { batchOf, EDGE, ListedEdge, MOST, Synced, type SyncedHost, TOPIC } from "../contract/synced-fixture.ts";
import { releaseKernel } from "../support/kernels.ts";
import { imagesOf } from "../worlds/images.ts";
import { type Moment, RecordingVolume } from "../worlds/recording-volume.ts";

const SLOT = 16 * 1024;
const kernel = await releaseKernel();
const host: SyncedHost = {
  kernel,
  newVolume: async (slotBytes) => new RecordingVolume(slotBytes),
  reopen: async (volume: Volume) => volume,
};

interface Cut {
  readonly synced: Synced;
  readonly edge: ListedEdge;
  /** The last call that had returned. */
  readonly call: string;
}

interface Story {
  readonly edge: ListedEdge;
  readonly begin: (synced: Synced) => Promise<void>;
  readonly work: (synced: Synced) => Promise<void>;
}

/** Every state that a power cut inside `work` may leave, opened; equal ones once. */
async function cuts({ edge, begin, work }: Story): Promise<Cut[]> {
  const first = await Synced.make(host, {}, SLOT);
  await begin(first);
  const volume = first.volume as RecordingVolume;
  const moments: Moment[] = (volume.moments = [volume.now("begin")]);
  await work(first);
  volume.moments = undefined;
  const found = new Map<string, Cut>();
  for (const moment of moments) {
    for (const { image } of imagesOf(moment)) {
      const key = image.map((slot) => kernel.crc32c(slot)).join();
      if (found.has(key)) continue;
      const synced = await Synced.on(host, new RecordingVolume(SLOT, image));
      if (synced.store.names().includes(`${TOPIC}-0.out`)) await synced.open();
      found.set(key, { synced, edge, call: moment.call });
    }
  }
  expect(found.size).toBeGreaterThan(2);
  return [...found.values()];
}

/** Follows to the edge's end, as a session does behind a join of row 11. */
async function follow({ synced, edge }: Cut): Promise<void> {
  const { storage } = synced;
  await storage.createReplica(0);
  if (storage.watermark < edge.start) await storage.gap(edge.start, "trimmed");
  if (storage.watermark < edge.end) await storage.receive(edge.frame(storage.watermark));
}

const sorted = (names: readonly string[]): string[] => [...names].sort();

describe("a power cut at every write of", () => {
  it("an append leaves it whole, or nothing; sent again it is there once (W1, W2)", async () => {
    const seen = new Set<string>();
    for (const { synced } of await cuts({
      edge: new ListedEdge(kernel),
      begin: async (synced) => void (await synced.append("a")),
      work: async (synced) => void (await synced.append("b", "c")),
    })) {
      const { provisional } = await synced.shown();
      seen.add(provisional.join(""));
      // The tab that was told nothing, or did not hear it, sends both again.
      for (const [names, at] of [[["a"], 0] as const, [["b", "c"], 1] as const])
        expect((await synced.append(...names)).at).toBe(at);
      expect((await synced.shown()).provisional).toEqual(["a", "b", "c"]);
    }
    // What was acknowledged is always there.
    expect([...seen].sort()).toEqual(["a", "abc"]);
  });

  it("what is on its way to the edge changes nothing here until it comes back (W3 to W6)", async () => {
    const edge = new ListedEdge(kernel);
    const places = new Set<string>();
    const told = ({ storage }: Synced): void => storage.told({ next: 2, lastOffset: 1, lastCrc: 1 });
    for (const cut of await cuts({
      edge,
      begin: async (synced) => {
        await synced.join();
        for (const name of ["a", "b"]) edge.append((await synced.append(name)).batch);
      },
      work: async (synced) => {
        // The run that a push carries, and its answer.
        await synced.storage.unsettledFrom(0, MOST);
        told(synced);
        for (const to of [1, 2]) await synced.storage.receive(edge.frame(to - 1, to));
        await synced.storage.trim();
      },
    })) {
      const { storage } = cut.synced;
      const { committed, provisional } = await cut.synced.shown();
      expect(sorted([...committed, ...provisional])).toEqual(["a", "b"]);
      expect([storage.toldNext, storage.outboxNote.next ?? 2]).toEqual([undefined, 2]);
      places.add(`${committed.length} ${storage.start}`);
      told(cut.synced);
      await follow(cut);
      expect(await cut.synced.shown()).toEqual({ committed: ["a", "b"], provisional: [] });
    }
    expect([...places].sort()).toEqual(["0 0", "1 0", "2 0", "2 2"]);
  });

  it("a registration is noted, or is asked for once more (W11)", async () => {
    const seen = new Set<string>();
    const registration = { owner: "me", stream: "s1", isFine: true };
    for (const { synced } of await cuts({
      edge: new ListedEdge(kernel),
      begin: async (synced) => void (await synced.append("a")),
      work: (synced) => synced.storage.joined(registration),
    })) {
      const { registered, owner, stream, outbox } = synced.storage.outboxNote;
      seen.add(`${registered} ${owner} ${stream}`);
      await synced.storage.joined(registration);
      expect(synced.storage.outboxNote).toMatchObject({ registered: true, owner: "me", stream: "s1", outbox });
      expect((await synced.storage.unsettledFrom(0, MOST))!.at).toBe(0);
    }
    expect([...seen].sort()).toEqual(["false null null", "true me s1"]);
  });

  it("a new leader's opening leaves what was there, and no term comes twice (W17)", async () => {
    const edge = new ListedEdge(kernel);
    const terms = new Set<number>();
    let before = 0;
    let note: unknown;
    for (const cut of await cuts({
      edge,
      begin: async (synced) => {
        await synced.join();
        edge.append((await synced.append("a")).batch);
        await synced.append("b");
        await synced.storage.receive(edge.frame(0));
        before = synced.store.epoch;
        note = synced.storage.outboxNote;
      },
      work: (synced) => synced.reopen(),
    })) {
      const { store, storage } = cut.synced;
      // Nobody has spoken in a term whose opening was cut off.
      terms.add(store.epoch);
      expect(store.epoch).toBeGreaterThan(before);
      expect(storage.outboxNote).toEqual(note);
      expect(await cut.synced.shown()).toEqual({ committed: ["a"], provisional: ["b"] });
    }
    expect([...terms].sort()).toEqual([before + 1, before + 2]);
  });

  it("a received frame leaves whole batches in front, and the follow goes on there (W7)", async () => {
    const edge = new ListedEdge(kernel);
    for (let i = 0; i < 3; i++) edge.append(batchOf(kernel, [`x${i}`, `y${i}`], 9, 2 * i));
    edge.compact(2);
    const all = ["x0", "y0", "x2", "y2"];
    const ends = new Set<number>();
    for (const cut of await cuts({
      edge,
      begin: (synced) => synced.join(),
      work: (synced) => synced.storage.receive(edge.frame(0)),
    })) {
      ends.add(cut.synced.storage.watermark);
      const { committed } = await cut.synced.shown();
      expect(all.slice(0, committed.length)).toEqual(committed);
      await follow(cut);
      expect((await cut.synced.shown()).committed).toEqual(all);
      expect(cut.synced.storage.replica!.log.quarantined).toEqual([]);
    }
    // A tear inside the one write of the frame leaves its first batch.
    expect([...ends].sort()).toEqual([0, 2, 6]);
  });

  it("own batches that come back shows each once, before and behind the follow (W8, W9)", async () => {
    const edge = new ListedEdge(kernel);
    const places = new Set<string>();
    for (const cut of await cuts({
      edge,
      begin: async (synced) => {
        await synced.join();
        for (const name of ["a", "b"]) edge.append((await synced.append(name)).batch);
        await synced.append("c");
      },
      work: async (synced) => {
        await synced.storage.receive(edge.frame(0));
        await synced.storage.trim();
      },
    })) {
      const { committed, provisional } = await cut.synced.shown();
      expect(sorted([...committed, ...provisional])).toEqual(["a", "b", "c"]);
      places.add(`${committed.length} ${cut.synced.storage.start}`);
      await follow(cut);
      expect(await cut.synced.shown()).toEqual({ committed: ["a", "b"], provisional: ["c"] });
      expect((await cut.synced.storage.unsettledFrom(0, MOST))!.at).toBe(2);
    }
    // Not flushed; flushed and not trimmed; trimmed.
    expect([...places].sort()).toEqual(["0 0", "1 0", "2 0", "2 2"]);
  });

  it("a frame that passes what was told brings nothing back on top of what superseded it (W10)", async () => {
    const edge = new ListedEdge(kernel);
    const starts = new Set<number>();
    for (const cut of await cuts({
      edge,
      begin: async (synced) => {
        await synced.join();
        for (const name of ["a", "b", "c"]) edge.append((await synced.append(name)).batch);
        edge.append(batchOf(kernel, ["newer"], 9, 0));
        edge.compact(1);
        synced.storage.told({ next: 3, lastOffset: 2, lastCrc: 1 });
      },
      work: async (synced) => {
        await synced.storage.receive(edge.frame(0));
        await synced.storage.trim();
      },
    })) {
      const { committed, provisional } = await cut.synced.shown();
      starts.add(cut.synced.storage.start);
      const names = [...committed, ...provisional];
      expect(new Set(names).size, "nothing twice").toBe(names.length);
      // Once what superseded it is shown, b is not.
      if (committed.includes("newer")) expect(names).not.toContain("b");
      for (const name of ["a", "c"]) expect(names, `${name} is seen`).toContain(name);
      // No word of the earlier connection counts; a join is answered as before.
      cut.synced.storage.told({ next: 3, lastOffset: 2, lastCrc: 1 });
      await follow(cut);
      expect(await cut.synced.shown()).toEqual({ committed: ["a", "c", "newer"], provisional: [] });
    }
    expect([...starts].sort()).toEqual([0, 2, 3]);
  });

  it("a frame that passes what was told brings back nothing that an earlier word has settled (W10)", async () => {
    const edge = new ListedEdge(kernel);
    const seen = new Set<string>();
    for (const cut of await cuts({
      edge,
      begin: async (synced) => {
        const { storage } = synced;
        await synced.join();
        for (const name of ["a", "b"]) edge.append((await synced.append(name)).batch);
        edge.append(batchOf(kernel, ["newer"], 9, 0));
        edge.compact(1);
        // As in a claim: the place of b is passed, and then told. The others keep it from being trimmed.
        await storage.receive(edge.frame(0));
        const { batch } = await synced.append("c");
        await synced.append("d");
        storage.told({ next: 2, lastOffset: 1, lastCrc: 1 });
        expect((await synced.shown()).provisional).toEqual(["c", "d"]);
        expect(storage.start).toBe(0);
        edge.append(batch);
        storage.told({ next: 3, lastOffset: 3, lastCrc: 2 });
      },
      work: (synced) => synced.storage.receive(edge.frame(3)),
    })) {
      const { committed, provisional } = await cut.synced.shown();
      seen.add([...committed, "|", ...provisional].join(" "));
      cut.synced.storage.told({ next: 3, lastOffset: 3, lastCrc: 2 });
      await follow(cut);
      expect(await cut.synced.shown()).toEqual({ committed: ["a", "newer", "c"], provisional: ["d"] });
    }
    // While c is not there, b may be as it was before.
    expect([...seen].sort()).toEqual(["a newer c | d", "a newer | b c d", "a newer | c d"]);
  });

  it("the making of a replica leaves none, or an empty one at its base (W12)", async () => {
    const edge = new ListedEdge(kernel);
    for (let i = 0; i < 4; i++) edge.append(batchOf(kernel, [`x${i}`], 9, i));
    const bases = new Set<number | undefined>();
    for (const cut of await cuts({
      edge,
      begin: async () => undefined,
      work: (synced) => synced.storage.createReplica(2),
    })) {
      const { storage } = cut.synced;
      bases.add(storage.base);
      await storage.createReplica(2);
      expect([storage.base, storage.watermark, storage.replicaNote!.from]).toEqual([2, 2, 2]);
      await storage.receive(edge.frame(2));
      expect((await cut.synced.shown()).committed).toEqual(["x2", "x3"]);
    }
    expect([...bases]).toEqual([undefined, 2]);
  });

  it("a gap is noted before it is filled (W13)", async () => {
    const edge = new ListedEdge(kernel);
    for (let i = 0; i < 6; i++) edge.append(batchOf(kernel, [`x${i}`], 9, i));
    const seen = new Set<string>();
    for (const cut of await cuts({
      edge,
      begin: async (synced) => {
        await synced.join();
        await synced.storage.receive(edge.frame(0, 2));
        edge.start = 4;
      },
      work: async (synced) => void (await synced.storage.gap(4, "trimmed")),
    })) {
      const { storage } = cut.synced;
      const { gaps } = storage.replicaNote!;
      seen.add(`${gaps.length} ${storage.watermark}`);
      expect(storage.watermark === 2 || gaps.length === 1).toBe(true);
      // Readers are told of as much of it as the copy has passed: else they were sent back and forth.
      const { gap, reset, nextOffset } = await cut.synced.log.changes(2, { provisional: 0 });
      expect([gap, reset, nextOffset]).toEqual(
        storage.watermark === 2 ? [undefined, undefined, 2] : [[2, 4], undefined, 4],
      );
      await follow(cut);
      expect(storage.replicaNote!.gaps).toEqual([[2, 4, "trimmed"]]);
      expect((await cut.synced.shown()).committed).toEqual(["x0", "x1", "x4", "x5"]);
    }
    expect([...seen].sort()).toEqual(["0 2", "1 2", "1 4"]);
  });

  it("a retraction leaves a provisional record, or a retracted one (W15)", async () => {
    const seen = new Set<string>();
    for (const cut of await cuts({
      edge: new ListedEdge(kernel),
      begin: async (synced) => {
        await synced.join();
        for (const name of ["a", "b"]) await synced.append(name);
      },
      work: (synced) => synced.storage.retract(0, 1, "aside"),
    })) {
      const { provisional } = await cut.synced.shown();
      const { retracted } = cut.synced.storage.outboxNote;
      seen.add(`${provisional.join("")} ${retracted.length}`);
      await cut.synced.storage.retract(0, 1, "aside");
      expect((await cut.synced.shown()).provisional).toEqual(["b"]);
    }
    expect([...seen].sort()).toEqual(["ab 0", "b 1"]);
  });

  it("a grant leaves the old generation with all positions, or the new one with those that are not found", async () => {
    const edge = new ListedEdge(kernel);
    const seen = new Set<string>();
    for (const { synced } of await cuts({
      edge,
      begin: async (synced) => {
        for (const name of ["a", "b", "c"]) {
          const { batch } = await synced.append(name);
          if (name !== "b") edge.append(batch);
        }
        await synced.join(2);
        await synced.storage.claimStand(synced.look(edge, { fetched: edge.headers(0, 2) }));
      },
      work: (synced) => synced.storage.granted({ generation: 2, next: 2, lastOffset: 5, lastCrc: 7 }),
    })) {
      const { generation, next } = synced.storage.outboxNote;
      seen.add(`${generation} ${next} ${(await synced.shown()).provisional.join("")}`);
    }
    expect([...seen].sort()).toEqual(["1 undefined abc", "2 2 b"]);
  });

  it("a local log becomes an outbox with all its records, or stays as it is (W16)", async () => {
    const seen = new Set<string>();
    const log = `${TOPIC}-0`;
    const volume = new RecordingVolume(SLOT);
    const local = await Synced.on(host, volume);
    const stored = await local.store.log(log);
    await stored.append([batchOf(kernel, ["a", "b"], 77, 0)]);
    await stored.flush();
    const moments: Moment[] = (volume.moments = [volume.now("begin")]);
    await local.become();
    volume.moments = undefined;
    for (const moment of moments) {
      for (const { image } of imagesOf(moment)) {
        const synced = await Synced.on(host, new RecordingVolume(SLOT, image));
        seen.add(synced.store.names().join());
        await synced.become();
        await synced.open();
        expect((await synced.shown()).provisional).toEqual(["a", "b"]);
        expect(synced.storage.outboxNote).toMatchObject({ ...EDGE, first: 0, registered: false });
      }
    }
    expect([...seen]).toEqual([log, `${log}.out`]);
  });
});
