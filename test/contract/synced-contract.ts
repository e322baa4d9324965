/**
 * What a synced topic's storage must do over any volume (src/sync/topic-storage.ts, synced-log.ts). Cases are plain
 * functions, so that a host can run them where its storage is: in Node, or in a browser's worker.
 */
import { readHeader } from "../../src/record/format.ts";
import { FILLER_SPAN_MAX, isFiller } from "../../src/sync/fillers.ts";
import { PROVISIONAL_FROM } from "../../src/log/provisional-layout.ts";
import { check, equal, fails } from "./check.ts";
import { batchOf, ListedEdge, MOST, Synced, type SyncedHost } from "./synced-fixture.ts";

export interface SyncedCase {
  readonly name: string;
  run(host: SyncedHost): Promise<void>;
}

const replicaHeaders = async ({ storage }: Synced) => {
  const found = [];
  for await (const header of storage.replica!.log.headers(0)) found.push(header);
  return found;
};

const appends: readonly SyncedCase[] = [
  {
    name: "an append draws an id first, and its offsets are provisional; a repeat is a duplicate",
    async run(host) {
      const synced = await Synced.make(host);
      const drawn: string[] = [];
      synced.storage.listen({ drawn: (id) => drawn.push(id) });
      const batch = batchOf(host.kernel, ["a", "b"], 5, 0);
      const { baseOffset, lastOffset, duplicate } = await synced.log.append(batch.slice());
      equal([baseOffset, lastOffset, duplicate], [PROVISIONAL_FROM, PROVISIONAL_FROM + 1, false]);
      equal(drawn, ["00000000000000a1"]);
      const { outbox, first, registered } = synced.storage.outboxNote;
      equal([outbox, first, registered], [drawn[0], 0, false]);
      equal((await synced.log.append(batch.slice())).duplicate, true);
      await synced.reopen();
      const again = await synced.log.append(batch.slice());
      equal([again.baseOffset, again.duplicate], [PROVISIONAL_FROM, true]);
      equal((await synced.shown()).provisional, ["a", "b"]);
    },
  },
  {
    name: "what a synced topic can't do is refused by name",
    async run(host) {
      const synced = await Synced.make(host);
      const batch = batchOf(host.kernel, ["a"], 5, 0);
      equal((await fails("INVALID_ARGUMENT", synced.log.append(batch, { ifEnd: 0 }))).details, { reason: "synced" });
      for (const [from, isolation, field] of [
        [0, "provisional", "isolation"],
        [PROVISIONAL_FROM, "committed", "from"],
      ] as const) {
        const { details } = await fails("INVALID_ARGUMENT", synced.log.fetch(from, { wait: true, isolation }));
        equal(details, { field, reason: "synced" });
      }
      await fails("OFFSET_OUT_OF_RANGE", synced.log.fetch(PROVISIONAL_FROM + 5));
      await fails("OFFSET_OUT_OF_RANGE", synced.log.fetch(7));
      await fails("OFFSET_OUT_OF_RANGE", synced.log.trim(1));
    },
  },
  {
    name: "a full outbox refuses appends until some of it is at the edge",
    async run(host) {
      const synced = await Synced.make(host, { outboxBytesMax: 150 });
      const full: boolean[] = [];
      synced.storage.listen({ full: (isFull) => full.push(isFull) });
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      edge.append((await synced.append("a", "b", "c")).batch);
      edge.append((await synced.append("d", "e", "f")).batch);
      const { details } = await fails("OUTBOX_FULL", synced.append("g"));
      equal(details["outboxBytesMax"], 150);
      await synced.storage.receive(edge.frame(0));
      equal(full, [true, false]);
      await synced.append("h");
    },
  },
];

