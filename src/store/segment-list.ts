/**
 * One log's list of segments, as the code sees it that changes or searches it from outside: trim, replace and delete
 * (trim-and-replace.ts), look-ups by time (time-lookup.ts). SegmentedLog implements it.
 *
 *   all   ┌────────┬────────┬─ ─ ─ ─┬────────┐
 *         │ sealed │ sealed │       │ active │      a change commits the next list to the catalog, then adopts it
 *         └────────┴────────┴─ ─ ─ ─┴────────┘
 */
import type { LogEntry, StoredSettings } from "./catalog.ts";
import type { OnSeal } from "./log-store.ts";
import type { Segment } from "./segment.ts";
import type { Mark } from "./slot.ts";
import type { StoreContext } from "./store-context.ts";

export interface SegmentList {
  readonly name: string;
  readonly store: StoreContext;
  readonly leaderEpoch: number;
  /** All segments, oldest first. Includes ones below the log start that are kept for their producers' snapshot. */
  readonly all: readonly Segment[];
  logStartOffset: number;
  /** See LogEntry. */
  note: StoredSettings | undefined;
  /** The end of what is flushed. `position` counts inside the active segment's body. */
  readonly flushed: { readonly offset: number; readonly position: number };
  /** The newest mark in the active slot. */
  readonly mark: Mark;
  /** True once the log is no longer in the catalog. Its slots may belong to other logs then. */
  deleted: boolean;

  /** Throws UNKNOWN_TOPIC if the log was deleted; otherwise what the store's check throws. */
  check(): void;

  /** Rewrites one of the two marks with what is flushed. Does not flush. */
  writeMark(): Promise<void>;

  /**
   * The log's entry in the catalog. While a change is being committed, it is made with the given segments and start.
   */
  entry(segments?: readonly Segment[], logStartOffset?: number): LogEntry;

  /** Makes `next` the list. Slots of segments that are no longer in it are free from here on. */
  adopt(next: readonly Segment[]): void;
}

/** A log whose batches are gone through (hops.ts). */
export interface WalkedLog extends SegmentList {
  readonly logEndOffset: number;

  /** The segment that contains `offset`, or the first behind it. */
  segmentFor(offset: number): Segment | undefined;
}

/** A log whose active segment may be sealed (roll.ts). */
export interface RollingLog extends SegmentList {
  readonly appending: boolean;
  /** The producers' snapshot as of the active segment's end, in at most `maxBytes`. */
  readonly onSeal: OnSeal | undefined;

  /** The active segment was sealed, and `next` is the active one, in this epoch and with this mark. */
  rolled(next: Segment, epoch: number, mark: Mark): void;
}
