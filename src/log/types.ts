/** The types of the log's interface: what callers pass and get. The behaviour is in log.ts. */
import type { Kernel } from "../kernel/types.ts";
import type { BatchHeader } from "../record/format.ts";
import type { FetchedBatches, LogRecovery, LogStore, QuarantinedRange, SegmentInfo } from "../store/log-store.ts";

/**
 * When an append is acknowledged: in memory, handed to the operating system, on the device. (`replicated` comes with
 * sync.)
 */
export type Acks = "accepted" | "written" | "flushed";
/** `committed` stops at the high watermark, `provisional` reads to the log end. */
export type Isolation = "committed" | "provisional";

/** Where a read starts. `latest` is the end as isolation sees it; `last` the last n offsets before it. */
export type StartPosition = number | "earliest" | "latest" | { readonly timestamp: number } | { readonly last: number };

export interface LogAppendOptions {
  /** Default "flushed". */
  readonly acks?: Acks | undefined;
  /** Append only if the log end is still this offset, else OFFSET_CONFLICT (details: logEndOffset). */
  readonly ifEnd?: number | undefined;
  /**
   * The producer counts its sequences from 0, and begins a new epoch when it is told to. A batch of an unknown producer
   * at another sequence is then OUT_OF_ORDER_SEQUENCE (details: unknownProducer), because batches before it are
   * missing. Without it an unknown producer may begin at any sequence, as a mirror does.
   */
  readonly fromZero?: boolean | undefined;
  /**
   * This batch was sent before, its outcome is unknown, and the log then ended at this offset or above. If the log has
   * forgotten producers that wrote since, and does not know this one, it answers OUT_OF_ORDER_SEQUENCE (details:
   * forgotten) instead of taking a batch that it may hold already.
   */
  readonly resentSince?: number | undefined;
  /**
   * True if other bookkeeping (an outbox's row) keeps the order of these batches: their producer is not checked or
   * remembered.
   */
  readonly isCounted?: boolean | undefined;
}

export interface AppendResult {
  readonly baseOffset: number;
  readonly lastOffset: number;
  /**
   * True when the producer's sequence showed that these bytes are already in the log; the offsets are the first ones.
   */
  readonly duplicate: boolean;
  readonly leaderEpoch: number;
  /** The level that was reached before the answer was sent. */
  readonly acks: Acks;
}

export interface RetentionSettings {
  /**
   * Keep at least what arrived in the last `maxAgeMs`. Age counts from when a record's segment was sealed, not from the
   * record's timestamp. A segment is sealed at the latest when its first record is this old. Default: no limit.
   */
  readonly maxAgeMs?: number | undefined;
  /** Remove oldest sealed segments while the log is larger. Default: no limit. */
  readonly maxBytes?: number | undefined;
  /** Remove oldest sealed segments while more records remain without them. Default: no limit. */
  readonly maxRecords?: number | undefined;
}

export interface CompactionSettings {
  /** A segment is not compacted until it has been sealed for this long. Default 0. */
  readonly minLagMs?: number | undefined;
  /** A tombstone may be removed when its segment has been sealed for this long. Default 24 h. */
  readonly tombstoneRetentionMs?: number | undefined;
}

/** Plain data; docs/limits.md gives each default its reason. */
export interface LogSettings {
  readonly retention: RetentionSettings;
  /** Absent: the log is not compacted. */
  readonly compaction: CompactionSettings | undefined;
  /** Roll when the active segment's first batch is older. Default 7 days. */
  readonly segmentMaxAgeMs: number;
  /** Largest record, encoded. Default: what fits a batch of the largest size, 1,048,527 bytes. */
  readonly recordBytesMax: number;
  /** Largest batch, header included. Default and upper limit 1,048,588 bytes, as in a Kafka broker. */
  readonly batchBytesMax: number;
  /** Bytes waiting for a group commit; one more is BACKPRESSURE. Default 16 MiB. */
  readonly queueBytesMax: number;
  /** Appends waiting; one more is BACKPRESSURE. Default 10,000. */
  readonly queueAppendsMax: number;
  /** Reads parked at the end of the log; one more is LIMIT_EXCEEDED. Default 1,000. */
  readonly waitersMax: number;
  /** Producer ids remembered; the longest silent goes first. Default 1,000. */
  readonly producersMax: number;
  /** Keys one compaction pass holds in memory. Default 1,000,000. */
  readonly compactionKeysMax: number;
  /** Largest decompressed batch, bytes. Default and upper limit 2 MiB: what the kernel's memory holds. */
  readonly decompressedBytesMax: number;
}

/** Time is handed in, so that a simulation can own it. */
export interface Clock {
  /** Milliseconds since 1970. May go back; nothing durable depends on its order. */
  now(): number;
}