const receiving: readonly SyncedCase[] = [
  {
    name: "own batches that come back are settled, trimmed and shown once (T1)",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      const told: unknown[] = [];
      synced.storage.listen({
        settled: (runs) => told.push(...runs.map(({ from, to, offset }) => [from, to, offset])),
      });
      edge.append(batchOf(host.kernel, ["x"], 9, 0));
      edge.append((await synced.append("a", "b")).batch);
      await synced.append("c");
      equal((await synced.storage.unsettledFrom(0, MOST))!.next, 3);
      await synced.storage.receive(edge.frame(0));
      equal(told, [[0, 2, 1]]);
      equal(await synced.shown(), { committed: ["x", "a", "b"], provisional: ["c"] });
      equal([synced.storage.firstUnsettled, synced.storage.pending.records], [2, 1]);
      await synced.storage.trim();
      const { next, settledIn, doubtFrom } = synced.storage.outboxNote;
      equal([synced.storage.start, next, settledIn, doubtFrom], [2, 2, 3, 0]);
      edge.append((await synced.append("d")).batch);
      await synced.reopen();
      equal(await synced.shown(), { committed: ["x", "a", "b"], provisional: ["c", "d"] });
      check(synced.storage.firstUnsettled === 2, "c is un-settled");
    },
  },
  {
    name: "the look at opening finds what the replica shows (W8)",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      const { batch } = await synced.append("a");
      await synced.append("b");
      edge.append(batch);
      await synced.storage.receive(edge.frame(0));
      equal(synced.storage.start, 0, "one of two is settled: no trim is due");
      await synced.reopen();
      equal([synced.storage.firstUnsettled, synced.storage.start], [1, 0]);
      equal(await synced.shown(), { committed: ["a"], provisional: ["b"] });
    },
  },
  {
    name: "holes are covered by fillers, over openings; what compaction thinned is known again (T1c)",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      for (let i = 0; i < 5; i++) edge.append(batchOf(host.kernel, [`x${i}`, `y${i}`], 9, 2 * i));
      edge.append((await synced.append("a", "b", "c")).batch);
      for (const offset of [0, 4, 6]) edge.compact(offset);
      edge.compact(10, [1]);
      await synced.storage.receive(edge.frame(0));
      equal(synced.storage.pending.batches, 0);
      for (const isClean of [false, true]) {
        await synced.reopen(isClean);
        equal((await synced.shown()).committed, ["x1", "y1", "x4", "y4", "b"]);
        const shape = (await replicaHeaders(synced)).map((h) => [h.baseOffset, h.lastOffsetDelta + 1, isFiller(h)]);
        equal(shape, [
          [0, 2, true],
          [2, 2, false],
          [4, 4, true],
          [8, 2, false],
          [10, 3, false],
        ]);
      }
      // A `passed` frame is a hole as well, and the longest filler is taken.
      await synced.storage.receive({ bytes: new Uint8Array(0), from: 13, nextOffset: 13 + FILLER_SPAN_MAX + 5 });
      await synced.reopen();
      equal(synced.storage.watermark, 18 + FILLER_SPAN_MAX);
      await fails("INVALID_BATCH", synced.storage.receive({ bytes: new Uint8Array(0), from: 13, nextOffset: 2 ** 50 }));
    },
  },
  {
    name: "digests of two replicas agree, fillers or not, until a batch differs",
    async run(host) {
      const edge = new ListedEdge(host.kernel);
      for (let i = 0; i < 4; i++) edge.append(batchOf(host.kernel, [`x${i}`], 9, i));
      const [one, other] = [await Synced.make(host), await Synced.make(host)];
      await one.join();
      await other.join();
      for (let at = 0; at < 4; at++) await one.storage.receive(edge.frame(at, at + 1));
      edge.compact(1);
      await other.storage.receive(edge.frame(0));
      const digests = async (from: number, to: number) =>
        Promise.all([one, other].map(({ storage }) => storage.replica!.digest(from, to)));
      const [a, b] = await digests(2, 4);
      check(a === b && a !== 0, "equal behind the hole");
      const [c, d] = await digests(0, 4);
      check(c !== d, "another one where a batch is missing");
    },
  },
  {
    name: "what does not go on is never stored: bad bytes, falling offsets, a straddle, what follows a refused frame",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      for (let i = 0; i < 3; i++) edge.append(batchOf(host.kernel, [`x${i}`, `y${i}`], 9, 2 * i));
      const bad = edge.frame(0, 2);
      bad.bytes[70]! ^= 1;
      const [first, second] = [synced.storage.receive(bad), synced.storage.receive(edge.frame(2, 4))];
      second.catch(() => undefined);
      await fails("INVALID_BATCH", first);
      await fails("OFFSET_OUT_OF_RANGE", second);
      await fails("INVALID_BATCH", synced.storage.receive({ ...edge.frame(0, 4), nextOffset: 2 }));
      const [a, b] = [edge.frame(0, 2), edge.frame(2, 4)];
      await fails(
        "INVALID_BATCH",
        synced.storage.receive({ bytes: new Uint8Array([...b.bytes, ...a.bytes]), from: 0, nextOffset: 4 }),
      );
      equal([synced.storage.watermark, (await synced.shown()).committed], [0, []]);
      await synced.storage.receive(edge.frame(0, 4));
      // Again, and more: what is here is left out.
      await synced.storage.receive(edge.frame(0, 6));
      equal((await synced.shown()).committed, ["x0", "y0", "x1", "y1", "x2", "y2"]);
      const straddling = new ListedEdge(host.kernel);
      straddling.append(batchOf(host.kernel, ["p", "q", "r", "s", "t"], 9, 0));
      straddling.append(batchOf(host.kernel, ["u", "v", "w"], 9, 5));
      await fails("DIVERGED", synced.storage.receive(straddling.frame(5)));
      equal(synced.storage.watermark, 6);
    },
  },
  {
    name: "a gap is noted, then filled; a replica begins where it is told",
    async run(host) {
      const synced = await Synced.make(host);
      await synced.join(100);
      await synced.reopen();
      equal([synced.storage.base, synced.storage.watermark, synced.log.logStartOffset], [100, 100, 100]);
      equal(await synced.storage.gap(140, "trimmed"), [100, 140]);
      await synced.reopen();
      equal([synced.storage.replicaNote!.gaps, synced.storage.watermark], [[[100, 140, "trimmed"]], 140]);
      const { gap, nextOffset } = await synced.log.changes(100, { provisional: 0 });
      equal([gap, nextOffset], [[100, 140], 140]);
    },
  },
  {
    name: "samples go back from the end in spans that double, fillers with null",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      for (let i = 0; i < 40; i++) edge.append(batchOf(host.kernel, [`x${i}`], 9, i));
      edge.compact(39);
      await synced.storage.receive(edge.frame(0));
      const samples = await synced.storage.samples();
      equal(samples[0], [39, null]);
      equal(
        samples.map(([offset]) => offset),
        [39, 38, 36, 32, 24, 8],
      );
      equal(samples[1], [38, readHeader(edge.batches[38]!.bytes!).crc]);
    },
  },
];

