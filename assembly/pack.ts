/**
 * A reader's answer in one call. Whole batches in IN are checked one after the other. The values of the wanted records
 * are written back to back into OUT, each behind its mark if there is one (the comma of a JSON array).
 *
 *   IN      ┌ batch 0-2 ┬ batch 3 ┬ batch 4-6 ┐      wanted: [1, 6)
 *   OUT     ┌ , ┬ v1 ┬ , ┬ v2 ┬ , ┬ v3 ┬ , ┬ v4 ┬ , ┬ v5 ┐
 *   RESULT  ┌ 0 bytes of the batches ┬ 1 next offset ┬ 2 bytes of OUT ┬ 3 values ┐ (f64)
 *
 * With small batches the CRC is most of the work, and long inputs are folded at three times the speed. So the batches'
 * CRCs may be checked together. Each header between two batches is overwritten: first by the inverted CRC of the batch
 * before it, which brings the CRC register to zero, then by zeros, which leave it there.
 *
 *   IN      ┌ … ┬ bytes under CRC 0 ┬ ~CRC 0 ┬ 17 zeros ┬ bytes under CRC 1, the first 4 inverted ┬ ~CRC 1 ┬ …
 *
 * Wrong bytes go unseen once in 2^32 cases, as within one batch. When the common check fails, the caller must fill IN
 * anew and call again with each CRC on its own.
 *
 * The walk ends before a batch that is refused, compressed or out of order; OUT then holds nothing of that batch. A
 * record has more bytes around its value than a mark has, so OUT has room for all of IN.
 */
import {
  ATTRIBUTES_AT, checkFrame, CODEC_MASK, CONTROL, CRC_AT, isSafeNumber, LAST_OFFSET_DELTA_AT, load16, load32, load64,
  RECORD_COUNT_AT, sizeOf,
} from "./batch";
import { crc32c } from "./crc32c";
import { checkBatch, readBatchRecords } from "./decode";
import { copy } from "./encode";
import { BATCH_BYTES_MAX, COLUMNS, IN, OUT, RESULT, ROWS } from "./layout";
import { BAD_ARGUMENT, BAD_ATTRIBUTES, BAD_CRC, BAD_OFFSET, OK } from "./status";

// The walk's state, set by every `pack` before it is read.
let at: usize = 0;
let out: usize = 0;
let nextOffset: i64 = 0;
let values: i32 = 0;

/** Takes the batch under `at`, or returns why it can't be taken. */
// @ts-ignore: decorator
@inline
function take(end: usize, anyOffset: bool, from: i64, to: i64, mark: i32, checkCrc: bool): i32 {
  const left = <i32>(end - at);
  let status = checkFrame(at, left);
  if (status != OK) return status;
  const baseOffset = load64(at);
  if (!anyOffset && baseOffset != nextOffset) return BAD_OFFSET;
  const size = min(sizeOf(at), left);
  status = checkBatch(at, size, checkCrc);
  if (status != OK) return status;
  const attributes = load16(at + ATTRIBUTES_AT);
  if (attributes & CODEC_MASK) return BAD_ATTRIBUTES;
  status = readBatchRecords(at, size);
  if (status != OK) return status;
  const rowsEnd: usize = ROWS + (attributes & CONTROL ? 0 : load32(at + RECORD_COUNT_AT) * (COLUMNS * 4));
  for (let row: usize = ROWS; row < rowsEnd; row += COLUMNS * 4) {
    const length = load<i32>(row, 12);
    const offset = baseOffset + load<i32>(row, 24);
    if (length < 0 || offset < from || offset >= to) continue;
    if (mark != 0) store<u8>(out++, mark);
    copy(out, IN + load<i32>(row, 8), length);
    out += length;
    values++;
  }
  nextOffset = baseOffset + load32(at + LAST_OFFSET_DELTA_AT) + 1;
  at += size;
  return OK;
}

/** Are the CRCs of the batches in [IN, end) good? Overwrites the headers between them. */
function areSumsGood(end: usize): bool {
  let sum: u32 = load32(IN + CRC_AT);
  for (let batch = IN + sizeOf(IN); batch < end; ) {
    const size = sizeOf(batch);
    const next: u32 = load32(batch + CRC_AT);
    memory.fill(batch, 0, ATTRIBUTES_AT);
    store<u32>(batch, ~sum);
    store<u32>(batch + ATTRIBUTES_AT, ~load<u32>(batch + ATTRIBUTES_AT));
    sum = next;
    batch += size;
  }
  return sum == crc32c(IN + ATTRIBUTES_AT, end - IN - ATTRIBUTES_AT, 0);
}

/**
 * Export. Walks the `size` bytes of IN; the findings are in RESULT. With `expectedOffset` -1 the batches' offsets are
 * not compared. `mark` is a byte, 0 for none. `together` checks all CRCs at once: any status but OK then says nothing
 * about a single batch, and IN is overwritten.
 */
export function pack(size: i32, expectedOffset: f64, from: f64, to: f64, mark: i32, together: i32): i32 {
  assert(size >= 0 && size <= BATCH_BYTES_MAX);
  if (
    !isSafeNumber(expectedOffset) || !isSafeNumber(from) || !isSafeNumber(to) || <u32>mark > 0xff
  ) return BAD_ARGUMENT;
  at = IN;
  out = OUT;
  nextOffset = <i64>expectedOffset;
  values = 0;
  const end: usize = IN + size;
  let status = OK;
  while (at < end && status == OK) status = take(end, expectedOffset == -1, <i64>from, <i64>to, mark, together == 0);
  if (together && status == OK && size > 0 && !areSumsGood(end)) status = BAD_CRC;

  store<f64>(RESULT, <f64>(at - IN), 0);
  store<f64>(RESULT, <f64>nextOffset, 8);
  store<f64>(RESULT, <f64>(out - OUT), 16);
  store<f64>(RESULT, <f64>values, 24);
  return status;
}