export interface FetchOptions {
  /** Default 1 MiB. At least one batch comes, however large. */
  readonly maxBytes?: number | undefined;
  /** Default "committed". */
  readonly isolation?: Isolation | undefined;
  /**
   * Records at or behind it are not wanted. A batch that holds more than the wanted records, or more than `maxBytes`,
   * may come in parts: the answer then ends behind its part. Ignored with `wait` and `verify`. Default: none, and whole
   * batches.
   */
  readonly to?: number | undefined;
  /** Wait for data at the end of the log instead of answering empty. Ends with the signal. Default false. */
  readonly wait?: boolean | undefined;
  /** Check every checksum of the segment first; a reader asks for it after it met a bad batch. Default false. */
  readonly verify?: boolean | undefined;
  /** Asks for changes and not for records alone. A log whose records keep their place from the start ignores it. */
  readonly changes?: ChangesPlace | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Where a reader of changes stands, besides the offset (src/sync/topic-cut.ts). */
export interface ChangesPlace {
  /** Position from which on own records without a place are wanted. */
  readonly provisional: number;
  /** What the last answer told; undefined with the first ask. */
  readonly told?: string | undefined;
}

export interface Fetched extends FetchedBatches {
  readonly logStartOffset: number;
  readonly highWatermark: number;
  readonly logEndOffset: number;
}

export interface CleanResult {
  /** Segments and bytes removed by retention. */
  readonly retired: { readonly segments: number; readonly bytes: number };
  /** Segments rewritten by compaction, and bytes before and after. */
  readonly compacted: {
    readonly segments: number;
    readonly bytesBefore: number;
    readonly bytesAfter: number;
    readonly recordsRemoved: number;
  };
  readonly rolled: boolean;
}

/** The counts of a clean() that had nothing to remove. */
export const NOTHING_CLEANED: Omit<CleanResult, "rolled"> = {
  retired: { segments: 0, bytes: 0 },
  compacted: { segments: 0, bytesBefore: 0, bytesAfter: 0, recordsRemoved: 0 },
};

export interface OwnRecord {
  readonly state: "provisional" | "committed" | "retracted";
  readonly offset?: number | undefined;
}

/** The log's public interface. src/log/log.ts implements it; hosts and tests use it. */
export interface LogApi {
  readonly name: string;
  readonly logStartOffset: number;
  /** Exclusive, as in Kafka: records below it are committed. */
  readonly highWatermark: number;
  readonly logEndOffset: number;
  readonly leaderEpoch: number;
  readonly recovery: LogRecovery;
  readonly settings: LogSettings;
  /** The largest append: the settings, or what a slot of the store holds if that is less. */
  readonly limits: { readonly recordBytesMax: number; readonly batchBytesMax: number };

  /**
   * Appends one encoded record batch (src/record makes them). The log owns `batch` from here on and patches 12 bytes.
   * Errors: INVALID_BATCH, BATCH_TOO_LARGE, RECORD_TOO_LARGE, OUT_OF_ORDER_SEQUENCE, SEQUENCE_CONFLICT,
   * FENCED_PRODUCER, OFFSET_CONFLICT, BACKPRESSURE, QUOTA_EXCEEDED: not appended. OUTCOME_UNKNOWN, CLOSED after
   * acceptance: re-send it with the same sequence to the log opened anew.
   */
  append(batch: Uint8Array, options?: LogAppendOptions): Promise<AppendResult>;
  /** Raw batches from an offset; record checksums are left to the reader that decodes. */
  fetch(from: number, options?: FetchOptions): Promise<Fetched>;
  /** The offset that a start position means at this moment. */
  resolve(position: StartPosition, isolation?: Isolation): Promise<number>;
  /**
   * The fate of a record that was appended here and may not be committed yet. `placeIn` finds it by its
   * batch's header. Undefined: not known. Only a log whose records get their place elsewhere has this call.
   */
  ownRecord?(placeIn: (header: BatchHeader) => number | undefined): Promise<OwnRecord | undefined>;
  trim(offset: number): Promise<void>;
  roll(): Promise<void>;
  /** Retention, roll by age, compaction; explicit, because the log has no timers. */
  clean(): Promise<CleanResult>;
  segments(): readonly SegmentInfo[];
  quarantined(): readonly QuarantinedRange[];
  /** Waits for queued appends, flushes, closes the store. */
  close(): Promise<void>;
}

/** What a log needs to be opened. */
export interface LogOptions {
  readonly store: LogStore;
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly settings?: Partial<LogSettings> | undefined;
  /**
   * Resolves in a later turn of the host's event loop, behind messages that already wait. Where storage is synchronous,
   * appends pile up as messages while a commit uses the thread. With a turn between commits, they form the next one.
   * `committed`: batches of the commit before; left out where it is other work that makes room.
   */
  readonly breathe?: ((committed?: number) => Promise<void>) | undefined;
}
