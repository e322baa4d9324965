/**
 * What every segmented store must do over any volume. Cases are plain functions, so that a host can run them where its
 * storage is: in Node (test/unit/store.test.ts) or in a browser's worker (test/browser).
 */
import type { EncodingKernel } from "../../src/kernel/types.ts";
import { readHeader } from "../../src/record/format.ts";
import { readExactly, type Volume } from "../../src/store/volume.ts";
import { segmentBody, indexesOf } from "../../src/store/inspect.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { SegmentedLog } from "../../src/store/segmented-log.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
import { check, equal, fails } from "./check.ts";
import {
  fill as fillLog,
  type LogStoreHost,
  logStoreCases,
  makeBatch,
  type OpenLog,
  readAll,
} from "./log-store-contract.ts";

export { makeBatch };

export interface StoreHost {
  readonly kernel: EncodingKernel;
  /** A new, empty volume. */
  newVolume(slotBytes: number): Promise<Volume>;
  /** Opens the same storage again, after volume.close(). */
  reopen(volume: Volume): Promise<Volume>;
  /** True if its files are slow. Cases with many similar inputs then try one of each kind. */
  readonly few?: boolean;
}

export interface StoreCase {
  readonly name: string;
  run(host: StoreHost): Promise<void>;
}

const SLOT = 64 * 1024;
let clock = 1_000_000;
const now = () => clock++;

const fill = ({ kernel }: StoreHost, log: SegmentedLog, batches: number, count?: number, size?: number) =>
  fillLog(kernel, log, batches, count, size);

const openStore = (host: StoreHost, volume: Volume) => SegmentStore.open({ volume, kernel: host.kernel, now });

/** Abandons the store without closing it, as a killed process would, and opens the storage again. */
async function crash(host: StoreHost, volume: Volume): Promise<{ store: SegmentStore; volume: Volume }> {
  await volume.close();
  const again = await host.reopen(volume);
  return { store: await openStore(host, again), volume: again };
}

async function flipBit(volume: Volume, slot: number, position: number, mask = 1): Promise<void> {
  const byte = await readExactly(volume, slot, position, 1);
  await volume.write(
    slot,
    position,
    byte.map((value) => value ^ mask),
  );
  await volume.flush([slot]);
}

/** The cases that every LogStore must pass, on a log of a segmented store. */
function inSegments(host: StoreHost): LogStoreHost {
  async function opened(volume: Volume, store: SegmentStore): Promise<OpenLog> {
    const log = await store.log("a");
    return {
      log,
      async reopen(clean) {
        if (clean) await store.close();
        else await volume.close();
        const again = await host.reopen(volume);
        return opened(again, await openStore(host, again));
      },
      async flipBit(baseOffset, at) {
        const segment = log.segments().find(({ nextOffset }) => nextOffset > baseOffset)!;
        await flipBit(volume, segment.slot!, BODY_AT + (await positionOf(log, segment.baseOffset, baseOffset)) + at);
      },
    };
  }
  return {
    kernel: host.kernel,
    async open() {
      const volume = await host.newVolume(SLOT);
      return opened(volume, await openStore(host, volume));
    },
  };
}

/** The position in a segment's body at which the batch with this base offset begins. */
async function positionOf(log: SegmentedLog, segmentBaseOffset: number, baseOffset: number): Promise<number> {
  const body = await segmentBody(log, segmentBaseOffset);
  let position = 0;
  while (readHeader(body, position).baseOffset !== baseOffset) position += readHeader(body, position).sizeBytes;
  return position;
}

const volumeCases: readonly StoreCase[] = [
  {
    name: "the log rolls into new segments and reads go across them",
    async run(host) {
      const store = await openStore(host, await host.newVolume(SLOT));
      const log = await store.log("a");
      const made = await fill(host, log, 200);
      const segments = log.segments();
      check(segments.length >= 4, `rolled: ${segments.length}`);
      check(
        segments.slice(0, -1).every((s) => s.state === "sealed" && s.offsetEntries > 5 && s.timeEntries > 5),
        "indexed",
      );
      for (const [i, segment] of segments.entries())
        equal(segment.baseOffset, i === 0 ? 0 : segments[i - 1]!.nextOffset);
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
    name: "trim raises the log start for good and frees slots",
    async run(host) {
      let volume = await host.newVolume(SLOT);
      let store = await openStore(host, volume);
      let log = await store.log("a");
      const made = await fill(host, log, 200);
      // The pool of free slots grows in the background. This waits until it has grown.
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
      // Fills slots with batches of log "old" whose offsets and lengths fit log "new" exactly.
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
        await Promise.all(
          names.map(async (name) =>
            made.get(name)!.push(...(await fill(host, await store.log(name), 5, 3 + name.charCodeAt(0) - 97))),
          ),
        );
      }
      ({ store, volume } = await crash(host, volume));
      for (const name of names) equal(await readAll(await store.log(name)), made.get(name), name);
      await store.close();
    },
  },
  {
    name: "logs have names, and a name is one log",
    async run(host) {
      const volume = await host.newVolume(SLOT);
      const store = await openStore(host, volume);
      await fails("INVALID_ARGUMENT", store.log("no/slash"));
      check((await store.log("a")) === (await store.log("a")), "the same log again");
      await store.close();
      equal((await openStore(host, await host.reopen(volume))).names(), ["a"]);
    },
  },
];

export const storeCases: readonly StoreCase[] = [
  ...logStoreCases.map(({ name, run }) => ({ name, run: (host: StoreHost) => run(inSegments(host)) })),
  ...volumeCases,
];
