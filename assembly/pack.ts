/**
 * A reader's answer in one call: whole batches in IN are checked one after the other, and the values of the wanted records
 * lie back to back in OUT, each behind its mark if there is one (the comma of a JSON array).
 *
 *   IN      ┌ batch 0-2 ┬ batch 3 ┬ batch 4-6 ┐      wanted: [1, 6)
 *   OUT     ┌ , ┬ v1 ┬ , ┬ v2 ┬ , ┬ v3 ┬ , ┬ v4 ┬ , ┬ v5 ┐
 *   RESULT  ┌ 0 bytes of the batches ┬ 1 next offset ┬ 2 bytes of OUT ┬ 3 values ┐ (f64)
 *
 * A batch that is refused, compressed or out of order ends the walk before it: of such a one nothing is in OUT. A record has more
 * bytes around its value than a mark, so what fits IN fits OUT.
 */
import { ATTRIBUTES_AT, checkFrame, CODEC_MASK, CONTROL, isSafeNumber, LAST_OFFSET_DELTA_AT, load16, load32, load64, RECORD_COUNT_AT, sizeOf } from "./batch";
import { checkBatch, readBatchRecords } from "./decode";
import { copy } from "./encode";
import { BATCH_BYTES_MAX, COLUMNS, IN, OUT, RESULT, ROWS } from "./layout";
import { BAD_ARGUMENT, BAD_ATTRIBUTES, BAD_OFFSET, NEED_MORE, OK } from "./status";

// The walk's state, set by every `pack` before it is read.
let at: usize = 0;
let out: usize = 0;
let nextOffset: i64 = 0;
let values: i32 = 0;

/** Takes the batch under `at`, or says why not. */
// @ts-ignore: decorator
@inline
function take(end: usize, anyOffset: bool, from: i64, to: i64, mark: i32): i32 {
  let status = checkFrame(at, <i32>(end - at));
  if (status != OK) return status;
  const size = sizeOf(at);
  if (size > <i32>(end - at)) return NEED_MORE;
  const baseOffset = load64(at);
  if (!anyOffset && baseOffset != nextOffset) return BAD_OFFSET;
  status = checkBatch(at, size, true);
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

/**
 * Export. Walks the `size` bytes of IN; the findings are in RESULT. `expectedOffset` -1: the batches' offsets are not compared. `mark`
 * is a byte, 0 for none.
 */
export function pack(size: i32, expectedOffset: f64, from: f64, to: f64, mark: i32): i32 {
  assert(size >= 0 && size <= BATCH_BYTES_MAX);
  if (!isSafeNumber(expectedOffset) || !isSafeNumber(from) || !isSafeNumber(to) || <u32>mark > 0xff) return BAD_ARGUMENT;
  at = IN;
  out = OUT;
  nextOffset = <i64>expectedOffset;
  values = 0;
  const end: usize = IN + size;
  let status = OK;
  while (at < end && status == OK) status = take(end, expectedOffset == -1, <i64>from, <i64>to, mark);

  store<f64>(RESULT, <f64>(at - IN), 0);
  store<f64>(RESULT, <f64>nextOffset, 8);
  store<f64>(RESULT, <f64>(out - OUT), 16);
  store<f64>(RESULT, <f64>values, 24);
  return status;
}
