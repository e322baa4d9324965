/**
 * One small world: a real store on a recording volume, the seven operations, and the promise that each of them makes.
 *
 *   append    SegmentedLog.append of one batch; not flushed
 *   flush     SegmentedLog.flush: all appended so far is acknowledged; with nothing new it moves the mark to the end
 *   roll      SegmentedLog.roll: seals the active segment and begins another
 *   trim      SegmentedLog.trim to the middle between log start and flushed offset, at least one offset further;
 *             segments that end there leave, and their slots are used again with their old batches inside
 *   compact   the log's own Compactor over the sealed segments (store.replace), tombstones due at once
 *   truncate  the process dies, and the active slot's file comes back cut in the middle of its un-flushed batches,
 *             grown to its size again with zeros (as OpfsVolume does); then the store is opened. No call cuts a log's
 *             tail; recovery does, and this makes it do so and go on
 *   re-open   a clean close, and an open
 *
 * A trim of nothing, a roll of an empty segment, a compaction without sealed segments stay in: they must change
 * nothing.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { stampBaseOffset } from "../../src/record/format.ts";
import { Compactor } from "../../src/log/compaction.ts";
import { withDefaults } from "../../src/log/limits.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { SegmentedLog } from "../../src/store/segmented-log.ts";
import { BODY_AT } from "../../src/store/slot.ts";
import { Violation } from "../simulation/model.ts";
import {
  encode,
  endOf,
  LOG_NAME,
  type MadeRecord,
  makeRecords,
  NOTHING,
  type Promised,
  snapshotAt,
} from "./promise.ts";
import { type Moment, RecordingVolume } from "./recording-volume.ts";

export const OPERATIONS = ["append", "flush", "roll", "trim", "compact", "truncate", "re-open"] as const;
export type Operation = (typeof OPERATIONS)[number];

/** Small, so that an image is opened in no time: one page of header, one of batches. */
export const SLOT_BYTES = 8192;
/** Time stands still: the same state is then the same bytes, whatever way led to it. */
const NOW = 1_000_000;
const SETTINGS = withDefaults({ compaction: { tombstoneRetentionMs: 0 } });

/** A place to crash, and what is owed there. */
export interface CrashPoint {
  readonly moment: Moment;
  readonly promised: Promised;
}

