/**
 * The two notes of a synced topic: what the device remembers of the edge. Each is a field of a log's entry in the
 * catalog, so a note changes in the same commit as its log's start, and both notes change in one commit.
 *
 *   catalog ── entry of "orders-0.out" ── note: OutboxNote      own batches; positions are the log's offsets
 *           ── entry of "orders-0"     ── note: ReplicaNote     the edge's records, at the edge's offsets
 *
 * A note is plain JSON of at most 1 KiB. docs/sync.md says when each field is written and what it means.
 */

/** Which edge log a note speaks of. */
interface EdgeLogNote {
  readonly v: 1;
  readonly url: string;
  readonly path: string;
  /** Whose outbox it is, as the edge's answer to a join said; null until one was answered. */
  readonly owner: string | null;
  /** Id of the edge log's creation; null until a join was answered. */
  readonly stream: string | null;
}

/** Why positions went without a place at the edge. */
export type RetractReason = "aside" | "discarded";
export type RetractedRun = readonly [from: number, to: number, why: RetractReason];
/** Offsets that the edge had let go before this replica had them. */
export type GapRun = readonly [from: number, to: number, why: string];

export interface OutboxNote extends EdgeLogNote {
  /** 16 hex digits; null while none is drawn. */
  readonly outbox: string | null;
  readonly generation: number;
  /** A join with this id was answered. */
  readonly registered: boolean;
  /** First position of this id. */
  readonly first: number;
  /** The highest next position that the edge told in this generation, as of this commit. Absent for a new id. */
  readonly next?: number | undefined;
  /** CRC of the batch that ends at `next`. */
  readonly lastCrc?: number | undefined;
  /** A replica offset. Each own batch that lies below it is settled. */
  readonly settledIn: number;
  /** A replica offset. No un-settled own batch can ever have been taken below it. */
  readonly doubtFrom: number;
  /** Behind the highest offset by which a T2 trim was made; 0: none. */
  readonly passed: number;
  readonly retracted: readonly RetractedRun[];
}

export interface ReplicaNote extends EdgeLogNote {
  /** Where this replica begins. */
  readonly from: number;
  /** Of the newest join or tide whose records were stored; null: none yet. */
  readonly life: string | null;
  readonly gaps: readonly GapRun[];
}

/** Runs that a note holds of either kind. */
export const RUNS_MAX = 16;
export const NOTE_BYTES_MAX = 1024;
