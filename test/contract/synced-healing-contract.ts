/** A replica with damaged segments is healed from the edge (src/sync/healing.ts), over any volume. */
import { readHeader } from "../../src/record/format.ts";
import { readExactly } from "../../src/store/volume.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
import { damagedSegments, heal, type HealingSource } from "../../src/sync/healing.ts";
import { check, equal, fails } from "./check.ts";
import type { SyncedCase } from "./synced-contract.ts";
import { batchOf, ListedEdge, Synced, type SyncedHost } from "./synced-fixture.ts";

const SLOT_BYTES = 16 * 1024;
/** A record of some 400 bytes. */
const named = (i: number): string => `record ${i} `.padEnd(200, ".");

/** A replica of three sealed segments and an active one, and the edge that it is of. */
async function replicated(host: SyncedHost): Promise<{ synced: Synced; edge: ListedEdge }> {
  const synced = await Synced.make(host, {}, SLOT_BYTES);
  await synced.join();
  const edge = new ListedEdge(host.kernel);
  for (let i = 0; synced.storage.replica!.log.segments().length < 4; i++) {
    const from = edge.append(batchOf(host.kernel, [named(2 * i), named(2 * i + 1)], 5, 2 * i));
    await synced.storage.receive(edge.frame(from));
  }
  return { synced, edge };
}

/** Flips a bit in the middle of a segment's body, and reads it once with checksums, as a reader does. */
async function damage(synced: Synced, index: number): Promise<number> {
  const { log } = synced.storage.replica!;
  const { slot, bytes, baseOffset } = log.all[index]!;
  const at = BODY_AT + Math.floor(bytes / 2);
  const [byte] = await readExactly(synced.volume, slot, at, 1);
  await synced.volume.write(slot, at, Uint8Array.of(byte! ^ 4));
  await synced.volume.flush([slot]);
  await log.read(baseOffset, 1, log.logEndOffset, true).catch(() => undefined);
  check(
    damagedSegments(synced.storage.replica!).some(([from]) => from === baseOffset),
    "the damage is known",
  );
  return baseOffset;
}

const sourceOf = (edge: ListedEdge): HealingSource => ({
  fetch: (from) => Promise.resolve(edge.frame(from, Math.min(edge.end, from + 7)).bytes),
  logStartOffset: edge.start,
});
const healed = (synced: Synced, edge: ListedEdge, source = sourceOf(edge)) => {
  const { storage, host } = synced;
  return heal({ kernel: host.kernel, replica: storage.replica!, source, alone: (work) => storage.alone(work) });
};

export const syncedHealingCases: readonly SyncedCase[] = [
  {
    name: "damaged segments, the active one as well, are made anew from the edge, and stay so",
    async run(host) {
      const { synced, edge } = await replicated(host);
      const whole = await synced.shown();
      for (const index of [0, 2, 3]) await damage(synced, index);
      await fails("CORRUPT_RANGE", synced.shown());
      equal((await healed(synced, edge)).length, 3);
      equal(synced.storage.replica!.log.quarantined, []);
      equal(await synced.shown(), whole);
      // What comes afterwards continues behind the healed end.
      const from = edge.append(batchOf(host.kernel, ["later"], 5, 1_000));
      await synced.storage.receive(edge.frame(from));
      for (const isClean of [false, true]) {
        await synced.reopen(isClean);
        equal((await synced.shown()).committed, [...whole.committed, "later"]);
        equal(synced.storage.replica!.log.quarantined, []);
        for await (const { leaderEpoch } of synced.storage.replica!.log.headers(0))
          check(leaderEpoch <= synced.storage.replica!.log.leaderEpoch, "the epoch is this volume's");
      }
    },
  },
  {
    name: "what compaction has taken at the edge since is a hole in the healed segment",
    async run(host) {
      const { synced, edge } = await replicated(host);
      const whole = await synced.shown();
      const from = await damage(synced, 1);
      const [first, second] = edge.batches.filter((batch) => batch.from >= from);
      edge.compact(first!.from);
      edge.compact(second!.from, [1]);
      equal((await healed(synced, edge)).length, 1);
      const gone = [first!.from, first!.from + 1, second!.from].map(named);
      equal(
        (await synced.shown()).committed,
        whole.committed.filter((name) => !gone.includes(name)),
      );
    },
  },
  {
    name: "a segment that the edge has not whole any more stays damaged, and the others are healed",
    async run(host) {
      const { synced, edge } = await replicated(host);
      await damage(synced, 0);
      const second = await damage(synced, 1);
      edge.start = 2;
      equal((await healed(synced, edge)).length, 1);
      equal(damagedSegments(synced.storage.replica!).length, 1);
      equal(damagedSegments(synced.storage.replica!)[0]![0] < second, true);
    },
  },
  {
    name: "a bad batch, one that straddles the segment, or a failed request changes nothing",
    async run(host) {
      const { synced, edge } = await replicated(host);
      const from = await damage(synced, 1);
      const { fetch, logStartOffset } = sourceOf(edge);
      const bad = async (at: number, most: number): Promise<Uint8Array> => {
        const bytes = await fetch(at, most);
        bytes[bytes.length - 3]! ^= 1;
        return bytes;
      };
      await fails("INVALID_BATCH", healed(synced, edge, { logStartOffset, fetch: bad }));
      const early = (): Promise<Uint8Array> => fetch(from - 2, 1);
      equal(await healed(synced, edge, { logStartOffset, fetch: early }), []);
      const lost = (): Promise<Uint8Array> => Promise.reject(new Error("the line is cut"));
      check(
        await healed(synced, edge, { logStartOffset, fetch: lost }).then(
          () => false,
          () => true,
        ),
        "the source's error is told",
      );
      equal(damagedSegments(synced.storage.replica!).length, 1);
      equal((await healed(synced, edge)).length, 1);
    },
  },
  {
    name: "a trim while the edge is asked wins",
    async run(host) {
      const { synced, edge } = await replicated(host);
      const from = await damage(synced, 1);
      const { log } = synced.storage.replica!;
      const next = log.segments().find(({ baseOffset }) => baseOffset === from)!.nextOffset;
      const { fetch, logStartOffset } = sourceOf(edge);
      const trimming = async (at: number, most: number): Promise<Uint8Array> => {
        await log.trim(next);
        return fetch(at, most);
      };
      equal(await healed(synced, edge, { logStartOffset, fetch: trimming }), []);
      equal((await synced.shown()).committed[0], named(next));
      equal(readHeader((await log.read(next, 1, log.logEndOffset)).bytes).baseOffset, next);
    },
  },
];
