/**
 * Claims over the storage of a synced topic, what its readers are shown, and how a local log becomes one. Plain
 * functions, as in synced-contract.ts.
 */
import { Log } from "../../src/log/log.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { TidemarkError } from "../../src/errors.ts";
import { readHeader, stampBaseOffset } from "../../src/record/format.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { becomeSynced } from "../../src/sync/become-synced.ts";
import { restOf } from "../../src/sync/own-runs.ts";
import type { OwnRun } from "../../src/sync/sync-frames.ts";
import { PROVISIONAL_FROM } from "../../src/log/provisional-layout.ts";
import { check, equal, fails } from "./check.ts";
import type { SyncedCase } from "./synced-contract.ts";
import { batchOf, clock, EDGE, ListedEdge, MOST, namesIn, Synced, TOPIC } from "./synced-fixture.ts";

function batchAt(kernel: Kernel, name: string, offset: number): Uint8Array {
  const batch = batchOf(kernel, [name], 9, offset).slice();
  stampBaseOffset(batch, offset);
  return batch;
}

const claims: readonly SyncedCase[] = [
  {
    name: "a batch is in doubt if an offset is missing where it may have been taken",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.append("a");
      await synced.join();
      for (const name of ["x", "y", "z"]) edge.append(batchOf(host.kernel, [name], 9, edge.end));
      edge.compact(1);
      await synced.storage.receive(edge.frame(0));
      await synced.append("b");
      const stand = await synced.storage.claimStand(synced.look(edge));
      equal(stand, { readTo: 3, found: 0, unsettled: 2, inDoubt: [[0, 1]] });
      const again = await synced.storage.claimStand(synced.look(edge, { again: [[0, 1]] }));
      equal(again.inDoubt, []);
      equal(synced.storage.lowestDoubt, 0);
    },
  },
  {
    name: "what was trimmed or never received is doubt; what lies below since is not",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.append("a");
      for (let i = 0; i < 4; i++) edge.append(batchOf(host.kernel, [`x${i}`], 9, i));
      await synced.join(4);
      const fetched = edge.headers(0, 4);
      equal((await synced.storage.claimStand(synced.look(edge, { fetched }))).inDoubt, []);
      equal((await synced.storage.claimStand(synced.look(edge, { fetched: fetched.slice(2) }))).inDoubt.length, 1);
      equal((await synced.storage.claimStand(synced.look(edge, { since: 4 }))).inDoubt, []);
      edge.start = 2;
      const look = synced.look(edge, { since: 2, fetched: fetched.slice(2) });
      equal((await synced.storage.claimStand(look)).inDoubt.length, 1, "the edge has forgotten");
    },
  },
  {
    name: "what only fetched headers show is durable with the grant, also behind what is un-settled",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      const a = await synced.append("a");
      await synced.append("b");
      const c = await synced.append("c");
      edge.append(a.batch);
      edge.append(c.batch);
      await synced.join(2);
      const { found, unsettled } = await synced.storage.claimStand(synced.look(edge, { fetched: edge.headers(0, 2) }));
      equal([found, unsettled], [2, 1]);
      await synced.storage.granted({ generation: 2, next: 2, lastOffset: 2, lastCrc: 5 });
      for (let i = 0; i < 2; i++) {
        const { generation, registered, next, lastCrc } = synced.storage.outboxNote;
        equal([generation, registered, next, lastCrc], [2, true, 2, 5]);
        equal([synced.storage.start, (await synced.shown()).provisional], [1, ["b"]]);
        equal(await synced.storage.unsettledFrom(2, MOST), undefined, "c is not sent again");
        const status = await synced.log.ownRecord(({ baseSequence }) => (baseSequence === 2 ? 0 : undefined));
        equal(status, i === 0 ? { state: "committed", offset: 1 } : { state: "committed" });
        await synced.reopen();
      }
    },
  },
  {
    name: "an id is left in one commit when nothing is un-settled, and the next append draws another",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      edge.append((await synced.append("a")).batch);
      await synced.append("b");
      await synced.join(1);
      equal(await synced.storage.leave(), false);
      edge.append(batchOf(host.kernel, ["b"], 77, 1));
      await synced.storage.claimStand(synced.look(edge, { fetched: edge.headers(0, 2) }));
      equal(await synced.storage.leave(), true);
      await synced.reopen();
      equal([synced.storage.start, synced.storage.outboxNote.outbox], [2, null]);
      await synced.append("c");
      const { outbox, first, generation, registered, doubtFrom } = synced.storage.outboxNote;
      equal([outbox !== null, first, generation, registered, doubtFrom], [true, 2, 1, false, 1]);
    },
  },
  {
    name: "an outbox that has claimed leaves its id at the first append that finds it clean",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      edge.append((await synced.append("a")).batch);
      const { outbox } = synced.storage.outboxNote;
      await synced.storage.granted({ generation: 2, next: 1, lastOffset: 0, lastCrc: 5 });
      await synced.append("b");
      equal(synced.storage.outboxNote.outbox, outbox);
      edge.append(batchOf(host.kernel, ["b"], 77, 1));
      await synced.storage.receive(edge.frame(0));
      await synced.append("c");
      const note = synced.storage.outboxNote;
      check(note.outbox !== outbox, "another id");
      equal([note.first, note.generation, note.next, note.doubtFrom], [2, 1, undefined, 2]);
      equal(await synced.storage.crcEndingAt(3), readHeader(batchOf(host.kernel, ["c"], 77, 2)).crc);
    },
  },
];

