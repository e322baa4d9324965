/**
 * What one log needs of the store that it shares with others. SegmentStore implements it; SegmentedLog, and what works
 * on a log's segments (segment-list.ts), know only this.
 *
 *   SegmentStore ──implements──▶ StoreContext ◀──knows── SegmentedLog, trim-and-replace, time-lookup
 */
import type { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import type { LogEntry } from "./catalog.ts";
import type { SegmentReader } from "./segment-reader.ts";
import type { Segment } from "./segment.ts";
import type { Mark } from "./slot.ts";
import type { Volume } from "./volume.ts";

/** What a structural change may do while it holds the store. */
export interface Change {
  /** QUOTA_EXCEEDED when none is free and none can be made; then nothing was changed. */
  takeSlot(): Promise<number>;
  /** The epoch for a segment in this slot: a new one when the slot may hold stale batches, else `current`. */
  epochFor(slot: number, current: number): number;
  /** Makes `entry` the log's line in the catalog. The commit point. */
  commit(log: string, entry: LogEntry): Promise<void>;
  /** Takes the log out of the catalog; a log that gets its name is born in a later epoch. The commit point, too. */
  remove(log: string): Promise<void>;
}

/** A log that is about to be appended to: the catalog's next commit says so. */
export interface Beginning {
  appending: boolean;
}

export interface StoreContext {
  readonly volume: Volume;
  readonly kernel: Kernel;
  readonly reader: SegmentReader;
  /** Milliseconds, for segments' ages. */
  readonly now: () => number;
  /** The volume's leader epoch. */
  readonly epoch: number;
  /** The largest batch that a slot of this volume takes. */
  readonly batchBytesMax: number;
  /** Generation of the next commit: a segment that is begun for it is told apart from all others by this number. */
  readonly nextGeneration: number;

  /**
   * Throws on a closed or poisoned store what closed or poisoned it; `earlier` in the details: this work did nothing.
   */
  check(): void;

  /**
   * Runs one structural change at a time. A failure poisons the store, except a refused slot, which changed nothing.
   */
  change(work: (change: Change) => Promise<void>): Promise<void>;

  /** Before a log's first batch since it was last closed: one commit for all that begin together. */
  beginAppending(log: Beginning): Promise<void>;

  /** Writes a segment's header page, both marks at its start. Not flushed. */
  beginSegment(segment: Segment): Promise<Mark>;

  /**
   * Makes sure that `count` slots are free. QUOTA_EXCEEDED: as many as could be made are there, nothing else changed.
   */
  reserveSlots(count: number): Promise<void>;

  /** Frees the slot of a segment that left its log; the change that took it out is committed. */
  release(segment: Segment): void;

  /** Whose segment it is, for its footer. */
  ownerOf(segment: Segment): string;

  /**
   * Runs work that writes. Whatever goes wrong inside leaves the disk unknown, so the store is poisoned; except that a
   * slot could not be made or the call was wrong: nothing that counts was written by then, so the slots taken go back
   * and the store goes on.
   */
  poisonOnFailure<T>(work: () => Promise<T>, giveBack?: () => void): Promise<T>;

  /** From here on the store only reads. Returns the error to throw. */
  poison(thrown: unknown): TidemarkError;
}
