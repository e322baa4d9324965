/**
 * What a log needs of storage. Two families implement it, the segmented store over a Volume (browser, Node, simulation)
 * and a row store in a Durable Object, and one contract suite (test/contract/log-store-contract.ts) runs on all of
 * them.
 *
 *   logStartOffset        flushedOffset        logEndOffset
 *        ▼                      ▼                   ▼
 *   ─────┬──────────────────────┬───────────────────┬─────→ offsets
 *        │ durable, readable    │ written, readable,│
 *        │                      │ not yet durable   │
 *
 * One caller at a time for append, flush, roll, trim and replace (the log serialises them); read, offsetForTimestamp
 * and segments may run beside them at any moment and see a consistent state. After any method but the reads threw
 * STORAGE_FAILED or QUOTA_EXCEEDED with `details.poisoned`, the store refuses everything but reads: open it again.
 */
import type { BatchHeader } from "../record/format.ts";

/** A range of whole batches as they lie on disk. */
export interface FetchedBatches {
  /** Whole batches; the first one contains `from` or is the first behind it. Empty at the end of the log. */
  readonly bytes: Uint8Array;
  /** Offset behind the last batch in `bytes`, or `from` when empty. */
  readonly nextOffset: number;
}

/** How one segment looks from outside; `docs/format.md` explains the layout. */
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
   * When the segment was sealed, or its first batch arrived, by the log's clock; for roll by age, retention,
   * compaction.
   */
  readonly createdAt: number;
  readonly sealedAt: number | undefined;
  /** Where the bytes are, for tools; undefined where a store has no slots. */
  readonly slot: number | undefined;
  /** First byte of the batches inside the slot. */
  readonly bodyPosition: number | undefined;
}

/** A run of offsets whose bytes are damaged. Reading it is CORRUPT_RANGE; never silence. */
export interface QuarantinedRange {
  /** First and behind-last offset that cannot be read. */
  readonly from: number;
  readonly to: number;
  readonly slot: number | undefined;
  readonly position: number;
  readonly bytes: number;
  readonly reason: string;
}

/** What opening one log found and did. Opening again at once finds nothing more to do. */
export interface LogRecovery {
  readonly log: string;
  readonly segments: number;
  /** Bytes and batches walked because no clean mark covered them. */
  readonly scannedBytes: number;
  readonly scannedBatches: number;
  /** The torn tail that was cut: never acknowledged at `flushed`. */
  readonly cut: { readonly offset: number; readonly bytes: number; readonly reason: string } | undefined;
  /**
   * Offsets at the log's end that were durable and are not there any more: the active slot is another file
   * (OTHER_FILE), empty (SLOT_LOST), or older than the catalog. Reading them is CORRUPT_RANGE, and they are not given
   * out again. Where nobody knows how far the slot went, `to` is behind all that it may have held.
   */
  readonly lost: { readonly from: number; readonly to: number; readonly reason: string } | undefined;
  readonly quarantined: readonly QuarantinedRange[];
  /** Things made anew from the batches: "offset-index", "time-index", "producers", "footer". */
  readonly rebuilt: readonly string[];
  readonly logStartOffset: number;
  readonly logEndOffset: number;
  readonly cleanShutdown: boolean;
}

export interface ReplacementSegment {
  readonly baseOffset: number;
  readonly nextOffset: number;
  /** Whole batches, offsets rising, holes allowed. */
  readonly bytes: Uint8Array;
  readonly sealedAt: number;
}

/**
 * Below `to` each key has one record; a tombstone there falls due at `dueAt` (null: never), by the delay that was set
 * then. A pass that was under way had mapped up to `mapTo` and was done with what begins below `at`, where a tombstone
 * falls due at `passDueAt`.
 */
export interface CompactedTo {
  readonly to: number;
  readonly dueAt: number | null;
  readonly tombstoneRetentionMs: number;
  readonly mapTo?: number;
  readonly at?: number;
  readonly passDueAt?: number | null;
}

export interface LogStore {
  readonly name: string;
  readonly logStartOffset: number;
  readonly logEndOffset: number;
  /** Everything below is durable as far as the volume's flush goes. */
  readonly flushedOffset: number;
  /** The epoch that the next append will carry. It rises with every open, and when a used slot is taken again. */
  readonly leaderEpoch: number;
  readonly recovery: LogRecovery;
  readonly quarantined: readonly QuarantinedRange[];
  /** Largest batch that append takes (a batch must fit an empty segment). */
  readonly batchBytesMax: number;

  /**
   * Appends whole batches whose base offsets already continue `logEndOffset`, stamps the leader epoch into each, rolls
   * where the active segment is full. QUOTA_EXCEEDED without `poisoned`: nothing was appended, the store goes on.
   * Crash: each batch is there whole or not at all, and none without those before it.
   */
  append(batches: readonly Uint8Array[]): Promise<void>;

  /** Hands appended bytes to the operating system (ack level `written`). */
  handOver(): Promise<void>;

  /**
   * Makes all appended bytes durable (ack level `flushed`) and moves `flushedOffset`. Called again with nothing new, it
   * brings the durable mark up to the end: until then damage in the last flush's batches counts as a torn tail.
   */
  flush(): Promise<void>;

  /** Seals the active segment, if it has a batch, and starts another. Flushes. Crash: before or after. */
  roll(): Promise<void>;

  /**
   * Whole batches from the one that contains `from`, at least one and otherwise at most `maxBytes`, none starting at or
   * behind `limitOffset`. Does not verify record checksums: the last reader does, and when it finds a bad one it asks
   * again with `verify`, which checks the whole segment and so names the damaged range exactly. OFFSET_OUT_OF_RANGE
   * below the log start or above the log end; CORRUPT_RANGE (details from, to) where `from` lies in damage.
   */
  read(from: number, maxBytes: number, limitOffset: number, verify?: boolean): Promise<FetchedBatches>;

  /**
   * Base offset of the first batch whose max timestamp is at least `timestamp`, or undefined if none is. The exact
   * record is found by decoding from there.
   */
  offsetForTimestamp(timestamp: number): Promise<number | undefined>;

  /** From the log start to the active segment. */
  segments(): readonly SegmentInfo[];

  /**
   * Raises the log start to `offset` (at most flushedOffset) and frees whole segments below. Crash: before or after.
   */
  trim(offset: number): Promise<void>;

  /**
   * Puts `outputs` in the place of the sealed segments that cover [from, to). One commit. Outputs must tile inside the
   * range; an empty list leaves a hole. Crash: before or after.
   */
  replace(from: number, to: number, outputs: readonly ReplacementSegment[]): Promise<void>;

  /** How far the log is compacted, and since when a tombstone there falls due; undefined where no pass has ended. */
  readonly compacted?: CompactedTo | undefined;
  /** Durable when this resolves. Crash: before or after. Absent: the host keeps it (a Durable Object). */
  saveCompacted?(mark: CompactedTo): Promise<void>;

  /**
   * Batch headers from `from` to the log end, in order; used to rebuild producer state. Below the log start those of
   * trimmed batches that the store still holds.
   */
  headers(from: number): AsyncIterable<BatchHeader>;

  /** Opaque bytes that the log stores with each sealed segment (its producers' state at that point). */
  producerSnapshot(): Promise<{ readonly offset: number; readonly bytes: Uint8Array } | undefined>;
  /** Set by the log; called when a segment is sealed, for the state as of the segment's end (`logEndOffset` at that
   *  moment), in at most `maxBytes`. */
  onSeal: ((maxBytes: number) => Uint8Array) | undefined;

  /** Flushes, writes the clean mark. The store is closed even when it throws. */
  close(): Promise<void>;
}
