/**
 * The kernel's interface: bytes in, numbers and bytes out, one call for each batch and never one for each record. Three
 * implementations must agree to the byte: the release build, the debug build, and the reference kernel in TypeScript
 * (test/reference). No call throws or traps on hostile bytes: a bad batch gives a status (`Status`).
 */
import {
  HEADERS_COUNT,
  HEADERS_POSITION,
  KEY_LENGTH,
  KEY_POSITION,
  OFFSET_DELTA,
  RECORD_POSITION,
  VALUE_LENGTH,
  VALUE_POSITION,
} from "./columns-layout.ts";

/**
 * Upper bound of one record batch, header included. It fixes the kernel's memory, which holds one batch in and one out.
 */
export const KERNEL_BATCH_BYTES_MAX = 2 * 1024 * 1024;
/** Upper bound of records in one batch: the kernel's memory has a row of columns for each. */
export const KERNEL_BATCH_RECORDS_MAX = 65_536;

/** The result of a check. 0 is good. The numbers are part of the kernel's ABI; results below zero are `-status`. */
export const Status = {
  OK: 0,
  /** The bytes end before the batch does (also: fewer than the 61 bytes of a header). */
  NEED_MORE: 1,
  /** All bytes up to the end are zero: the clean end of a preallocated slot. */
  ZEROS: 2,
  BAD_MAGIC: 3,
  /** Length below 49, above the limit, or not where the records end. */
  BAD_LENGTH: 4,
  /** Base offset is not the expected one. */
  BAD_OFFSET: 5,
  /** Leader epoch outside [minEpoch, maxEpoch]. */
  BAD_EPOCH: 6,
  BAD_CRC: 7,
  /** Unknown attribute bits, or a codec that does not exist. */
  BAD_ATTRIBUTES: 8,
  /** Record count does not match the offset deltas, or is beyond the limit. */
  BAD_COUNT: 9,
  /** A record's varints, lengths, deltas or headers do not add up. */
  BAD_RECORD: 10,
  /** A timestamp is outside the safe integers, or maxTimestamp is not the records' maximum. */
  BAD_TIMESTAMP: 11,
  /** Output would not fit its region. */
  TOO_LARGE: 12,
  /** The call's own arguments are wrong. */
  BAD_ARGUMENT: 13,
  /** Producer id, epoch or sequence out of its range. */
  BAD_PRODUCER: 14,
} as const;
export type Status = (typeof Status)[keyof typeof Status];

/** A status's name, for messages. The statuses above are in the order of their numbers. */
export const statusName = (status: number): string => Object.keys(Status)[status] ?? "?";

/** The same constants in one object. Code that is minified uses the constants above, which cost no bytes there. */
export const Column = {
  KEY_POSITION,
  KEY_LENGTH,
  VALUE_POSITION,
  VALUE_LENGTH,
  HEADERS_POSITION,
  HEADERS_COUNT,
  OFFSET_DELTA,
  RECORD_POSITION,
} as const;

export interface RecordColumns {
  readonly count: number;
  /** `count * COLUMNS` int32, see `Column`. */
  readonly ints: Int32Array;
  /** `count` timestamps in milliseconds. */
  readonly timestamps: Float64Array;
}

export interface EncodeRequest {
  /** Keys, values and headers sections of all records, back to back in this order, null fields absent. */
  readonly blob: Uint8Array;
  /**
   * Three int32 for each record: key length (-1 null), value length (-1 null), length of the headers section (0: no
   * headers; otherwise the section is in record format: varint count, then the headers).
   */
  readonly lengths: Int32Array;
  /** Milliseconds for each record, safe integers. The first is the batch's base timestamp. */
  readonly timestamps: Float64Array;
  readonly count: number;
  /** Attribute bits to set; codec bits must be 0 here (compression replaces the records section afterwards). */
  readonly attributes: number;
  /** -1 for none. */
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
}

