/**
 * Reads records into columns and checks them on the way: each field must lie inside its record before it is used.
 *
 *   record   ┌ length ┬ attributes ┬ timestamp ┬ offset ┬ key    ┬ key ┬ value  ┬ value ┬ header ┬ headers ┐
 *            │ varint │ 1 byte, any│ delta     │ delta  │ length │     │ length │       │ count  │         │
 *            └────────┴────────────┴ varlong ──┴ varint ┴ varint ┴─────┴ varint ┴───────┴ varint ┴─────────┘
 *   header   ┌ key length ┬ key ┬ value length ┬ value ┐          a length of -1 is null; a header's key is never null
 *            └────────────┴─────┴──────────────┴───────┘
 *
 *   row      ┌ key position ┬ key length ┬ value position ┬ value length ┐
 *    8 × i32 ├ headers pos. ┼ headers    ┼ offset delta   ┼ record pos.  ┤     stamp: f64 timestamp
 *            └──────────────┴─ count ────┴────────────────┴──────────────┘
 */
import {
  ATTRIBUTES_AT, BASE_TIMESTAMP_AT, checkFields, checkFrame, CODEC_MASK, HEADER_BYTES, isCrcGood, isSafe, isSafeNumber,
  LAST_OFFSET_DELTA_AT, LEADER_EPOCH_AT, load16, load32, load64, LOG_APPEND_TIME, MAX_TIMESTAMP_AT, RECORD_COUNT_AT,
  SAFE_MAX, sizeOf,
} from "./batch";
import { BATCH_BYTES_MAX, COLUMNS, IN, RECORDS_MAX, ROWS, STAMPS } from "./layout";
import {
  BAD_ATTRIBUTES, BAD_COUNT, BAD_CRC, BAD_EPOCH, BAD_LENGTH, BAD_OFFSET, BAD_RECORD, BAD_TIMESTAMP, NEED_MORE, OK,
  TOO_LARGE,
} from "./status";
import { bytesLeft, position, readVarint, readVarlong, seek, skip } from "./varint";

/** Largest timestamp of the records that were read last; i64.MIN_VALUE when there were none. */
export let maxTimestampRead: i64 = i64.MIN_VALUE;

/** Skips a field of `size` bytes; -1 means null. */
// @ts-ignore: decorator
@inline
function skipNullable(size: i32): bool {
  return size == -1 || skip(size);
}

/** Skips `count` headers behind the cursor. A header takes two bytes at least, which bounds the loop. */
export function skipHeaders(count: i32): bool {
  if (<u32>count > <u32>bytesLeft()) return false;
  for (; count > 0; count--) {
    if (!skip(readVarint())) return false;
    if (!skipNullable(readVarint())) return false;
  }
  return true;
}

/** Reads the record under the cursor, which must fill the bytes up to the limit, into row and stamp. */
// @ts-ignore: decorator
@inline
function readRecord(row: usize, stamp: usize, baseTimestamp: i64, previousDelta: i32, lastOffsetDelta: i32): i32 {
  if (!skip(1)) return BAD_RECORD;
  const timestampDelta = readVarlong();
  const offsetDelta = readVarint();
  if (offsetDelta <= previousDelta || offsetDelta > lastOffsetDelta) return BAD_RECORD;
  // The base is a safe integer, so a sum that wraps around lands at the far end of i64 and fails the next check.
  const timestamp = baseTimestamp + timestampDelta;
  if (!isSafe(timestamp)) return BAD_TIMESTAMP;
  if (timestamp > maxTimestampRead) maxTimestampRead = timestamp;
  store<f64>(stamp, <f64>timestamp);

  const keyLength = readVarint();
  store<i32>(row, <i32>(position() - IN));
  store<i32>(row, keyLength, 4);
  if (!skipNullable(keyLength)) return BAD_RECORD;
  const valueLength = readVarint();
  store<i32>(row, <i32>(position() - IN), 8);
  store<i32>(row, valueLength, 12);
  if (!skipNullable(valueLength)) return BAD_RECORD;
  const headersCount = readVarint();
  store<i32>(row, <i32>(position() - IN), 16);
  store<i32>(row, headersCount, 20);
  store<i32>(row, offsetDelta, 24);
  if (headersCount != 0 && !skipHeaders(headersCount)) return BAD_RECORD;
  return bytesLeft() == 0 ? OK : BAD_RECORD;
}

