/**
 * What a log needs of storage. Two kinds of stores implement it: the segmented store over a Volume (browser, Node,
 * simulation) and a row store in a Durable Object. One contract suite (test/contract/log-store-contract.ts) runs on all
 * of them.
 *
 *   logStartOffset        flushedOffset        logEndOffset
 *        ▼                      ▼                   ▼
 *   ─────┬──────────────────────┬───────────────────┬─────→ offsets
 *        │ durable, readable    │ written, readable,│
 *        │                      │ not yet durable   │
 *
 * At most one call at a time of append, flush, roll, trim and replace; the log sees to that. Calls of read,
 * offsetForTimestamp and segments may run beside them at any moment and see a consistent state. Once any method that
 * writes has thrown STORAGE_FAILED or QUOTA_EXCEEDED with `details.poisoned`, the store only reads until it is opened
 * again.
 */
import type { BatchHeader } from "../record/format.ts";
import type { takeSnapshot } from "./take-snapshot.ts";

/** A range of whole batches as they are on disk. */
export interface FetchedBatches {
  /** Whole batches; the first one contains `from`, or is the first behind it. Empty at the end of the log. */
  readonly bytes: Uint8Array;
  /** Offset behind the last batch in `bytes`, or `from` when empty. */
  readonly nextOffset: number;
}

/** How one segment looks from outside. `docs/format.md` explains the layout. */
export interface SegmentInfo {
  readonly baseOffset: number;
  /** Offset behind the segment's last record. */
  readonly nextOffset: number;
  readonly state: "active" | "sealed";
  /** Bytes of batches. */
  readonly bytes: number;
  readonly batches: number;
  readonly records: number;
  readonly maxTimestamp: number;
  readonly offsetEntries: number;
  readonly timeEntries: number;
  /** Written by compaction: offsets may have holes. */
  readonly compacted: boolean;
  /**
   * When the first batch arrived, and below, when the segment was sealed, both by the log's clock. Used for roll by
   * age, retention and compaction.
   */
  readonly createdAt: number;
  readonly sealedAt: number | undefined;
  /** The slot that has the bytes, for tools. Undefined where a store has no slots. */
  readonly slot: number | undefined;
  /** First byte of the batches inside the slot. */
  readonly bodyPosition: number | undefined;
}

/** A range of offsets whose bytes are damaged. Reading it is always CORRUPT_RANGE. */
export interface QuarantinedRange {
  /** First and behind-last offset that cannot be read. */
  readonly from: number;
  readonly to: number;
  readonly slot: number | undefined;
  readonly position: number;
  readonly bytes: number;
  readonly reason: string;
}

/** What opening one log found and did. Opening again right away finds nothing more to do. */
export interface LogRecovery {
  readonly log: string;
  readonly segments: number;
  /** Bytes and batches that were checked because no mark of a clean end covered them. */
  readonly scannedBytes: number;
  readonly scannedBatches: number;
  /** The torn tail that was cut. It was never acknowledged at `flushed`. */
  readonly cut: { readonly offset: number; readonly bytes: number; readonly reason: string } | undefined;
  /**
   * Offsets at the log's end that were durable and are gone: the active slot is another file (OTHER_FILE), empty
   * (SLOT_LOST), or older than the catalog. Reading them is CORRUPT_RANGE, and they are not given out again. If nobody
   * knows how far the slot reached, `to` lies behind all that it may have held.
   */
  readonly lost: { readonly from: number; readonly to: number; readonly reason: string } | undefined;
  readonly quarantined: readonly QuarantinedRange[];
  /** Parts that were rebuilt from the batches: "offset-index", "time-index", "producers", "footer". */
  readonly rebuilt: readonly string[];
  readonly logStartOffset: number;
  readonly logEndOffset: number;
  readonly cleanShutdown: boolean;
}

export interface ReplacementSegment {
  readonly baseOffset: number;
  readonly nextOffset: number;
  /** Whole batches with rising offsets; holes are allowed. */
  readonly bytes: Uint8Array;
  readonly sealedAt: number;
}

/**
 * Below `to` each key has one record, and the next tombstone there may be removed at `dueAt` (null: never), by the
 * delay that was set then. A pass that was under way had mapped up to `mapTo`, and had rewritten the segments that
 * begin below `at`, in which the next tombstone may be removed at `passDueAt`.
 */
