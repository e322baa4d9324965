/**
 * A copy that may hold deleted records is made anew from the edge (src/sync/renewing.ts), over memory; and what the
 * edge says of the tombstones that its compaction has removed.
 */
import { assert, describe, expect, it } from "vitest";
import { withDefaults } from "../../src/log/limits.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { ChangeReader, type TopicChange } from "../../src/sync/change-reader.ts";
import type { HealingSource } from "../../src/sync/healing.ts";
import { renew } from "../../src/sync/renewing.ts";
import { SyncedLog } from "../../src/sync/synced-log.ts";
import { Compaction } from "../../worker/log-object/compaction-schedule.ts";
import { forgetTombstones, tombstonesTo } from "../../worker/stream/tombstones.ts";
import { batchOf, clock, ListedEdge, namesIn, Synced } from "../contract/synced-fixture.ts";
import { retryIn } from "../support/retry.ts";
import { Edge, kernel } from "./outbox-edge.ts";

const SLOT_BYTES = 16 * 1024;
const named = (i: number): string => `record ${i} `.padEnd(200, ".");

/** A copy of three sealed segments and an active one, and the edge that it is of. */
async function replicated(): Promise<{ synced: Synced; edge: ListedEdge }> {
  const synced = await Synced.make(
    { kernel, newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }), reopen: async (volume) => volume },
    {},
    SLOT_BYTES,
  );
  await synced.join();
  const edge = new ListedEdge(kernel);
  for (let i = 0; synced.storage.replica!.log.segments().length < 4; i++) {
    const from = edge.append(batchOf(kernel, [named(2 * i), named(2 * i + 1)], 5, 2 * i));
    await synced.storage.receive(edge.frame(from));
  }
  return { synced, edge };
}

const sourceOf = (edge: ListedEdge): HealingSource => ({
  // Also in the middle of a batch, as the edge does.
  fetch: (from) => Promise.resolve(edge.frame(from, Math.min(edge.end, from + 7)).bytes),
  get logStartOffset() {
    return edge.start;
  },
});
const renewed = ({ store, storage }: Synced, source: HealingSource): Promise<boolean> =>
  renew({ kernel, store, storage, source });
const segmentsOf = ({ storage }: Synced) => storage.replica!.log.segments();