export interface ScanRequest {
  /** Offset the next batch must start with; with `allowGaps` (a compacted segment) it may also be higher. */
  readonly expectedOffset: number;
  readonly allowGaps: boolean;
  readonly minEpoch: number;
  readonly maxEpoch: number;
  readonly checkCrc: boolean;
  /** Added to batch positions when index entries are made: where `bytes` begin in the segment's body. */
  readonly position: number;
  /**
   * Base offset of the segment; index entries are relative to it, so an offset below it or 2^31 above is BAD_OFFSET.
   */
  readonly segmentBaseOffset: number;
  /** State carried from the scan of the bytes before; start with `INDEX_STATE_EMPTY`. */
  readonly index: IndexState;
}

/** The sparse indexes' running state (Kafka's rule: an entry before a batch once 4,096 bytes have passed). */
export interface IndexState {
  readonly bytesSinceEntry: number;
  /** Largest timestamp so far, -1 when there is none, and the last offset of the batch that holds it. */
  readonly maxTimestamp: number;
  readonly maxTimestampOffset: number;
  /** Timestamp of the last time entry, -1 when there is none: entries must rise strictly from scan to scan. */
  readonly entryTimestamp: number;
}
export const INDEX_STATE_EMPTY: IndexState = {
  bytesSinceEntry: 0,
  maxTimestamp: -1,
  maxTimestampOffset: -1,
  entryTimestamp: -1,
};
/** An index entry is made once this many bytes of batches have passed (Kafka's index.interval.bytes). */
export const INDEX_INTERVAL_BYTES = 4096;
export const OFFSET_ENTRY_BYTES = 8;
/** Index entries hold offsets relative to the segment's base in 31 bits, so a segment has at most this many offsets. */
export const SEGMENT_OFFSETS_MAX = 2 ** 31;
export const TIME_ENTRY_BYTES = 12;

export interface ScanResult {
  /** Why the scan stopped. NEED_MORE at the very end of whole batches is reported as OK. */
  readonly status: Status;
  /** Bytes of whole valid batches from the start. */
  readonly validBytes: number;
  readonly batches: number;
  readonly records: number;
  readonly nextOffset: number;
  /** Epoch of the last valid batch, -1 when there was none. */
  readonly lastEpoch: number;
  readonly index: IndexState;
  /** Big-endian entries made by this call, ready to be appended: int32 relative offset, int32 position. */
  readonly offsetEntries: Uint8Array;
  /** int64 timestamp, int32 relative offset; timestamps rise strictly. */
  readonly timeEntries: Uint8Array;
}

export interface Kernel {
  /** "release" | "debug" | "reference" */
  readonly build: string;
  /** CRC-32C of `bytes`, continuing from `seed` (the CRC of what came before; 0 at the start). Unsigned. Any length. */
  crc32c(bytes: Uint8Array, seed?: number): number;
  /** Checks one batch that fills `bytes` exactly: header, limits, CRC and, if not compressed, every record. */
  validateBatch(bytes: Uint8Array): Status;
  /** Columns of one uncompressed batch that fills `bytes` exactly. Checks the CRC if asked. */
  decodeBatch(bytes: Uint8Array, checkCrc: boolean): { readonly status: Status; readonly columns: RecordColumns };
  /** Columns of a bare records section (after decompression). Positions count from `records`' start. */
  decodeRecords(
    records: Uint8Array,
    count: number,
    baseTimestamp: number,
    lastOffsetDelta: number,
    dense: boolean,
  ): { readonly status: Status; readonly columns: RecordColumns };
  /** Walks whole batches from the start of `bytes` (at most KERNEL_BATCH_BYTES_MAX of them are looked at). */
  scan(bytes: Uint8Array, request: ScanRequest): ScanResult;
  /**
   * Greatest entry whose key is at most `target` in a packed big-endian index: its number, or -1 if all are greater.
   * `kind` "offset": 8-byte entries by relative offset; "time": 12-byte entries by timestamp. `steps` receives the
   * probed entry numbers when given (the playground shows them).
   */
  searchIndex(entries: Uint8Array, kind: "offset" | "time", target: number, steps?: number[]): number;
  /**
   * Compaction: the same batch with only the records whose bit is set in `keep` (bit i of byte i >> 3). Base offset,
   * last offset delta, base sequence, base timestamp and producer stay; count, length, max timestamp and CRC are made
   * anew. With no record kept, `bytes` is the empty batch of 61 bytes.
   */
  filterBatch(bytes: Uint8Array, keep: Uint8Array): { readonly status: Status; readonly bytes: Uint8Array };
}

