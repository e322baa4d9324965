/**
 * One log's list of segments, as those see it that work on the list from outside: trim, replace and delete
 * (trim-and-replace.ts), look-ups by time (time-lookup.ts). SegmentedLog implements it.
 *
 *   all   ┌────────┬────────┬─ ─ ─ ─┬────────┐
 *         │ sealed │ sealed │       │ active │      a change commits the next list to the catalog, then adopts it
 *         └────────┴────────┴─ ─ ─ ─┴────────┘
 */
import type { LogEntry } from "./catalog.ts";
import type { Segment } from "./segment.ts";
import type { Mark } from "./slot.ts";
import type { StoreContext } from "./store-context.ts";

export interface SegmentList {
  readonly name: string;
  readonly store: StoreContext;
  readonly leaderEpoch: number;
  /** All segments, oldest first; also those that lie below the log start and are kept for their producers' snapshot. */
  readonly all: readonly Segment[];
  logStartOffset: number;
  /** The end of what is flushed; the position is inside the active segment's body. */
  readonly flushed: { readonly offset: number; readonly position: number };
  /** The newest mark in the active slot. */
  readonly mark: Mark;
  /** The log is no longer in the catalog, and its slots belong to others. */
  deleted: boolean;

  /** UNKNOWN_TOPIC once it was deleted; else as the store. */
  check(): void;

  /** Writes one of the two marks anew: what is flushed, it says. Not flushed itself. */
  writeMark(): Promise<void>;

  /**
   * What the catalog says of this log, with the given segments and start instead of today's while a change is being
   * committed.
   */
  entry(segments?: readonly Segment[], logStartOffset?: number): LogEntry;

  /** The list becomes `next`; slots of segments that left it are free from here on. */
  adopt(next: readonly Segment[]): void;
}
