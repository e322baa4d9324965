/**
 * What every segmented store must do, whatever volume lies under it. Cases are plain functions, so that a host runs them
 * where its storage lives: Node, a browser's worker. See test/unit/store.test.ts and test/browser for the adapters.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { readHeader, stampBaseOffset } from "../../src/record/format.ts";
import { readExactly, type Volume } from "../../src/store/volume.ts";
import { bodyOf, indexesOf } from "../../src/store/look.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { SegmentedLog } from "../../src/store/segmented-log.ts";
import { BODY_AT } from "../../src/store/slot.ts";
import { check, equal, fails } from "./check.ts";

export interface StoreHost {
  readonly kernel: Kernel;
  /** A new, empty volume. */
  newVolume(slotBytes: number): Promise<Volume>;
  /** The same storage again, after volume.close(). */
  reopen(volume: Volume): Promise<Volume>;
}

export interface StoreCase {
  readonly name: string;
  run(host: StoreHost): Promise<void>;
}

const SLOT = 64 * 1024;
let clock = 1_000_000;
const now = () => clock++;

/** A batch of `count` records with values of `size` bytes; timestamps rise by one from `timestamp`. */
export function makeBatch(kernel: Kernel, baseOffset: number, count: number, size = 100, timestamp = 1000): Uint8Array {
  const lengths = new Int32Array(count * 3);
  const timestamps = new Float64Array(count);
  for (let i = 0; i < count; i++) {
    lengths.set([-1, size, 0], i * 3);
    timestamps[i] = timestamp + i;
  }
  const blob = new Uint8Array(count * size).map((_, i) => (i * 31 + baseOffset) & 0xff);
  const { status, bytes } = kernel.encodeBatch({ blob, lengths, timestamps, count, attributes: 0, producerId: -1, producerEpoch: -1, baseSequence: -1 });
  equal(status, 0, "encode status");
  stampBaseOffset(bytes, baseOffset);
  return bytes;
}

/** Appends `batches` batches of `count` records, one call each; returns their bytes as stored. */
async function fill(host: StoreHost, log: SegmentedLog, batches: number, count = 10, size = 100): Promise<Uint8Array[]> {
  const made: Uint8Array[] = [];
  for (let i = 0; i < batches; i++) {
    const batch = makeBatch(host.kernel, log.logEndOffset, count, size, 1000 + log.logEndOffset * 10);
    await log.append([batch]);
    made.push(batch);
  }
  await log.flush();
  return made;
}

async function readAll(log: SegmentedLog, from = log.logStartOffset, maxBytes = 8000): Promise<Uint8Array[]> {
  const batches: Uint8Array[] = [];
  let offset = from;
  while (offset < log.logEndOffset) {
    const { bytes, nextOffset } = await log.read(offset, maxBytes, log.logEndOffset);
    check(nextOffset > offset, `read at ${offset} moves on`);
    for (let at = 0; at < bytes.length; ) {
      const { sizeBytes } = readHeader(bytes, at);
      batches.push(bytes.slice(at, at + sizeBytes));
      at += sizeBytes;
    }
    offset = nextOffset;
  }
  return batches;
}

const openStore = (host: StoreHost, volume: Volume) => SegmentStore.open({ volume, kernel: host.kernel, now });

/** Ends the store without its goodbye, as a killed process would, and opens what is there. */
async function crash(host: StoreHost, volume: Volume): Promise<{ store: SegmentStore; volume: Volume }> {
  await volume.close();
  const again = await host.reopen(volume);
  return { store: await openStore(host, again), volume: again };
}

async function flipBit(volume: Volume, slot: number, position: number, mask = 1): Promise<void> {
  const byte = await readExactly(volume, slot, position, 1);
  await volume.write(slot, position, byte.map((value) => value ^ mask));
  await volume.flush([slot]);
}

