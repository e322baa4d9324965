/**
 * Walks whole batches from the start of IN and makes the sparse index entries on the way. The CRC does not cover base
 * offset, length, epoch and magic. They are judged by continuity: the offset must be the next one, the epoch inside its
 * bounds. So a stale batch that was left in a reused slot ends the walk.
 *
 *   OFFSET_ENTRIES ┌ i32 relative last offset ┬ i32 position ┐        an entry before a batch, once more than 4,096
 *   TIME_ENTRIES   ┌ i64 max timestamp ┬ i32 relative offset ┐        bytes of batches lie behind the last; big-endian
 *
 *   RESULT  ┌ 0 valid bytes ┬ 1 batches ┬ 2 records ┬ 3 next offset ┬ 4 last epoch ┬ 5 bytes since entry ┬
 *   (f64)   ┴ 6 max timestamp ┬ 7 its offset ┬ 8 time entry's timestamp ┬ 9 offset entries ┬ 10 time entries ┐ (bytes)
 */
import {
  checkFields, checkFrame, isCrcGood, isSafeNumber, LAST_OFFSET_DELTA_AT, LEADER_EPOCH_AT, load32, load64,
  MAX_TIMESTAMP_AT, RECORD_COUNT_AT, SAFE_MAX, sizeOf, store32, store64,
} from "./batch";
import {
  BATCH_BYTES_MAX, IN, INDEX_INTERVAL_BYTES, OFFSET_ENTRIES, OFFSET_ENTRIES_BYTES, OFFSET_ENTRY_BYTES, RESULT,
  TIME_ENTRIES, TIME_ENTRIES_BYTES, TIME_ENTRY_BYTES,
} from "./layout";
import { BAD_ARGUMENT, BAD_CRC, BAD_EPOCH, BAD_MAGIC, BAD_OFFSET, NEED_MORE, OK, ZEROS } from "./status";

// The walk's state. Set by every `scan` before it is read: nothing is carried from call to call.
let at: usize = 0;
let nextOffset: i64 = 0;
let segmentBaseOffset: i64 = 0;
let lastEpoch: i32 = 0;
let batches: i32 = 0;
let records: i64 = 0;
let bytesSinceEntry: i64 = 0;
let maxTimestamp: i64 = -1;
let maxTimestampOffset: i64 = -1;
let entryTimestamp: i64 = -1;
let offsetEntry: usize = 0;
let timeEntry: usize = 0;

function areZeros(from: usize, end: usize): bool {
  for (; from + 8 <= end; from += 8) if (load<u64>(from) != 0) return false;
  for (; from < end; from++) if (load<u8>(from) != 0) return false;
  return true;
}

// @ts-ignore: decorator
@inline
function isRelative(offset: i64): bool {
  return offset >= segmentBaseOffset && offset - segmentBaseOffset <= i32.MAX_VALUE;
}

/** Is a number from outside a safe integer, `low` or greater? */
// @ts-ignore: decorator
@inline
function isFrom(low: f64, value: f64): bool {
  return isSafeNumber(value) && value >= low;
}

/** Kafka's order: the batch counts for the time entry, but its bytes only for the next one. */
function index(lastOffset: i64, batchMaxTimestamp: i64, size: i32, position: i32): void {
  if (batchMaxTimestamp > maxTimestamp) {
    maxTimestamp = batchMaxTimestamp;
    maxTimestampOffset = lastOffset;
  }
  if (bytesSinceEntry > INDEX_INTERVAL_BYTES) {
    assert(offsetEntry < OFFSET_ENTRIES + OFFSET_ENTRIES_BYTES && timeEntry < TIME_ENTRIES + TIME_ENTRIES_BYTES);
    store32(offsetEntry, <i32>(lastOffset - segmentBaseOffset));
    store32(offsetEntry + 4, position);
    offsetEntry += OFFSET_ENTRY_BYTES;
    if (maxTimestamp > entryTimestamp) {
      store64(timeEntry, maxTimestamp);
      store32(timeEntry + 8, <i32>(maxTimestampOffset - segmentBaseOffset));
      timeEntry += TIME_ENTRY_BYTES;
      entryTimestamp = maxTimestamp;
    }
    bytesSinceEntry = 0;
  }
  bytesSinceEntry += size;
}