const settling: readonly SyncedCase[] = [
  {
    name: "a frame that passes what was told as taken: what it does not show leaves the outbox, and no more (T2)",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      for (const name of ["a", "b", "c"]) edge.append((await synced.append(name)).batch);
      edge.append(batchOf(host.kernel, ["x"], 9, 0));
      edge.compact(1);
      synced.storage.told({ next: 3, lastOffset: 2, lastCrc: 1 });
      equal(synced.storage.firstUnsettled, 0, "nothing is received");
      await synced.append("d");
      await synced.storage.receive(edge.frame(0));
      equal(synced.storage.outboxNote.passed, 3);
      equal(synced.storage.firstUnsettled, 3);
      equal(await synced.shown(), { committed: ["a", "c", "x"], provisional: ["d"] });
      await synced.reopen();
      equal(await synced.shown(), { committed: ["a", "c", "x"], provisional: ["d"] });
    },
  },
  {
    name: "what is settled behind an un-settled position is found again: settledIn does not pass it",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      edge.append((await synced.append("a")).batch);
      // A copy of the profile discarded b, and pushed c.
      await synced.append("b");
      edge.append((await synced.append("c")).batch);
      edge.append(batchOf(host.kernel, ["x"], 9, 0));
      await synced.storage.receive(edge.frame(0));
      await synced.storage.trim();
      equal([synced.storage.start, synced.storage.outboxNote.settledIn], [1, 1]);
      await synced.reopen();
      equal(await synced.shown(), { committed: ["a", "c", "x"], provisional: ["b"] });
    },
  },
  {
    name: "what was told is forgotten with its connection",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      edge.append((await synced.append("a")).batch);
      edge.compact(0);
      synced.storage.told({ next: 1, lastOffset: 0, lastCrc: 1 });
      synced.storage.forgetTold();
      await synced.storage.receive(edge.frame(0));
      equal([synced.storage.firstUnsettled, synced.storage.toldNext], [0, 1]);
      synced.storage.told({ next: 1, lastOffset: 0, lastCrc: 1 });
      equal(synced.storage.firstUnsettled, 1);
    },
  },
  {
    name: "retracted runs are durable, and go with the trim (T3)",
    async run(host) {
      const synced = await Synced.make(host);
      await synced.join();
      for (const name of ["a", "b", "c"]) await synced.append(name);
      await synced.storage.retract(1, 2, "discarded");
      await synced.reopen();
      equal((await synced.shown()).provisional, ["a", "c"]);
      const run = await synced.storage.unsettledFrom(0, MOST);
      equal([run!.at, run!.next], [0, 1], "a plain push leaves nothing out");
      equal((await synced.storage.unsettledFrom(1, MOST))!.at, 2);
      await synced.storage.retract(0, 1, "aside");
      equal(synced.storage.outboxNote.retracted, [
        [0, 1, "aside"],
        [1, 2, "discarded"],
      ]);
      await synced.storage.trim();
      equal(
        [synced.storage.start, synced.storage.outboxNote.retracted, synced.storage.outboxNote.next],
        [2, [], undefined],
      );
      const { retracted } = await synced.log.changes(0, { provisional: 0 });
      equal(retracted.length, 2, "pages that ask late are told all the same");
    },
  },
  {
    name: "more retracted runs than a note holds: those at the front make room; one beyond is refused by name",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      await synced.append("first");
      // A copy of the profile pushed every other batch.
      for (let i = 0; i < 40; i++) {
        const { batch } = await synced.append(`a${i}`);
        if (i % 2 === 0) edge.append(batch);
      }
      await synced.storage.receive(edge.frame(0));
      const open = Array.from({ length: 20 }, (_, i) => 2 + 2 * i);
      for (const at of open.slice(0, 16)) await synced.storage.retract(at, at + 1, "discarded");
      const { details } = await fails("LIMIT_EXCEEDED", synced.storage.retract(open[16]!, open[16]! + 1, "discarded"));
      equal(details, { runsMax: 16 });
      equal(synced.storage.pending.records, 5, "nothing has changed");
      // With the un-settled one in front of them gone, all of them can go.
      await synced.storage.retract(0, 1, "discarded");
      for (const at of open.slice(16)) await synced.storage.retract(at, at + 1, "discarded");
      equal([synced.storage.pending.records, synced.storage.start], [0, 41]);
      await synced.reopen();
      equal((await synced.shown()).provisional, []);
    },
  },
  {
    name: "a claim that finds more runs than a note holds notes the nearest; the next one finds the others again",
    async run(host) {
      const synced = await Synced.make(host);
      const edge = new ListedEdge(host.kernel);
      const batches = [];
      for (let i = 0; i < 60; i++) batches.push((await synced.append(`a${i}`)).batch);
      for (let i = 1; i < 60; i += 2) edge.append(batches[i]!);
      edge.append(batchOf(host.kernel, ["x"], 9, 0));
      await synced.join(edge.end);
      let next = 0;
      for (let claims = 0; claims < 30; claims++) {
        const look = synced.look(edge, { fetched: edge.headers(0, edge.end) });
        equal((await synced.storage.claimStand(look)).inDoubt, []);
        const run = await synced.storage.unsettledFrom(next, MOST);
        equal([run!.at, run!.next], [2 * claims, 2 * claims + 1], "what was found is left out");
        const lastOffset = edge.append(run!.batches[0]!);
        const { lastCrc } = run!;
        ({ next } = run!);
        await synced.storage.granted({ generation: claims + 2, next, lastOffset, lastCrc });
        const { retracted } = synced.storage.outboxNote;
        equal(retracted.length, Math.min(16, 30 - claims), "runs of the note");
        // As after a crash: what the note does not say comes back, but behind positions that only a claim passes.
        await synced.reopen();
        const again = await synced.storage.unsettledFrom(next, MOST);
        equal(again === undefined ? undefined : again.at > next, claims === 29 ? undefined : true);
        await synced.storage.receive(edge.frame(lastOffset, lastOffset + 1));
      }
      equal(synced.storage.pending.records, 0);
    },
  },
  {
    name: "more batches than the index holds are settled in their turn",
    async run(host) {
      const synced = await Synced.make(host, { indexMax: 4 });
      const edge = new ListedEdge(host.kernel);
      await synced.join();
      const batches = [];
      for (let i = 0; i < 11; i++) batches.push((await synced.append(`a${i}`)).batch);
      equal([synced.storage.pending.records, synced.storage.pending.batches], [11, 11]);
      await synced.reopen();
      equal([synced.storage.pending.records, synced.storage.pending.batches], [11, 11]);
      equal((await synced.storage.unsettledFrom(0, MOST))!.next, 4);
      for (const batch of batches.slice(0, 9)) edge.append(batch);
      // All in one frame, with no word of what was taken; then told.
      await synced.storage.receive(edge.frame(0));
      synced.storage.told({ next: 9, lastOffset: 8, lastCrc: readHeader(batches[8]!).crc });
      await synced.storage.trim();
      equal([synced.storage.firstUnsettled, synced.storage.pending.records], [9, 2]);
      equal((await synced.shown()).provisional, ["a9", "a10"]);
      await synced.append("a11");
      for (const batch of batches.slice(9)) edge.append(batch);
      await synced.reopen();
      await synced.storage.receive(edge.frame(9));
      equal((await synced.shown()).provisional, ["a11"]);
    },
  },
];

export const syncedCases: readonly SyncedCase[] = [...appends, ...receiving, ...settling];