export const storeCases: readonly StoreCase[] = [
  {
    name: "a new log is empty and starts at 0",
    async run(host) {
      const store = await openStore(host, await host.newVolume(SLOT));
      const log = await store.log("orders-0");
      equal([log.logStartOffset, log.logEndOffset, log.flushedOffset], [0, 0, 0]);
      equal((await log.read(0, 1000, 0)).bytes.length, 0);
      await fails("OFFSET_OUT_OF_RANGE", log.read(1, 1000, 1));
      await fails("INVALID_ARGUMENT", store.log("no/slash"));
      check((await store.log("orders-0")) === log, "the same log again");
      await store.close();
      await fails("CLOSED", log.append([makeBatch(host.kernel, 0, 1)]));
    },
  },
  {
    name: "appended batches are read back with offset and epoch stamped, nothing else changed",
    async run(host) {
      const store = await openStore(host, await host.newVolume(SLOT));
      const log = await store.log("a");
      const first = makeBatch(host.kernel, 0, 3);
      const body = first.slice(16);
      await log.append([first, makeBatch(host.kernel, 3, 2)]);
      equal([log.logEndOffset, log.flushedOffset], [5, 0]);
      await log.flush();
      equal(log.flushedOffset, 5);
      const [one, two] = await readAll(log);
      equal(one!.slice(16), body, "bytes from the magic on");
      equal(readHeader(one!).leaderEpoch, log.leaderEpoch);
      equal(readHeader(two!).baseOffset, 3);
      equal((await log.read(4, 10_000, 5)).bytes, two, "from inside a batch");
      equal((await log.read(0, 1, 5)).bytes, one, "at least one batch");
      equal((await log.read(0, 10_000, 3)).bytes, one, "none at the limit");
      await store.close();
    },
  },
  {
    name: "the log rolls into new segments and reads go across them",
    async run(host) {
      const store = await openStore(host, await host.newVolume(SLOT));
      const log = await store.log("a");
      const made = await fill(host, log, 200);
      const segments = log.segments();
      check(segments.length >= 4, `rolled: ${segments.length}`);
      check(segments.slice(0, -1).every((s) => s.state === "sealed" && s.offsetEntries > 5 && s.timeEntries > 5), "indexed");
      for (const [i, segment] of segments.entries()) equal(segment.baseOffset, i === 0 ? 0 : segments[i - 1]!.nextOffset);
      equal(await readAll(log), made, "all batches");
      for (const from of [0, 5, 999, 1000, 1234, 1999]) {
        const { bytes } = await log.read(from, 1, 2000);
        const header = readHeader(bytes);
        check(header.baseOffset <= from && from <= header.baseOffset + header.lastOffsetDelta, `batch of ${from}`);
      }
      await store.close();
    },
  },
  {
    name: "a clean re-open has the same bytes, a higher epoch, and nothing to report",
    async run(host) {
      const volume = await host.newVolume(SLOT);
      const store = await openStore(host, volume);
      const log = await store.log("a");
      const made = await fill(host, log, 120);
      const before = log.segments();
      await store.close();
      const again = await openStore(host, await host.reopen(volume));
      equal(again.names(), ["a"]);
      const reopened = await again.log("a");
      equal(await readAll(reopened), made);
      equal(reopened.segments(), before, "segments and their rebuilt indexes");
      check(reopened.recovery.cleanShutdown && !reopened.recovery.cut, "clean");
      check(reopened.leaderEpoch > log.leaderEpoch, "epoch rises");
      await reopened.append([makeBatch(host.kernel, reopened.logEndOffset, 1)]);
      await again.close();
    },
  },
  {
    name: "an unclean re-open keeps everything flushed and goes on appending, again and again",
    async run(host) {
      let volume = await host.newVolume(SLOT);
      let store = await openStore(host, volume);
      const made: Uint8Array[] = [];
      for (let life = 0; life < 5; life++) {
        const log = await store.log("a");
        made.push(...(await fill(host, log, 30)));
        ({ store, volume } = await crash(host, volume));
        const reopened = await store.log("a");
        check(!reopened.recovery.cleanShutdown, "unclean");
        equal(reopened.recovery.cut, undefined);
        equal(await readAll(reopened), made, `life ${life}`);
      }
      await store.close();
    },
  },
  {
    name: "a torn tail is cut and reported, once",
    async run(host) {
      let volume = await host.newVolume(SLOT);
      let store = await openStore(host, volume);
      let log = await store.log("a");
      const made = await fill(host, log, 3);
      const active = log.segments().at(-1)!;
      await log.append([makeBatch(host.kernel, 30, 10)]);
      await flipBit(volume, active.slot!, BODY_AT + active.bytes + 200);
      ({ store, volume } = await crash(host, volume));
      log = await store.log("a");
      equal(log.recovery.cut?.offset, 30);
      check((log.recovery.cut?.bytes ?? 0) > 1000, "bytes of the torn batch");
      equal(await readAll(log), made);
      ({ store, volume } = await crash(host, volume));
      log = await store.log("a");
      equal(log.recovery.cut, undefined, "second recovery");
      made.push(...(await fill(host, log, 2)));
      equal(await readAll(log), made, "offsets given again to other bytes only because nobody was told them");
      await store.close();
    },
  },
  {
    name: "damage below the durable mark is quarantined; records on both sides stay readable",
    async run(host) {
      let volume = await host.newVolume(SLOT);
      let store = await openStore(host, volume);
      let log = await store.log("a");
      const made = await fill(host, log, 10);
      await log.flush();
      const { slot } = log.segments()[0]!;
      await flipBit(volume, slot!, BODY_AT + made[0]!.length * 4 + 300);
      ({ store, volume } = await crash(host, volume));
      log = await store.log("a");
      equal(log.recovery.quarantined.map(({ from, to }) => [from, to]), [[40, 50]]);
      equal(log.recovery.cut, undefined);
      equal(log.logEndOffset, 100);
      const error = await fails("CORRUPT_RANGE", log.read(45, 10_000, 100));
      equal([error.details["from"], error.details["to"]], [40, 50]);
      equal((await log.read(0, 100_000, 100)).nextOffset, 40);
      equal(await readAll(log, 50), made.slice(5));
      await fill(host, log, 60);
      equal(log.segments().length > 1, true, "a damaged segment can be sealed");
      ({ store, volume } = await crash(host, volume));
      log = await store.log("a");
      equal(log.quarantined.map(({ from, to }) => [from, to]), [[40, 50]], "remembered");
      await fails("CORRUPT_RANGE", log.read(40, 1000, 100));
      equal((await readAll(log, 50)).length, 65);
      await store.close();
    },
  },
  {
    name: "rot in a sealed segment: fields outside the batch checksum are found by hops, others by a verifying read",
    async run(host) {
      for (const [at, hop] of [[0, true], [7, true], [11, true], [16, true], [30, false], [500, false]] as const) {
        const volume = await host.newVolume(SLOT);
        const store = await openStore(host, volume);
        const log = await store.log("a");
        const made = await fill(host, log, 120);
        const segment = log.segments()[1]!;
        const { position } = await batchIn(host, log, segment.baseOffset, 7);
        await flipBit(volume, segment.slot!, BODY_AT + position + at);
        const from = segment.baseOffset + 70;
        if (hop) await fails("CORRUPT_RANGE", log.read(from, 5000, log.logEndOffset));
        const error = await fails("CORRUPT_RANGE", log.read(from, 5000, log.logEndOffset, true));
        equal([error.details["from"], error.details["to"]], [from, from + 10], `byte ${at}`);
        equal(await readAll(log, from + 10), made.slice(from / 10 + 1), `behind byte ${at}`);
        await store.close();
      }
    },
  },
  {
    name: "damaged sections of a sealed segment are rebuilt from its batches",
    async run(host) {
      let volume = await host.newVolume(SLOT);
      let store = await openStore(host, volume);
      let log = await store.log("a");
      const made = await fill(host, log, 120);
      const segment = log.segments()[0]!;
      const before = await indexesOf(log, 0);
      await flipBit(volume, segment.slot!, BODY_AT + segment.bytes + 9);
      await store.close();
      volume = await host.reopen(volume);
      store = await openStore(host, volume);
      log = await store.log("a");
      equal(await indexesOf(log, 0), before, "rebuilt equals sealed");
      equal(await readAll(log), made);
      await store.close();
    },
  },
  {
    name: "seek by time finds the first batch that reaches it",
    async run(host) {
      const store = await openStore(host, await host.newVolume(SLOT));
      const log = await store.log("a");
      const times = Array.from({ length: 150 }, (_, i) => 5000 + ((i * 7919) % 500) + i * 100);
      for (const [i, time] of times.entries()) await log.append([makeBatch(host.kernel, i * 10, 10, 100, time)]);
      await log.flush();
      for (let wanted = 4900; wanted < 21_000; wanted += 137) {
        const naive = times.findIndex((time) => time + 9 >= wanted);
        equal(await log.offsetForTimestamp(wanted), naive < 0 ? undefined : naive * 10, `time ${wanted}`);
      }
      await store.close();
    },
  },
  {
    name: "trim raises the log start for good and frees slots",
    async run(host) {
      let volume = await host.newVolume(SLOT);
      let store = await openStore(host, volume);
      let log = await store.log("a");
      const made = await fill(host, log, 200);
      // The pool grows beside the appends; this waits until it has.
      await store.reserveSlots(1);
      const slots = volume.slotCount;
      await fails("OFFSET_OUT_OF_RANGE", log.trim(2001));
      await log.trim(1500);
      equal(log.logStartOffset, 1500);
      await fails("OFFSET_OUT_OF_RANGE", log.read(1499, 1000, 2000));
      equal(await readAll(log), made.slice(150));
      await fill(host, log, 100);
      equal(volume.slotCount, slots, "freed slots are used again");
      ({ store, volume } = await crash(host, volume));
      log = await store.log("a");
      equal(log.logStartOffset, 1500);
      await log.trim(log.logEndOffset);
      equal([log.logStartOffset, (await readAll(log)).length], [3000, 0]);
      await store.close();
    },
  },
  {
    name: "a stale batch in a slot used again never comes back",
    async run(host) {
      let volume = await host.newVolume(SLOT);
      let store = await openStore(host, volume);
      // Log "old" fills slots with batches whose offsets and lengths fit log "new" exactly.
      const old = await store.log("old");
      await fill(host, old, 100);
      const first = old.segments()[0]!.slot;
      await old.roll();
      await old.trim(old.logEndOffset);
      let log = await store.log("new");
      equal(log.segments()[0]!.slot, first, "the slot whose batches begin at offset 0 is used again");
      const made = await fill(host, log, 3);
      ({ store, volume } = await crash(host, volume));
      log = await store.log("new");
      equal(log.logEndOffset, 30);
      equal(await readAll(log), made);
      await store.close();
    },
  },
  {
    name: "compaction's outputs take the place of their inputs, holes and all",
    async run(host) {
      let volume = await host.newVolume(SLOT);
      let store = await openStore(host, volume);
      let log = await store.log("a");
      log.onSeal = () => Uint8Array.of(1, 2, 3);
      const made = await fill(host, log, 200);
      const sealed = log.segments().filter((segment) => segment.state === "sealed");
      const to = sealed[1]!.nextOffset;
      const kept = made.slice(0, to / 10).filter((_, i) => i % 5 === 2);
      const bytes = new Uint8Array(kept.length * kept[0]!.length);
      kept.forEach((batch, i) => bytes.set(batch, i * batch.length));
      await fails("INVALID_ARGUMENT", log.replace(0, to - 1, []));
      await log.replace(0, to, [{ baseOffset: 0, nextOffset: to, bytes, sealedAt: 77 }]);
      const expected = [...kept, ...made.slice(to / 10)];
      equal(await readAll(log), expected);
      ({ store, volume } = await crash(host, volume));
      log = await store.log("a");
      equal(await readAll(log), expected);
      equal([log.segments()[0]!.compacted, log.segments()[0]!.sealedAt], [true, 77]);
      await log.replace(0, to, []);
      equal(await readAll(log), made.slice(to / 10));
      equal((await log.producerSnapshot())?.bytes, Uint8Array.of(1, 2, 3), "the newest snapshot outlives its segment");
      await store.close();
    },
  },
  {
    name: "an offset changed by rot in a compacted segment is damage, not a record elsewhere",
    async run(host) {
      const volume = await host.newVolume(SLOT);
      const store = await openStore(host, volume);
      const log = await store.log("a");
      const made = await fill(host, log, 120);
      const to = log.segments()[0]!.nextOffset;
      const bytes = new Uint8Array(made[0]!.length * 2);
      bytes.set(made[0]!);
      bytes.set(made[10]!, made[0]!.length);
      await log.replace(0, to, [{ baseOffset: 0, nextOffset: to, bytes, sealedAt: 1 }]);
      await flipBit(volume, log.segments()[0]!.slot!, BODY_AT + made[0]!.length + 7);
      await fails("CORRUPT_RANGE", log.read(100, 1000, log.logEndOffset));
      equal(await readAll(log, to), made.slice(to / 10));
      await store.close();
    },
  },
  {
    name: "one damaged catalog copy costs nothing, two are a typed error and never an empty store",
    async run(host) {
      let volume = await host.newVolume(SLOT);
      let store = await openStore(host, volume);
      const made = await fill(host, await store.log("a"), 120);
      for (const slot of [0, 1]) {
        await store.close();
        volume = await host.reopen(volume);
        await flipBit(volume, slot, 40);
        store = await openStore(host, volume);
        equal(store.recovery.catalogCopies, 1);
        equal(await readAll(await store.log("a")), made, `copy ${slot} damaged`);
      }
      await store.close();
      volume = await host.reopen(volume);
      await flipBit(volume, 0, 40);
      await flipBit(volume, 1, 40);
      await fails("CORRUPT_CATALOG", openStore(host, volume));
      for (const slot of [0, 1]) await volume.write(slot, 0, new Uint8Array(4096));
      await fails("CORRUPT_CATALOG", openStore(host, volume));
      await volume.close();
    },
  },
  {
    name: "logs of one volume keep to themselves",
    async run(host) {
      let volume = await host.newVolume(SLOT);
      let store = await openStore(host, volume);
      const names = ["a", "b", "c"];
      const made = new Map<string, Uint8Array[]>(names.map((name) => [name, []]));
      for (let round = 0; round < 20; round++) {
        await Promise.all(names.map(async (name) => made.get(name)!.push(...(await fill(host, await store.log(name), 5, 3 + name.charCodeAt(0) - 97)))));
      }
      ({ store, volume } = await crash(host, volume));
      for (const name of names) equal(await readAll(await store.log(name)), made.get(name), name);
      await store.close();
    },
  },
  {
    name: "a batch that fits no segment is refused, and the largest that fits is taken",
    async run(host) {
      const store = await openStore(host, await host.newVolume(SLOT));
      const log = await store.log("a");
      await fill(host, log, 1);
      const overhead = makeBatch(host.kernel, 0, 1, 1000).length - 1000 + 8;
      await log.append([makeBatch(host.kernel, 10, 1, log.batchBytesMax - overhead)]);
      await fails("BATCH_TOO_LARGE", log.append([makeBatch(host.kernel, 11, 1, log.batchBytesMax)]));
      await log.flush();
      equal((await readAll(log)).length, 2);
      await store.close();
    },
  },
];

/** Position of the n-th batch of the segment that begins at `baseOffset`. */
async function batchIn(host: StoreHost, log: SegmentedLog, baseOffset: number, n: number): Promise<{ position: number }> {
  const body = await bodyOf(log, baseOffset);
  let position = 0;
  for (let i = 0; i < n; i++) position += readHeader(body, position).sizeBytes;
  check(host.kernel.validateBatch(body.slice(position, position + readHeader(body, position).sizeBytes)) === 0, "a batch");
  return { position };
}
