/**
 * Compaction: copies the batch in IN to OUT with only the records whose bit is set in KEEP.
 *
 *   IN    ┌ header ┬ r0 ┬ r1 ┬ r2 ┬ r3 ┐     KEEP  1 0 1 1
 *   OUT   ┌ header ┬ r0 ┬ r2 ┬ r3 ┐          count, length, max timestamp and CRC anew, all else as it was
 *
 * Records keep their bytes, because their deltas are relative to the base offset and base timestamp, which stay. The
 * last offset delta and the sequence stay too, so offsets remain continuous and the producer's place is kept.
 */
import {
  ATTRIBUTES_AT, CRC_AT, crcOf, HEADER_BYTES, LENGTH_AT, LENGTH_OVERHEAD, load16, LOG_APPEND_TIME, MAX_TIMESTAMP_AT,
  RECORD_COUNT_AT, store32, store64,
} from "./batch";
import { decode } from "./decode";
import { COLUMNS, IN, KEEP, OUT, ROWS, STAMPS } from "./layout";
import { BAD_ARGUMENT } from "./status";

// @ts-ignore: decorator
@inline
function isKept(i: i32): bool {
  return (<u32>load<u8>(KEEP + (i >>> 3)) >>> (i & 7) & 1) != 0;
}

/** Address of record `i`; for `i` = `count` the end of the batch. */
// @ts-ignore: decorator
@inline
function recordAt(i: i32, count: i32, size: i32): usize {
  return IN + (i == count ? size : load<i32>(ROWS + i * (COLUMNS * 4), 28));
}

/** Export. Size of the batch in OUT, or -status. KEEP holds `keepBytes` bytes. */
export function filter(size: i32, keepBytes: i32): i32 {
  const count = decode(size, 1);
  if (count < 0) return count;
  if (keepBytes < (count + 7) >>> 3) return -BAD_ARGUMENT;
  let at: usize = OUT + HEADER_BYTES;
  let kept = 0;
  let maxTimestamp = -Infinity;
  for (let i = 0; i < count; i++) {
    if (!isKept(i)) continue;
    const first = i;
    // A run of kept records moves as one piece.
    for (; i < count && isKept(i); i++) maxTimestamp = Math.max(maxTimestamp, load<f64>(STAMPS + (i << 3)));
    const from = recordAt(first, count, size);
    const bytes = recordAt(i, count, size) - from;
    memory.copy(at, from, bytes);
    at += bytes;
    kept += i - first;
  }
  memory.copy(OUT, IN, HEADER_BYTES);
  const filteredSize = <i32>(at - OUT);
  store32(OUT + LENGTH_AT, filteredSize - LENGTH_OVERHEAD);
  store32(OUT + RECORD_COUNT_AT, kept);
  // A batch without records gets Kafka's "no timestamp". The log's own append time belongs to the batch and stays.
  if (!(load16(IN + ATTRIBUTES_AT) & LOG_APPEND_TIME)) {
    store64(OUT + MAX_TIMESTAMP_AT, kept == 0 ? -1 : <i64>maxTimestamp);
  }
  store32(OUT + CRC_AT, crcOf(OUT, filteredSize));
  return filteredSize;
}
