/**
 * Kafka's RecordBatch v2, big-endian (Apache Kafka, DefaultRecordBatch; KIP-98). Each offset below is derived from the
 * one before it, so that the drawing and the numbers agree.
 *
 *   0        8        12       16    17       21          23         27            35           43           51
 *   ┌────────┬────────┬────────┬─────┬────────┬───────────┬──────────┬─────────────┬────────────┬────────────┬─ …
 *   │ base   │ length │ leader │magic│ CRC-32C│ attributes│ last off-│ base        │ max        │ producer   │
 *   │ offset │ i32    │ epoch  │ = 2 │ u32    │ i16       │ set delta│ timestamp   │ timestamp  │ id i64     │
 *   │ i64    │        │ i32    │ i8  │        │           │ i32      │ i64         │ i64        │            │
 *   └────────┴────────┴────────┴─────┴────────┴───────────┴──────────┴─────────────┴────────────┴────────────┴─ …
 *        51               53              57              61
 *   … ───┬───────────────┬───────────────┬───────────────┬───────────────────────────────┐
 *        │ producer      │ base sequence │ record count  │ records, or their compressed  │
 *        │ epoch i16     │ i32           │ i32           │ bytes                         │
 *   … ───┴───────────────┴───────────────┴───────────────┴───────────────────────────────┘
 *
 * `length` counts the bytes behind it. The CRC covers byte 21 to the end, so a leader can set base offset and leader
 * epoch without touching the producer's checksum: a reader can still verify it end to end.
 */
import { viewOf } from "./bytes.ts";

export const BASE_OFFSET_AT = 0;
export const LENGTH_AT = BASE_OFFSET_AT + 8;
export const LEADER_EPOCH_AT = LENGTH_AT + 4;
export const MAGIC_AT = LEADER_EPOCH_AT + 4;
export const CRC_AT = MAGIC_AT + 1;
export const ATTRIBUTES_AT = CRC_AT + 4;
export const LAST_OFFSET_DELTA_AT = ATTRIBUTES_AT + 2;
export const BASE_TIMESTAMP_AT = LAST_OFFSET_DELTA_AT + 4;
export const MAX_TIMESTAMP_AT = BASE_TIMESTAMP_AT + 8;
export const PRODUCER_ID_AT = MAX_TIMESTAMP_AT + 8;
export const PRODUCER_EPOCH_AT = PRODUCER_ID_AT + 8;
export const BASE_SEQUENCE_AT = PRODUCER_EPOCH_AT + 2;
export const RECORD_COUNT_AT = BASE_SEQUENCE_AT + 4;
/** Bytes of a batch header; also the smallest batch (no records, as compaction may leave it). */
export const BATCH_HEADER_BYTES = RECORD_COUNT_AT + 4;
/** Bytes before those that `length` counts. */
export const LENGTH_OVERHEAD = LENGTH_AT + 4;
/** First byte under the CRC. */
export const CRC_FROM = ATTRIBUTES_AT;
export const MAGIC = 2;

/** Attribute bits 0-2. */
export const CODEC_MASK = 0x07;
/** No codec. No platform has Kafka's others (2 snappy, 3 lz4, 4 zstd). */
export const CODEC_NONE = 0;
export const CODEC_GZIP = 1;
const CODEC_NAMES = ["none", "gzip", "snappy", "lz4", "zstd"];
/** A codec's name, for messages. */
export const codecName = (attributes: number): string =>
  CODEC_NAMES[attributes & CODEC_MASK] ?? `of number ${attributes & CODEC_MASK}`;
export const ATTRIBUTE_LOG_APPEND_TIME = 0x08;
export const ATTRIBUTE_TRANSACTIONAL = 0x10;
export const ATTRIBUTE_CONTROL = 0x20;
export const ATTRIBUTE_DELETE_HORIZON = 0x40;
export const ATTRIBUTES_KNOWN = 0x7f;

/** A parsed batch header. Offsets, ids and timestamps are safe integers, otherwise the header is invalid. */
export interface BatchHeader {
  readonly baseOffset: number;
  /** Whole batch in bytes, header included. */
  readonly sizeBytes: number;
  readonly leaderEpoch: number;
  readonly magic: number;
  readonly crc: number;
  readonly attributes: number;
  readonly lastOffsetDelta: number;
  readonly baseTimestamp: number;
  readonly maxTimestamp: number;
  readonly producerId: number;
  readonly producerEpoch: number;
  readonly baseSequence: number;
  readonly recordCount: number;
}

/**
 * Reads the header at `at`. The bytes must hold all 61 bytes of it. Nothing is checked here; that is the kernel's work.
 */
export function readHeader(bytes: Uint8Array, at = 0): BatchHeader {
  const v = viewOf(bytes);
  return {
    baseOffset: Number(v.getBigInt64(at + BASE_OFFSET_AT)),
    sizeBytes: v.getInt32(at + LENGTH_AT) + LENGTH_OVERHEAD,
    leaderEpoch: v.getInt32(at + LEADER_EPOCH_AT),
    magic: v.getInt8(at + MAGIC_AT),
    crc: v.getUint32(at + CRC_AT),
    attributes: v.getInt16(at + ATTRIBUTES_AT),
    lastOffsetDelta: v.getInt32(at + LAST_OFFSET_DELTA_AT),
    baseTimestamp: Number(v.getBigInt64(at + BASE_TIMESTAMP_AT)),
    maxTimestamp: Number(v.getBigInt64(at + MAX_TIMESTAMP_AT)),
    producerId: Number(v.getBigInt64(at + PRODUCER_ID_AT)),
    producerEpoch: v.getInt16(at + PRODUCER_EPOCH_AT),
    baseSequence: v.getInt32(at + BASE_SEQUENCE_AT),
    recordCount: v.getInt32(at + RECORD_COUNT_AT),
  };
}

/**
 * Gives a batch its base offset: 8 bytes outside the checksum. A Kafka broker accepts a batch in a produce request only
 * with base offset 0, and one batch for each partition in a request. It assigns the offsets and stamps its own leader
 * epoch.
 */
export function stampBaseOffset(bytes: Uint8Array, baseOffset: number, at = 0): void {
  viewOf(bytes).setBigInt64(at + BASE_OFFSET_AT, BigInt(baseOffset));
}

/** Gives a batch the leader's epoch: 4 bytes outside the checksum. */
export function stampLeaderEpoch(bytes: Uint8Array, leaderEpoch: number, at = 0): void {
  viewOf(bytes).setInt32(at + LEADER_EPOCH_AT, leaderEpoch);
}

/** Offset behind the batch's last record. */
export function nextOffsetOf(header: BatchHeader): number {
  return header.baseOffset + header.lastOffsetDelta + 1;
}
