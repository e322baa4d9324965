/**
 * What one log needs of the store that it shares with other logs. SegmentStore implements it. SegmentedLog, and the
 * code that works on a log's segments (segment-list.ts), know only this.
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

/** What a structural change may do while it has the store for itself. */
export interface CatalogChange {
  /** Takes a free slot. QUOTA_EXCEEDED if none is free and none can be made; then nothing was changed. */
  takeSlot(): Promise<number>;
  /** The epoch for a segment in this slot: a new one when the slot may hold stale batches, else `current`. */
  epochFor(slot: number, current: number): number;
  /**
   * Makes these the entries of their logs in the catalog. This is the commit. `removed` leaves the catalog in the same
   * commit; a later log of that name is born in a later epoch.
   */
  commit(entries: readonly LogEntry[], removed?: string): Promise<void>;
}

/** A log that is about to be appended to. The catalog's next commit says so. */
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
  /** Generation of the next commit. This number tells a segment that is begun for it from all others. */
  readonly nextGeneration: number;

  /**
   * Throws the error that closed or poisoned the store. `earlier` in its details means: the call that throws now did
   * nothing.
   */
  check(): void;

  /** Runs one structural change at a time. A failure poisons the store, except that a refused slot changes nothing. */
  change(work: (change: CatalogChange) => Promise<void>): Promise<void>;

  /** Called before a log's first batch since it was last closed. Logs that begin at the same time share one commit. */
  beginAppending(log: Beginning): Promise<void>;

  /** Writes a segment's header page, with both marks at the segment's start. Does not flush. */
  beginSegment(segment: Segment): Promise<Mark>;

  /** Makes sure that `count` slots are free. QUOTA_EXCEEDED: as many as possible were made, nothing else changed. */
  reserveSlots(count: number): Promise<void>;

  /** Frees the slot of a segment that left its log, once the change that removed it is committed. */
  release(segment: Segment): void;

  /** The text that names a segment's owner in its footer. */
  ownerOf(segment: Segment): string;

  /**
   * Runs work that writes. After a failure the disk's state is unknown, so the store is poisoned. The exceptions are a
   * slot that could not be made and a wrong call: nothing that counts was written by then, so the taken slots are given
   * back and the store still works.
   */
  poisonOnFailure<T>(work: () => Promise<T>, giveBack?: () => void): Promise<T>;

  /** Poisons the store: from here on it only reads. Returns the error to throw. */
  poison(thrown: unknown): TidemarkError;
}