describe("a copy that was away for longer than tombstones live", () => {
  it("loses what the edge has not any more, and keeps offsets, watermark and own records", async () => {
    const { synced, edge } = await replicated();
    const before = await synced.shown();
    const { watermark } = synced.storage;
    await synced.append("mine");
    edge.compact(0);
    edge.compact(4, [1]);
    await synced.storage.missed(watermark + 1);
    expect(synced.storage.replicaNote!.stale).toBe(watermark);
    // What comes later is received beside it.
    await synced.storage.receive(edge.frame(edge.append(batchOf(kernel, ["later"], 5, 1_000))));
    expect(await renewed(synced, sourceOf(edge))).toBe(true);
    const gone = [0, 1, 4].map(named);
    const committed = [...before.committed.filter((name) => !gone.includes(name)), "later"];
    for (const isClean of [undefined, false, true]) {
      if (isClean !== undefined) await synced.reopen(isClean);
      expect(await synced.shown()).toEqual({ committed, provisional: ["mine"] });
      expect(synced.storage.watermark).toBe(watermark + 1);
      expect(synced.storage.replicaNote).toMatchObject({ anew: 1 });
      expect(synced.storage.replicaNote).not.toHaveProperty("stale");
    }
    // Nothing is left to do.
    expect(await renewed(synced, { ...sourceOf(edge), fetch: () => Promise.reject(new Error("asked")) })).toBe(true);
  });

  it("is read from its newest records down: what goes at the edge meanwhile does not come back", async () => {
    const { synced, edge } = await replicated();
    const [, , third] = segmentsOf(synced);
    const tombstone = third!.baseOffset;
    const { fetch, logStartOffset } = sourceOf(edge);
    let asked = 0;
    const source = {
      logStartOffset,
      async fetch(from: number, maxBytes: number) {
        const bytes = await fetch(from, maxBytes);
        // The edge compacts behind the first segment that was asked for: first the record, then what deletes it.
        if (++asked === 1) {
          edge.compact(0);
          edge.compact(tombstone);
        }
        return bytes;
      },
    };
    await synced.storage.missed(edge.end + 1);
    expect(await renewed(synced, source)).toBe(true);
    expect((await synced.shown()).committed).not.toContain(named(0));
  });

  it("goes on where it was, after a lost connection or a crash at any request", async () => {
    for (let fails = 1; ; fails++) {
      const { synced, edge } = await replicated();
      const before = await synced.shown();
      edge.compact(0);
      await synced.storage.missed(edge.end + 1);
      const { fetch, logStartOffset } = sourceOf(edge);
      let asked = 0;
      const lost = (from: number, maxBytes: number): Promise<Uint8Array> =>
        ++asked === fails ? Promise.reject(new Error("the line is cut")) : fetch(from, maxBytes);
      const isDone = await renewed(synced, { fetch: lost, logStartOffset }).catch(() => false);
      await synced.reopen(fails % 2 === 0);
      const { stale } = synced.storage.replicaNote!;
      expect(await renewed(synced, sourceOf(edge))).toBe(true);
      expect((await synced.shown()).committed).toEqual(before.committed.slice(2));
      if (isDone) return;
      // Segments that were done stay so.
      expect(stale).toBeLessThanOrEqual(edge.end);
      if (fails > 20) expect(stale).toBeLessThan(edge.end);
    }
  });

  it("begins no earlier than the edge's log, which may begin inside a batch", async () => {
    const { synced, edge } = await replicated();
    const before = await synced.shown();
    const [, second] = segmentsOf(synced);
    edge.start = second!.baseOffset + 3;
    edge.batches = edge.batches.map((batch) => (batch.to <= edge.start ? { ...batch, bytes: undefined } : batch));
    await synced.storage.missed(edge.end + 1);
    const fetch = (from: number): Promise<Uint8Array> => {
      if (from < edge.start) throw new Error(`${from} is trimmed`);
      const { batches } = edge;
      const found = batches.find(({ to, bytes }) => bytes && to > from);
      return Promise.resolve(found!.bytes!.slice());
    };
    expect(await renewed(synced, { fetch, logStartOffset: edge.start })).toBe(true);
    expect(synced.log.logStartOffset).toBe(edge.start);
    expect((await synced.shown()).committed).toEqual(before.committed.slice(edge.start - 1));
  });

  it("waits while own records that a crash may forget stand above", async () => {
    const { synced, edge } = await replicated();
    const first = await synced.append("first");
    const second = await synced.append("second");
    // A copy of the profile has pushed the second one alone.
    await synced.storage.receive(edge.frame(edge.append(second.batch)));
    await synced.storage.receive(edge.frame(edge.append(batchOf(kernel, ["later"], 5, 1_000))));
    await synced.storage.missed(edge.end + 1);
    const { stale } = synced.storage.replicaNote!;
    expect(await renewed(synced, sourceOf(edge))).toBe(false);
    expect(synced.storage.replicaNote!.stale).toBe(stale);
    await synced.storage.receive(edge.frame(edge.append(first.batch)));
    expect(await renewed(synced, sourceOf(edge))).toBe(true);
    expect((await synced.shown()).provisional).toEqual([]);
  });

  it("is made anew once, although two set out at once", async () => {
    for (const held of [1, 2, 3]) {
      const { synced, edge } = await replicated();
      await synced.storage.missed(edge.end + 1);
      const { fetch, logStartOffset } = sourceOf(edge);
      let asked = 0;
      const slow = async (from: number, maxBytes: number): Promise<Uint8Array> => {
        const bytes = await fetch(from, maxBytes);
        if (++asked === held) expect(await renewed(synced, sourceOf(edge))).toBe(true);
        return bytes;
      };
      expect(await renewed(synced, { fetch: slow, logStartOffset })).toBe(true);
      expect(synced.storage.replicaNote).toMatchObject({ anew: 1 });
      expect(synced.storage.replicaNote).not.toHaveProperty("stale");
    }
  });

  it("takes in what a join notes as stale meanwhile", async () => {
    const { synced, edge } = await replicated();
    await synced.storage.missed(edge.end + 1);
    const { fetch, logStartOffset } = sourceOf(edge);
    let asked = 0;
    const source = {
      logStartOffset,
      async fetch(from: number, maxBytes: number) {
        const bytes = await fetch(from, maxBytes);
        if (++asked !== 1) return bytes;
        const later = edge.append(batchOf(kernel, ["later"], 5, 1_000));
        await synced.storage.receive(edge.frame(later));
        edge.compact(later);
        await synced.storage.missed(edge.end + 1);
        return bytes;
      },
    };
    expect(await renewed(synced, source)).toBe(true);
    expect((await synced.shown()).committed).not.toContain("later");
    expect(synced.storage.replicaNote).toMatchObject({ anew: 1 });
  });

  it("is trimmed by its retention meanwhile, and not compacted", async () => {
    const { synced, edge } = await replicated();
    const { storage } = synced;
    await storage.missed(edge.end + 1);
    const settings = withDefaults({ retention: { maxRecords: 1 }, compaction: { minLagMs: 0 } });
    const log = new SyncedLog({ storage, kernel, clock, settings: () => settings });
    const [, , , active] = segmentsOf(synced);
    expect((await log.clean()).retired.segments).toBe(3);
    expect(log.logStartOffset).toBe(active!.baseOffset);
    expect(storage.replica!.log.compacted).toBeUndefined();
  });

  it("forgets what a compaction that began before has passed, wherever that was", async () => {
    const settings = withDefaults({ compaction: { minLagMs: 0 } });
    // The first is the look for what has settled, and then the pass begins.
    for (let at = 2; ; at++) {
      const { synced, edge } = await replicated();
      const { storage } = synced;
      const log = new SyncedLog({ storage, kernel, clock, settings: () => settings });
      const { log: copy } = storage.replica!;
      const alone = storage.alone.bind(storage);
      let count = 0;
      storage.alone = async (work) => {
        if (++count !== at) return alone(work);
        Object.assign(storage, { alone });
        await storage.missed(edge.end + 1);
        expect(await renewed(synced, sourceOf(edge))).toBe(true);
        return storage.alone(work);
      };
      const { compacted } = await log.clean();
      if (count < at) {
        expect(copy.compacted!.to).toBeGreaterThan(0);
        expect(at).toBeGreaterThan(3);
        return;
      }
      expect([compacted.segments, copy.compacted?.to ?? 0]).toEqual([0, 0]);
      await log.clean();
      expect(copy.compacted!.to).toBeGreaterThan(0);
    }
  });

  it("is not made anew where nothing was missed, or nothing is there", async () => {
    const { synced, edge } = await replicated();
    for (const to of [undefined, 0, edge.end]) await synced.storage.missed(to);
    expect(synced.storage.replicaNote).not.toHaveProperty("stale");
    const fresh = await Synced.make({
      ...synced.host,
      newVolume: async (slotBytes) => new MemoryVolume({ slotBytes }),
    });
    await fresh.storage.missed(9);
    await fresh.join();
    await fresh.storage.missed(9);
    expect(fresh.storage.replicaNote).not.toHaveProperty("stale");
  });

  it("readers of changes begin again, and are told own records without a place anew", async () => {
    const { synced, edge } = await replicated();
    await synced.append("mine");
    const reader = new ChangeReader<{ id: string; offset: number }>(0);
    const next = async (wait = false): Promise<TopicChange<{ id: string; offset: number }>[]> => {
      const { committed, provisional, told } = reader;
      const cut = await synced.log.changes(committed, { provisional, told }, { wait, maxBytes: 1 << 20 });
      const ids = (bytes: Uint8Array) => namesIn(kernel, bytes).map((id, i) => ({ id, offset: committed + i }));
      const own = ids(cut.bytes.subarray(cut.committedBytes)).map(({ id }) => ({ id, offset: 2 ** 52 }));
      return reader.take({ ...cut, committed: ids(cut.bytes.subarray(0, cut.committedBytes)), provisional: own });
    };
    const types = (changes: readonly TopicChange<unknown>[]): string => changes.map(({ type }) => type).join();
    expect(types(await next())).toMatch(/^(append,)+level$/);
    const waiting = next(true);
    edge.compact(0);
    await synced.storage.missed(edge.end + 1);
    await renewed(synced, sourceOf(edge));
    synced.log.renewed();
    expect(await waiting).toEqual([{ type: "reset", logStartOffset: 0 }]);
    const again = await next();
    expect(types(again)).toMatch(/^(append,)+level$/);
    const ids = again.flatMap((change) => (change.type === "append" ? change.record.id : []));
    expect(ids).not.toContain(named(0));
    expect(ids.at(-1)).toBe("mine");
  });

  it("readers that go on from a stored offset after the renewal begin again, by the name of the copy", async () => {
    const { synced, edge } = await replicated();
    const { storage, log } = synced;
    const levelOf = async (reader: ChangeReader<{ id: string; offset: number }>) => {
      const { committed, provisional, told } = reader;
      const cut = await log.changes(committed, { provisional, told }, { maxBytes: 1 << 20 });
      return reader.take({ ...cut, committed: [], provisional: [] }).at(-1)!;
    };
    const stored = await levelOf(new ChangeReader(0));
    assert(stored.type === "level" && stored.copy !== null);
    expect(stored.watermark).toBe(storage.watermark);
    const again = (): ChangeReader<{ id: string; offset: number }> => new ChangeReader(stored.watermark, stored.copy);
    expect(await levelOf(again())).toEqual(stored);
    edge.compact(0);
    await storage.missed(edge.end + 1);
    // While it is stale the copy is the same.
    expect(await levelOf(again())).toEqual(stored);
    await renewed(synced, sourceOf(edge));
    const reader = again();
    expect(await levelOf(reader)).toEqual({ type: "reset", logStartOffset: 0 });
    const level = await levelOf(reader);
    expect(level).toMatchObject({ type: "level", watermark: stored.watermark });
    expect(level.type === "level" && level.copy).not.toBe(stored.copy);
    // An offset alone says nothing of its copy.
    expect(await levelOf(new ChangeReader(stored.watermark))).toEqual(level);
  });
});