/** Reads `count` records that must fill [at, end) exactly. */
function readRecords(at: usize, end: usize, count: i32, baseTimestamp: i64, lastOffsetDelta: i32): i32 {
  assert(at <= end && count >= 0 && count <= RECORDS_MAX);
  maxTimestampRead = i64.MIN_VALUE;
  let offsetDelta = -1;
  let row: usize = ROWS;
  let stamp: usize = STAMPS;
  for (const rowsEnd = row + count * (COLUMNS * 4); row < rowsEnd; row += COLUMNS * 4) {
    seek(at, end);
    store<i32>(row, <i32>(at - IN), 28);
    const length = readVarint();
    if (<u32>length > <u32>bytesLeft()) return BAD_RECORD;
    at = position() + length;
    seek(position(), at);
    const status = readRecord(row, stamp, baseTimestamp, offsetDelta, lastOffsetDelta);
    if (status != OK) return status;
    offsetDelta = load<i32>(row, 24);
    stamp += 8;
  }
  return at == end ? OK : BAD_LENGTH;
}

/** Header, place, sum and fields of the batch that fills the `size` bytes at `at`. */
export function checkBatch(at: usize, size: i32, checkCrc: bool): i32 {
  assert(size >= 0 && size <= BATCH_BYTES_MAX);
  const status = checkFrame(at, size);
  if (status != OK) return status;
  const baseOffset = load64(at);
  if (baseOffset < 0 || baseOffset > SAFE_MAX) return BAD_OFFSET;
  if (load32(at + LEADER_EPOCH_AT) < -1) return BAD_EPOCH;
  if (sizeOf(at) != size) return sizeOf(at) > size ? NEED_MORE : BAD_LENGTH;
  if (checkCrc && !isCrcGood(at, size)) return BAD_CRC;
  return checkFields(at);
}

/** Rows and stamps of the batch at `at`; positions count from IN. */
export function readBatchRecords(at: usize, size: i32): i32 {
  return readRecords(
    at + HEADER_BYTES, at + size, load32(at + RECORD_COUNT_AT), load64(at + BASE_TIMESTAMP_AT),
    load32(at + LAST_OFFSET_DELTA_AT),
  );
}

/** Export. Status of the batch in IN; compressed records are opaque here and checked after decompression. */
export function validate(size: i32): i32 {
  const status = checkBatch(IN, size, true);
  const attributes = load16(IN + ATTRIBUTES_AT);
  if (status != OK || attributes & CODEC_MASK) return status;
  const recordsStatus = readBatchRecords(IN, size);
  if (recordsStatus != OK) return recordsStatus;
  // A wrong maximum would hide records from lookups by time. An empty batch (compaction) and the log's own append time
  // have no records to be compared with.
  const isFree = attributes & LOG_APPEND_TIME || load32(IN + RECORD_COUNT_AT) == 0;
  return isFree || load64(IN + MAX_TIMESTAMP_AT) == maxTimestampRead ? OK : BAD_TIMESTAMP;
}

/** Export. Columns of the batch in IN: the record count, or -status. */
export function decode(size: i32, checkCrc: i32): i32 {
  let status = checkBatch(IN, size, checkCrc != 0);
  if (status != OK) return -status;
  const attributes = load16(IN + ATTRIBUTES_AT);
  if (attributes & CODEC_MASK) return -BAD_ATTRIBUTES;
  status = readBatchRecords(IN, size);
  if (status != OK) return -status;
  const count = load32(IN + RECORD_COUNT_AT);
  if (attributes & LOG_APPEND_TIME) {
    const timestamp = <f64>load64(IN + MAX_TIMESTAMP_AT);
    for (let stamp: usize = STAMPS, end: usize = STAMPS + (count << 3); stamp < end; stamp += 8) {
      store<f64>(stamp, timestamp);
    }
  }
  return count;
}

/** Export. Columns of the bare records section in IN: the record count, or -status. */
export function decodeRecords(size: i32, count: i32, baseTimestamp: f64, lastOffsetDelta: i32, dense: i32): i32 {
  if (<u32>size > <u32>BATCH_BYTES_MAX) return -TOO_LARGE;
  if (<u32>count > <u32>RECORDS_MAX || lastOffsetDelta < 0 || count - 1 > lastOffsetDelta) return -BAD_COUNT;
  if (dense && count - 1 != lastOffsetDelta) return -BAD_COUNT;
  if (!isSafeNumber(baseTimestamp)) return -BAD_TIMESTAMP;
  const status = readRecords(IN, IN + size, count, <i64>baseTimestamp, lastOffsetDelta);
  return status == OK ? count : -status;
}