const reading: readonly SyncedCase[] = [
  {
    name: "changes are one cut: committed batches, then what is un-settled at their end",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      edge.append(batchOf(host.kernel, ["x"], 9, 0));
      edge.append((await synced.append("a")).batch);
      await synced.append("b");
      await synced.storage.receive(edge.frame(0));
      const answer = await synced.log.changes(0, { provisional: 0 });
      const { committedBytes, nextOffset, nextProvisional, firstUnsettled, level } = answer;
      equal(namesIn(host.kernel, answer.bytes.subarray(0, committedBytes)), ["x", "a"]);
      const [own] = splitBatches(answer.bytes.subarray(committedBytes));
      equal([readHeader(own!).baseOffset, namesIn(host.kernel, own!)], [PROVISIONAL_FROM + 1, ["b"]]);
      equal([nextOffset, nextProvisional, firstUnsettled, level], [2, 2, 1, true]);
      // Little at a time: nothing provisional before all that is committed.
      const part = await synced.log.changes(0, { provisional: 0 }, { maxBytes: 1 });
      equal([part.nextOffset, part.nextProvisional, part.bytes.length, part.level], [1, 0, part.committedBytes, false]);
      const waiting = synced.log.changes(2, { provisional: 2, told: answer.told }, { wait: true });
      await synced.append("c");
      equal(namesIn(host.kernel, (await waiting).bytes), ["c"]);
      equal((await synced.log.changes(9, { provisional: 0 })).reset, 0);
    },
  },
  {
    name: "changes wake for a retraction, for being live, and for the log's end; a gap is never read over",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      await synced.append("a");
      await synced.append("b");
      const { log } = synced;
      let cut = await log.changes(0, { provisional: 0 });
      const woken = async (by: () => unknown) => {
        const waiting = log.changes(
          cut.nextOffset,
          { provisional: cut.nextProvisional, told: cut.told },
          { wait: true },
        );
        await by();
        return (cut = await waiting);
      };
      // The last one: neither the first un-settled position nor any end moves.
      await woken(() => synced.storage.retract(1, 2, "aside"));
      equal([cut.retracted, cut.firstUnsettled, cut.live], [[[1, 2, "aside"]], 0, false]);
      equal((await woken(() => (log.isLive = true))).live, true);
      edge.append(batchOf(host.kernel, ["x"], 9, 0));
      await synced.storage.receive(edge.frame(0));
      await synced.storage.gap(5, "trimmed");
      edge.start = 5;
      await synced.storage.receive({ bytes: batchAt(host.kernel, "y", 5), from: 5, nextOffset: 6 });
      const first = await log.changes(0, { provisional: 2 });
      equal([namesIn(host.kernel, first.bytes), first.nextOffset, first.level], [["x"], 1, false]);
      const gap = await log.changes(1, { provisional: 2 });
      equal([gap.gap, gap.nextOffset, gap.bytes.length], [[1, 5], 5, 0]);
      equal(namesIn(host.kernel, (await log.changes(5, { provisional: 2 })).bytes), ["y"]);
      const ended = fails("CLOSED", log.changes(6, { provisional: 2, told: cut.told }, { wait: true }));
      log.end(new TidemarkError("CLOSED", "opened anew"));
      await ended;
      await fails("CLOSED", log.changes(6, { provisional: 2, told: cut.told }, { wait: true }));
      await fails("CLOSED", log.changes(5, { provisional: 2 }));
    },
  },
  {
    name: "what became of an own record is known from its flush to the trim of its batch, also beyond the index",
    async run(host) {
      const synced = await Synced.make(host, { indexMax: 2 });
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      const a = await synced.append("a", "a2");
      for (const name of ["b", "c", "d"]) await synced.append(name);
      const of = (sequence: number) =>
        synced.log.ownRecord(({ baseSequence, recordCount }) =>
          sequence >= baseSequence && sequence < baseSequence + recordCount ? sequence - baseSequence : undefined,
        );
      equal(await of(1), { state: "provisional", offset: PROVISIONAL_FROM + 1 });
      equal(await of(4), { state: "provisional", offset: PROVISIONAL_FROM + 4 }, "behind the index");
      equal(await of(5), undefined);
      await synced.storage.retract(2, 3, "discarded");
      equal(await of(2), { state: "retracted" });
      edge.append(batchOf(host.kernel, ["x"], 9, 0));
      edge.append(a.batch);
      await synced.storage.receive(edge.frame(0));
      const settled = await of(1);
      check(settled === undefined || (settled.state === "committed" && settled.offset === 2), "trimmed, or at 2");
    },
  },
  {
    name: "readers are shown what the index does not hold, but for what was retracted and what the replica holds",
    async run(host) {
      const synced = await Synced.make(host, { indexMax: 2 });
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      const batches = [];
      for (let i = 0; i < 7; i++) batches.push((await synced.append(`a${i}`)).batch);
      const changed = async (): Promise<string[]> => {
        const { bytes, committedBytes } = await synced.log.changes(0, { provisional: 0 });
        return namesIn(host.kernel, bytes.subarray(committedBytes));
      };
      equal(await changed(), ["a0", "a1", "a2", "a3", "a4", "a5", "a6"]);
      equal((await synced.shown()).provisional, await changed());
      await synced.storage.retract(5, 6, "discarded");
      equal(await changed(), ["a0", "a1", "a2", "a3", "a4", "a6"]);
      // Another device's copy of this profile has pushed one of the last.
      edge.append(batches[4]!);
      await synced.storage.receive(edge.frame(0));
      equal(await changed(), ["a0", "a1", "a2", "a3", "a6"]);
      equal((await synced.shown()).provisional, await changed());
    },
  },
  {
    name: "a provisional read goes on in the outbox, and a waiting one wakes",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      edge.append(batchOf(host.kernel, ["x"], 9, 0));
      await synced.storage.receive(edge.frame(0));
      equal((await synced.log.fetch(1, { isolation: "provisional" })).nextOffset, 1);
      await synced.append("a");
      equal((await synced.log.fetch(1, { isolation: "provisional" })).nextOffset, PROVISIONAL_FROM);
      equal((await synced.log.fetch(1)).nextOffset, 1);
      equal(await synced.log.resolve("latest", "provisional"), PROVISIONAL_FROM + 1);
      equal([await synced.log.resolve("latest"), await synced.log.resolve("earliest")], [1, 0]);
      const waiting = synced.log.fetch(1, { wait: true });
      edge.append(batchOf(host.kernel, ["y"], 9, 1));
      await synced.storage.receive(edge.frame(1));
      equal(namesIn(host.kernel, (await waiting).bytes), ["y"]);
    },
  },
  {
    name: "a local log becomes an outbox: no byte moves, reads that wait end, later appends go on",
    async run(host) {
      const synced = await Synced.on(host, await host.newVolume(64 * 1024));
      const store = synced.store;
      const log = await Log.open({ store: await store.log(`${TOPIC}-0`), kernel: host.kernel, clock });
      await log.append(batchOf(host.kernel, ["a", "b"], 77, 0));
      const waiting = log.fetch(2, { wait: true });
      const ended = fails("OFFSET_OUT_OF_RANGE", waiting);
      await becomeSynced({ topic: TOPIC, store, ...EDGE, newOutboxId: synced.newOutboxId, log });
      equal((await ended).details["reason"], "synced");
      equal(store.names(), [`${TOPIC}-0.out`]);
      await log.append(batchOf(host.kernel, ["c"], 77, 2));
      await synced.reopen();
      const { outbox, first, registered } = synced.storage.outboxNote;
      equal([outbox !== null, first, registered], [true, 0, false]);
      equal((await synced.shown()).provisional, ["a", "b", "c"]);
      await synced.join();
      equal([...synced.store.names()].sort(), [`${TOPIC}-0`, `${TOPIC}-0.out`]);
    },
  },
  {
    name: "a compacted log does not become an outbox",
    async run(host) {
      const synced = await Synced.on(host, await host.newVolume(64 * 1024));
      const log = await synced.store.log(`${TOPIC}-0`);
      const batch = batchOf(host.kernel, ["a"], 77, 0);
      await log.append([batch]);
      await log.roll();
      await log.replace(0, 1, []);
      equal((await fails("INVALID_ARGUMENT", synced.become())).details["reason"], "compacted");
      equal(synced.store.names(), [`${TOPIC}-0`]);
    },
  },
  {
    name: "own batches are given with the edge's offsets, and only those that are asked for",
    async run(host) {
      const synced = await Synced.make(host);
      await synced.join();
      const crcs: number[] = [];
      for (const names of [["a", "b"], ["c"], ["d"]]) crcs.push(readHeader((await synced.append(...names)).batch).crc);
      const [first, second, third] = crcs as [number, number, number];
      const { storage } = synced;
      const bytes = (await storage.ownBytes({ position: 0, next: 3, offset: 5, crcs: [first, second] }))!;
      equal(
        splitBatches(bytes).map((batch) => readHeader(batch).baseOffset),
        [5, 7],
      );
      equal(namesIn(host.kernel, bytes), ["a", "b", "c"]);
      // One read does not hold the whole run: the first batches come now, and the rest when it is asked for.
      const crcsOfLarge: number[] = [];
      for (const name of ["A", "B", "C", "D"])
        crcsOfLarge.push(readHeader((await synced.append(name.repeat(20_000))).batch).crc);
      const given: number[][] = [];
      for (let rest: OwnRun | undefined = { position: 4, next: 8, offset: 9, crcs: crcsOfLarge }; rest;) {
        const part: Uint8Array = (await storage.ownBytes(rest))!;
        given.push(splitBatches(part).map((batch) => readHeader(batch).baseOffset));
        rest = restOf(rest, part);
      }
      equal(given.flat(), [9, 10, 11, 12]);
      check(given.length > 1, "the run lies in more than one segment");
      // Not whole batches, not these ones, not here yet: the edge has to send them.
      for (const [position, next, held] of [
        [0, 1, [first]],
        [1, 3, [second]],
        [0, 3, [first]],
        [0, 3, [first, second ^ 1]],
        [3, 9, [third]],
        [4, 8, [crcsOfLarge[0]! ^ 1, ...crcsOfLarge.slice(1)]],
      ] as const)
        equal(await storage.ownBytes({ position, next, offset: 0, crcs: held }), undefined);
      // What was trimmed is not here any more.
      const edge = new ListedEdge(host.kernel);
      edge.append((await storage.ownBytes({ position: 0, next: 2, offset: 0, crcs: [first] }))!);
      await storage.receive(edge.frame(0));
      await storage.trim();
      equal(storage.start, 2);
      equal(await storage.ownBytes({ position: 0, next: 2, offset: 0, crcs: [first] }), undefined);
    },
  },
  {
    name: "trims take the replica only, not beyond what is settled",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      for (let i = 0; i < 4; i++) edge.append(batchOf(host.kernel, [`x${i}`], 9, i));
      await synced.storage.receive(edge.frame(0));
      await synced.log.trim(2);
      equal((await synced.shown()).committed, ["x2", "x3"]);
      await fails("OFFSET_OUT_OF_RANGE", synced.log.trim(5));
      await synced.log.roll();
      await synced.log.clean();
      await synced.reopen(true);
      equal((await synced.shown()).committed, ["x2", "x3"]);
    },
  },
];

export const syncedReadingCases: readonly SyncedCase[] = [...claims, ...reading];