describe("tombstones that the edge's compaction has removed", () => {
  const keyed = (key: string, value: string | null): Uint8Array => {
    const builder = new BatchBuilder(kernel);
    const text = (of: string) => new TextEncoder().encode(of);
    builder.tryAppend({ key: text(key), value: value === null ? null : text(value), timestamp: 1 });
    return builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
  };

  it("are told by a join from the swap on that removes them, and after the object has slept", async () => {
    const edge = await new Edge().open({ compaction: { minLagMs: 0, tombstoneRetentionMs: 60_000 } });
    const { stream, sql } = edge;
    const compaction = new Compaction({
      stream: () => stream,
      kernel: () => Promise.resolve(kernel),
      now: () => edge.now,
      hasBucket: () => false,
      event: () => undefined,
      retry: retryIn(sql, () => edge.now, "compaction"),
      abort: () => undefined,
    });
    const pass = async (ms: number): Promise<number | undefined> => {
      edge.now += ms;
      await compaction.run();
      return (await edge.join()).tombstonesTo;
    };
    for (const [key, value] of [
      ["a", "1"],
      ["b", "1"],
      ["b", null],
      ["c", "1"],
    ] as const)
      await stream.appendBatches([keyed(key, value)], undefined);
    expect((await edge.join()).tombstonesTo).toBe(0);
    await stream.log.roll();
    // The deleted record goes, and what deletes it stays.
    expect(await pass(1_000)).toBe(0);
    expect(await pass(200_000)).toBe(3);
    await edge.open();
    expect((await edge.join()).tombstonesTo).toBe(3);
  });

  it("may be any of what was compacted before this was told", async () => {
    const { stream } = await new Edge().open();
    const { tables } = stream;
    tables.saveMeta("compaction", JSON.stringify({ to: 12, dueAt: null, doneAt: 1 }));
    expect(tombstonesTo(tables)).toBe(12);
    forgetTombstones(tables, 0);
    tables.saveMeta("compaction", JSON.stringify({ to: 40, dueAt: null, doneAt: 1 }));
    expect(tombstonesTo(tables)).toBe(12);
    forgetTombstones(tables, 7);
    expect(tombstonesTo(tables)).toBe(12);
    forgetTombstones(tables, 31);
    expect(tombstonesTo(tables)).toBe(31);
  });
});