/**
 * Makes batches of columns in addition. It is apart from `Kernel` because a tab writes its batches itself
 * (src/record/batch-builder.ts), and the size of a tab's code is bounded.
 */
export interface EncodingKernel extends Kernel {
  /** A whole record batch with base offset 0 and leader epoch -1 (both are stamped by the leader). */
  encodeBatch(request: EncodeRequest): { readonly status: Status; readonly bytes: Uint8Array };
}

export interface PackRequest {
  /** Offset that the first batch must start with. -1: offsets are not compared. */
  readonly expectedOffset: number;
  /** Only values of records in [from, to) are packed. */
  readonly from: number;
  readonly to: number;
  /** A byte before each value, 0 for none. */
  readonly mark: number;
}

export interface PackResult {
  /** Why the walk stopped. OK means it reached the end of the bytes. BAD_ATTRIBUTES also means a compressed batch. */
  readonly status: Status;
  /** Bytes of the batches that were taken, from the start. */
  readonly validBytes: number;
  /** Offset behind the last batch that was taken; `expectedOffset` if there was none. */
  readonly nextOffset: number;
  /** Number of bytes that were written, marks included, and of values. */
  readonly packedBytes: number;
  readonly values: number;
}

export interface ElementsRequest {
  /** A part of a JSON array, from behind its bracket or a comma. */
  readonly bytes: Uint8Array;
  /** The headers section of the first record, in record format. Empty: it has none. */
  readonly headers: Uint8Array;
  /** Milliseconds, of every record. */
  readonly timestamp: number;
  /** Limit of the encoded batch, at most KERNEL_BATCH_BYTES_MAX, and of an element's own bytes. */
  readonly bytesMax: number;
  readonly valueMax: number;
}

export interface ElementsResult {
  /**
   * Why it ended. OK: the array has ended. NEED_MORE: the bytes have. BAD_RECORD: what follows is no JSON, or the
   * headers are none. TOO_LARGE: the next element does not fit; if no element was taken, it fits in no batch.
   */
  readonly status: Status;
  /** Bytes of the elements that were taken, each with the comma or bracket behind it. */
  readonly takenBytes: number;
  readonly records: number;
  /** The batch of these records, as `encodeBatch` makes it. Empty if there is no record. */
  readonly batch: Uint8Array;
}

/**
 * What a server of plain values needs in addition. It is apart from `Kernel` because no tab needs it, and the size of a
 * tab's code is bounded.
 */
export interface PackingKernel extends EncodingKernel {
  /**
   * Checks whole batches as `decodeBatch` does, CRC included, and writes the values of the wanted records to the start
   * of `into`. Null values and values in control batches are skipped. At most KERNEL_BATCH_BYTES_MAX bytes are read.
   * `into` is as long as `bytes`, and may be `bytes`.
   */
  pack(bytes: Uint8Array, request: PackRequest, into: Uint8Array): PackResult;
  /**
   * Makes a batch of a JSON array's elements: each is a record without a key, with its bytes as they are. Takes and
   * refuses what `JSON.parse` does. At most KERNEL_BATCH_BYTES_MAX bytes are read, headers included.
   */
  encodeElements(request: ElementsRequest): ElementsResult;
  /** True if these bytes are one JSON text in UTF-8. False if there are more than KERNEL_BATCH_BYTES_MAX of them. */
  isJson(bytes: Uint8Array): boolean;
}
