/**
 * One small world: a real store on a recording volume, seven operations, and what each of them promises.
 *
 *   append    SegmentedLog.append of one batch; not flushed
 *   flush     SegmentedLog.flush: all appended so far is acknowledged; with nothing new it moves the mark to the end
 *   roll      SegmentedLog.roll: seals the active segment and begins another
 *   trim      SegmentedLog.trim to the middle between log start and flushed offset, at least one offset further;
 *             segments that end there are removed, and their slots are used again, with their old batches in them
 *   compact   the log's own Compactor over the sealed segments (store.replace), tombstones due at once
 *   truncate  the process dies, and the active slot's file ends in the middle of its unflushed batches and is filled
 *             with zeros to its size again (as OpfsVolume does); then the store is opened. Only recovery cuts a log's
 *             tail, and this operation makes it do so
 *   re-open   a clean close, and an open
 *
 * A trim of nothing, a roll of an empty segment and a compaction without sealed segments are explored as well: they
 * must change nothing.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { stampBaseOffset } from "../../src/record/format.ts";
import { Compactor } from "../../src/log/compaction.ts";
import { withDefaults } from "../../src/log/limits.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { SegmentedLog } from "../../src/store/segmented-log.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
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

/** One page of header and one of batches: images are small, so that they open quickly. */
export const SLOT_BYTES = 8192;
/** The clock does not move, so that equal states have equal bytes, whichever operations led to them. */
const NOW = 1_000_000;
const SETTINGS = withDefaults({ compaction: { tombstoneRetentionMs: 0 } });

/** A moment at which the world may crash, and what is promised at that moment. */
export interface CrashPoint {
  readonly moment: Moment;
  readonly promised: Promised;
}

export class World {
  readonly kernel: Kernel;
  readonly volume = new RecordingVolume(SLOT_BYTES);
  promised: Promised = NOTHING;
  /** Runs on a new store before the log is made. */
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
    // In the same life, so that the stale batches have the epoch of this life. Only the slot's own new epoch tells them
    // from the log's batches.
    if (!this.promised.exists) await this.firstOf?.(this.#store);
    this.#log = await this.#store.log(LOG_NAME);
    this.#log.onSeal = () => snapshotAt(this.#log.logEndOffset);
    // The pool of slots grows in the background. Wait for it, so that its calls do not count as the next operation's.
    await this.#store.reserveSlots(0);
  }

  /** Runs one operation. Returns every crash point inside and behind it. */
  async run(operation: Operation | "create"): Promise<CrashPoint[]> {
    const before = this.promised;
    const moments: { moment: Moment; promised: Promised }[] = [];
    // What is promised changes while an operation runs, so each call's moment gets the promise of that time.
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
    // The moment of the last call is replaced by the operation's end, at which more is promised.
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

  /** Updates the promise after a roll, by the operation `roll` or by an append. */
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

  /**
   * The records of sealed segments that compaction may remove: those with a newer record of their key, and tombstones.
   */
  #outdated(): number[] {
    const end = this.#log.segments().findLast((segment) => segment.state === "sealed")?.nextOffset ?? 0;
    const { batches, gone } = this.promised;
    const newest = new Map<string, number>();
    const there: [number, MadeRecord][] = [];
    for (const { baseOffset, records } of batches) {
      for (const [i, record] of records.entries()) {
        const offset = baseOffset + i;
        // A batch that begins below the log's start and ends above it is rewritten as a whole.
        if (offset >= end || gone.includes(offset) || baseOffset + records.length <= this.#log.logStartOffset) continue;
        there.push([offset, record]);
        newest.set(record.key, offset);
      }
    }
    return there
      .filter(([offset, { key, value }]) => newest.get(key) !== offset || value === null)
      .map(([offset]) => offset);
  }

  /** Cuts the active slot's file in the middle of its unflushed batches. */
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

/** The states from which histories begin, by the operations that lead there. */
export const BEGINNINGS = {
  /** An empty disk: formatting it may crash as well. */
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
  /** The active segment has room for one more batch, so the append after the next one rolls. */
  full: ["append", "flush"],
  /** The log's first slot has stale batches of another log, of the same offsets and sizes as those to be written. */
  recycled: [],
} as const satisfies Record<string, readonly Operation[]>;
export type Beginning = keyof typeof BEGINNINGS;

/** Serial number of stale batches, which must never be read. */
const STALE = 888_888;
/** A value of this size leaves room for one batch of `makeRecords`, in the beginning "full". */
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

/** Another log fills a slot, rolls and is trimmed. Then the slot is free, and is the next one to be used. */
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