/** Walks over the batch under `at`, or returns why it is none. */
function step(end: usize, allowGaps: bool, minEpoch: i32, maxEpoch: i32, checkCrc: bool, position: i32): i32 {
  let status = checkFrame(at, <i32>(end - at));
  // The rest is searched for other bytes than zeros only here, once at the end of a walk, and not per batch.
  if (status == NEED_MORE || status == BAD_MAGIC) return areZeros(at, end) ? ZEROS : status;
  if (status != OK) return status;
  const baseOffset = load64(at);
  if (baseOffset < nextOffset || (baseOffset > nextOffset && !allowGaps) || baseOffset > SAFE_MAX) return BAD_OFFSET;
  const epoch = load32(at + LEADER_EPOCH_AT);
  if (epoch < minEpoch || epoch > maxEpoch) return BAD_EPOCH;
  const size = sizeOf(at);
  if (size > <i32>(end - at)) return NEED_MORE;
  if (checkCrc && !isCrcGood(at, size)) return BAD_CRC;
  status = checkFields(at);
  if (status != OK) return status;
  const lastOffset = baseOffset + load32(at + LAST_OFFSET_DELTA_AT);
  if (!isRelative(lastOffset)) return BAD_OFFSET;

  index(lastOffset, load64(at + MAX_TIMESTAMP_AT), size, position + <i32>(at - IN));
  batches++;
  records += load32(at + RECORD_COUNT_AT);
  nextOffset = lastOffset + 1;
  lastEpoch = epoch;
  at += size;
  return OK;
}

/** Export. Walks the `size` bytes of IN; the findings are in RESULT. Arguments as in `ScanRequest`. */
export function scan(
  size: i32, expectedOffset: f64, allowGaps: i32, minEpoch: i32, maxEpoch: i32, checkCrc: i32, position: f64,
  baseOffset: f64, sinceEntry: f64, timestamp: f64, timestampOffset: f64, timeEntryTimestamp: f64,
): i32 {
  assert(size >= 0 && size <= BATCH_BYTES_MAX);
  if (!isFrom(0, expectedOffset) || !isFrom(0, baseOffset) || !isFrom(0, sinceEntry)) return BAD_ARGUMENT;
  if (!isFrom(-1, timestamp) || !isFrom(-1, timestampOffset) || !isFrom(-1, timeEntryTimestamp)) return BAD_ARGUMENT;
  if (!isFrom(0, position) || position + <f64>size > <f64>i32.MAX_VALUE) return BAD_ARGUMENT;
  at = IN;
  nextOffset = <i64>expectedOffset;
  segmentBaseOffset = <i64>baseOffset;
  lastEpoch = -1;
  batches = 0;
  records = 0;
  bytesSinceEntry = <i64>sinceEntry;
  maxTimestamp = <i64>timestamp;
  maxTimestampOffset = <i64>timestampOffset;
  entryTimestamp = <i64>timeEntryTimestamp;
  offsetEntry = OFFSET_ENTRIES;
  timeEntry = TIME_ENTRIES;
  // A time entry may have to name this offset.
  if (maxTimestamp != -1 && !isRelative(maxTimestampOffset)) return BAD_ARGUMENT;

  const end: usize = IN + size;
  let status = OK;
  while (at < end && status == OK) status = step(end, allowGaps != 0, minEpoch, maxEpoch, checkCrc != 0, <i32>position);

  store<f64>(RESULT, <f64>(at - IN), 0);
  store<f64>(RESULT, <f64>batches, 8);
  store<f64>(RESULT, <f64>records, 16);
  store<f64>(RESULT, <f64>nextOffset, 24);
  store<f64>(RESULT, <f64>lastEpoch, 32);
  store<f64>(RESULT, <f64>bytesSinceEntry, 40);
  store<f64>(RESULT, <f64>maxTimestamp, 48);
  store<f64>(RESULT, <f64>maxTimestampOffset, 56);
  store<f64>(RESULT, <f64>entryTimestamp, 64);
  store<f64>(RESULT, <f64>(offsetEntry - OFFSET_ENTRIES), 72);
  store<f64>(RESULT, <f64>(timeEntry - TIME_ENTRIES), 80);
  return status;
}