export class World {
  readonly kernel: Kernel;
  readonly volume = new RecordingVolume(SLOT_BYTES);
  promised: Promised = NOTHING;
  /** Done to a new store before the log is made. */
  firstOf: ((store: SegmentStore) => Promise<void>) | undefined;
  #store!: SegmentStore;
  #log!: SegmentedLog;
  #serial = 0;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
  }

  /** Formats the volume and makes the log. */
  async create(): Promise<void> {
    await this.#open();
    this.promised = { ...this.promised, exists: true };
  }

  async #open(): Promise<void> {
    this.#store = await openStore(this.volume, this.kernel);
    // In the same life, so that the stale batches carry an epoch that nothing but a new one for the slot tells from
    // ours.
    if (!this.promised.exists) await this.firstOf?.(this.#store);
    this.#log = await this.#store.log(LOG_NAME);
    this.#log.onSeal = () => snapshotAt(this.#log.logEndOffset);
    // The pool grows beside: wait for it, so that the next operation's calls are its own.
    await this.#store.reserveSlots(0);
  }

  /** Runs one operation; the result is every place inside it and behind it where the world may end. */
  async run(operation: Operation | "create"): Promise<CrashPoint[]> {
    const before = this.promised;
    const moments: { moment: Moment; promised: Promised }[] = [];
    // The promises change while an operation runs, so each call is marked when it returns.
    const record: Moment[] = [];
    record.push = (...made) => {
      for (const moment of made) moments.push({ moment, promised: this.promised });
      return 0;
    };
    this.volume.moments = record;
    if (operation === "create") await this.create();
    else await this.#perform(operation);
    await this.#store.reserveSlots(0);
    this.volume.moments = undefined;
    // The last call's moment is the operation's end, where more is owed.
    const last = moments.pop();
    const end = { moment: this.volume.now(last?.moment.call ?? "none"), promised: this.promised };
    return !last && before === this.promised ? [] : [...moments, end];
  }

  async #perform(operation: Operation): Promise<void> {
    switch (operation) {
      case "append":
        return this.append(makeRecords(this.#log.logEndOffset, ++this.#serial));
      case "flush":
        await this.#log.flush();
        this.#owe({ flushed: this.#log.flushedOffset });
        return;
      case "roll":
        await this.#log.roll();
        return this.#sealed();
      case "trim":
        return this.#trim();
      case "compact":
        return this.#compact();
      case "truncate":
        await this.#cutTail();
        return this.#reopen();
      case "re-open":
        await this.#store.close();
        this.#owe({ flushed: this.#log.logEndOffset });
        return this.#reopen();
    }
  }

  #owe(change: Partial<Promised>): void {
    this.promised = { ...this.promised, ...change };
  }

  async append(records: readonly MadeRecord[]): Promise<void> {
    const baseOffset = this.#log.logEndOffset;
    const batch = encode(this.kernel, records, baseOffset);
    stampBaseOffset(batch, baseOffset);
    const segments = this.#log.segments().length;
    this.#owe({ batches: [...this.promised.batches, { baseOffset, records }] });
    await this.#log.append([batch]);
    this.#owe({ written: this.#log.logEndOffset });
    if (this.#log.segments().length > segments) this.#sealed();
  }

  /** Behind a roll, its own or an append's. */
  #sealed(): void {
    const sealed = this.#log.segments().findLast((segment) => segment.state === "sealed");
    this.#owe({ flushed: this.#log.flushedOffset, ...(sealed && { snapshot: sealed.nextOffset }) });
  }

  async #trim(): Promise<void> {
    const { logStartOffset: start, flushedOffset: flushed } = this.#log;
    const offset = Math.min(flushed, Math.max(start + 1, (start + flushed) >> 1));
    this.#owe({ startHigh: Math.max(start, offset) });
    await this.#log.trim(offset);
    this.#owe({ startLow: this.promised.startHigh });
  }

  async #compact(): Promise<void> {
    const going = this.#outdated();
    this.#owe({ going });
    const compactor = new Compactor({ store: this.#log, kernel: this.kernel, settings: SETTINGS });
    const { recordsRemoved } = await compactor.run(NOW, this.#log.flushedOffset, (swap) => swap());
    if (recordsRemoved !== going.length)
      throw new Violation("compaction", `removed ${recordsRemoved} records, ${going.length} were outdated`);
    this.#owe({ going: [], gone: [...this.promised.gone, ...going] });
  }

  /** Records of sealed segments, from the log start, that a newer one there outdates, and tombstones. */
  #outdated(): number[] {
    const end = this.#log.segments().findLast((segment) => segment.state === "sealed")?.nextOffset ?? 0;
    const { batches, gone } = this.promised;
    const newest = new Map<string, number>();
    const there: [number, MadeRecord][] = [];
    for (const { baseOffset, records } of batches) {
      for (const [i, record] of records.entries()) {
        const offset = baseOffset + i;
        // A batch is rewritten whole: one that begins below the log start takes its records above along.
        if (offset >= end || gone.includes(offset) || baseOffset + records.length <= this.#log.logStartOffset) continue;
        there.push([offset, record]);
        newest.set(record.key, offset);
      }
    }
    return there
      .filter(([offset, { key, value }]) => newest.get(key) !== offset || value === null)
      .map(([offset]) => offset);
  }

  /** The active slot's file, cut in the middle of what was not flushed. */
  async #cutTail(): Promise<void> {
    const active = this.#log.segments().at(-1)!;
    const flushed = this.promised.batches.filter(
      ({ baseOffset }) => baseOffset >= active.baseOffset && baseOffset < this.#log.flushedOffset,
    );
    const flushedBytes = flushed.reduce(
      (sum, { records, baseOffset }) => sum + encode(this.kernel, records, baseOffset).length,
      0,
    );
    const cut = BODY_AT + flushedBytes + ((active.bytes - flushedBytes) >> 1);
    this.#owe({ written: this.#log.flushedOffset });
    await this.volume.write(active.slot!, cut, new Uint8Array(SLOT_BYTES - cut));
  }

  async #reopen(): Promise<void> {
    const { flushed } = this.promised;
    await this.#open();
    const end = this.#log.logEndOffset;
    if (end < flushed) throw new Violation("lost-acked", `opened at ${end}, acknowledged up to ${flushed}`);
    const batches = this.promised.batches.filter(({ baseOffset }) => baseOffset < end);
    this.#owe({ batches, flushed: end, written: end });
    if (endOf(this.promised) !== end) throw new Violation("end", `opened at ${end}, which ends no batch`);
  }
}

export function openStore(volume: RecordingVolume, kernel: Kernel): Promise<SegmentStore> {
  return SegmentStore.open({ volume, kernel, now: () => NOW });
}

/** Where histories begin. */
export const BEGINNINGS = {
  /** Nothing at all: the first format is a place to crash, too. */
  new: [],
  /**
   * Sealed segments, one of them compacted, slots that hold stale batches of the same sizes, an active segment with
   * flushed ones.
   */
  used: [
    "append",
    "append",
    "roll",
    "append",
    "flush",
    "append",
    "roll",
    "compact",
    "append",
    "append",
    "roll",
    "trim",
    "trim",
    "re-open",
    "append",
    "flush",
  ],
  /** The active segment has room for one more batch: appends roll by themselves. */
  full: ["append", "flush"],
  /** The log's first slot holds another log's batches, of the same offsets and sizes as those that will be written. */
  recycled: [],
} as const satisfies Record<string, readonly Operation[]>;
export type Beginning = keyof typeof BEGINNINGS;

/** Serial number of appends that must never come back. */
const STALE = 888_888;
/** Bytes that leave room for one batch of `makeRecords` in the beginning "full". */
const FULL_VALUE_BYTES = 3050;

export async function beginWorld(
  kernel: Kernel,
  beginning: Beginning,
): Promise<{ world: World; created: CrashPoint[] }> {
  const world = new World(kernel);
  if (beginning === "recycled") world.firstOf = leaveStale;
  const created = await world.run("create");
  if (beginning === "full") await world.append([{ key: "k0", value: "x".repeat(FULL_VALUE_BYTES), timestamp: 1000 }]);
  for (const operation of BEGINNINGS[beginning]) await world.run(operation);
  return { world, created };
}

/** Another log fills a slot, rolls and is trimmed: the slot is free, and the next one to be taken. */
async function leaveStale(store: SegmentStore): Promise<void> {
  const log = await store.log("old");
  for (let offset = 0; offset < 12; offset += 2) {
    const batch = encode(store.kernel, makeRecords(offset, STALE), offset);
    stampBaseOffset(batch, offset);
    await log.append([batch]);
  }
  await log.roll();
  await log.trim(log.logEndOffset);
  await store.reserveSlots(0);
}