export interface CompactedTo {
  readonly to: number;
  readonly dueAt: number | null;
  readonly tombstoneRetentionMs: number;
  readonly mapTo?: number;
  readonly at?: number;
  readonly passDueAt?: number | null;
}

export type OnSeal = (maxBytes: number, write: typeof takeSnapshot) => Uint8Array;

export interface LogStore {
  readonly name: string;
  readonly logStartOffset: number;
  readonly logEndOffset: number;
  /** Everything below is durable, as far as the volume's flush guarantees it. */
  readonly flushedOffset: number;
  /** The epoch that the next append will carry. It rises with every open, and when a used slot is taken again. */
  readonly leaderEpoch: number;
  readonly recovery: LogRecovery;
  readonly quarantined: readonly QuarantinedRange[];
  /** The largest batch that append takes: a batch must fit into an empty segment. */
  readonly batchBytesMax: number;

  /**
   * Appends whole batches whose base offsets already continue `logEndOffset`. Stamps the leader epoch into each, and
   * rolls when the active segment is full. QUOTA_EXCEEDED without `poisoned`: nothing was appended and the store still
   * works. Crash: each batch is there whole or not at all, and none without those before it.
   */
  append(batches: readonly Uint8Array[]): Promise<void>;

  /** Hands appended bytes to the operating system (ack level `written`). */
  handOver(): Promise<void>;

  /**
   * Makes all appended bytes durable (ack level `flushed`) and moves `flushedOffset`. A call with nothing new brings
   * the durable mark up to the end; until then damage in the batches of the last flush counts as a torn tail.
   */
  flush(): Promise<void>;

  /** Seals the active segment, if it has a batch, and starts another. Flushes. Crash: the state before or after. */
  roll(): Promise<void>;

  /**
   * Whole batches from the one that contains `from`: at least one, otherwise at most `maxBytes`, and none that starts
   * at or behind `limitOffset`. Record checksums are not verified here but by the last reader. When that finds a bad
   * one it asks again with `verify`: this checks the whole segment, and so finds the exact damaged range.
   * OFFSET_OUT_OF_RANGE below the log start or above the log end. CORRUPT_RANGE (details from, to) if `from` is
   * damaged. The bytes may be in `memory`, where the store uses it and they fit.
   */
  read(
    from: number,
    maxBytes: number,
    limitOffset: number,
    verify?: boolean,
    memory?: Uint8Array,
  ): Promise<FetchedBatches>;

  /**
   * Base offset of the first batch whose max timestamp is at least `timestamp`, or undefined if none is. The exact
   * record is found by decoding from there.
   */
  offsetForTimestamp(timestamp: number): Promise<number | undefined>;

  /** From the log start to the active segment. */
  segments(): readonly SegmentInfo[];

  /**
   * Raises the log start to `offset` (at most flushedOffset) and frees whole segments below. Crash: the state before or
   * after.
   */
  trim(offset: number): Promise<void>;

  /**
   * Replaces the sealed segments that cover [from, to) by `outputs`, in one commit. Outputs are in order inside the
   * range; an empty list leaves a hole. Crash: the state before or after.
   */
  replace(from: number, to: number, outputs: readonly ReplacementSegment[]): Promise<void>;

  /** How far the log is compacted, and when a tombstone there may be removed. Undefined if no pass has ended yet. */
  readonly compacted?: CompactedTo | undefined;
  /**
   * Durable when this resolves. Crash: the state before or after. Absent if the host itself keeps the mark (a Durable
   * Object).
   */
  saveCompacted?(mark: CompactedTo): Promise<void>;

  /**
   * Batch headers from `from` to the log end, in order; used to rebuild the producers' state. They include trimmed
   * batches below the log start that the store still holds.
   */
  headers(from: number): AsyncIterable<BatchHeader>;

  /**
   * Bytes that the log stores with each sealed segment: its producers' state at that point. The store does not
   * interpret them.
   */
  producerSnapshot(): Promise<{ readonly offset: number; readonly bytes: Uint8Array } | undefined>;
  /**
   * Set by the log. Called when a segment is sealed; returns the producers' state as of the segment's end
   * (`logEndOffset` at that moment) in at most `maxBytes`, as `write` writes it.
   */
  onSeal: OnSeal | undefined;

  /** Flushes and writes the mark of a clean end. The store is closed even if this throws. */
  close(): Promise<void>;
}
