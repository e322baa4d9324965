/**
 * Makes a batch of a JSON array's elements, each the value of a record of its own, with its bytes as they are. IN has a
 * part of the array, from behind its bracket or a comma. An element is taken once the comma or the bracket behind it is
 * seen, so the caller goes on behind what was taken, and more bytes may follow by then.
 *
 *   IN      ┌ headers of the first record ┬ {"a":1} , {"a":2} , {"a" … ┐
 *                                         └── taken ────────┘
 *   OUT     ┌ header ┬ record {"a":1} ┬ record {"a":2} ┐
 *   RESULT  ┌ 0 bytes taken ┬ 1 bytes of OUT ┬ 2 records ┐ (f64)
 *
 * It ends before an element that does not fit: TOO_LARGE. If no element was taken before it, it fits nowhere.
 */
import { BASE_TIMESTAMP_AT, HEADER_BYTES, isSafeNumber, MAX_TIMESTAMP_AT, store64 } from "./batch";
import { areHeaders, copy, writeHeader } from "./encode";
import { behindSpace, behindValue, CLOSE_LIST, COMMA, markEnd, stoppedAt } from "./json";
import { BATCH_BYTES_MAX, IN, OUT, RECORDS_MAX, RESULT } from "./layout";
import { BAD_ARGUMENT, BAD_RECORD, BAD_TIMESTAMP, NEED_MORE, OK, TOO_LARGE } from "./status";
import { varlongSize, writeVarint } from "./varint";

/** Writes a record without a key, and of the first one's time. Returns the address behind it. */
// @ts-ignore: decorator
@inline
function writeRecord(at: usize, i: i32, body: i32, value: usize, length: i32, headersSize: i32): usize {
  at = writeVarint(at, body);
  // No attributes, and a timestamp delta of 0.
  store<u16>(at, 0);
  at = writeVarint(writeVarint(at + 2, i), -1);
  at = writeVarint(at, length);
  copy(at, value, length);
  at += length;
  if (headersSize > 0) copy(at, IN, headersSize);
  else store<u8>(at, 0);
  return at + max(headersSize, 1);
}

/** Export. Why it ended: OK, where the array has. `size` counts the headers as well. */
export function encodeElements(size: i32, headersSize: i32, timestamp: f64, bytesMax: i32, valueMax: i32): i32 {
  assert(size >= 0 && size <= BATCH_BYTES_MAX);
  store<f64>(RESULT, 0, 0);
  store<f64>(RESULT, 0, 8);
  store<f64>(RESULT, 0, 16);
  if (!isSafeNumber(timestamp)) return BAD_TIMESTAMP;
  if (bytesMax < HEADER_BYTES || bytesMax > BATCH_BYTES_MAX || <u32>headersSize > <u32>size) return BAD_ARGUMENT;
  if (headersSize > 0 && !areHeaders(IN, headersSize)) return BAD_RECORD;
  const first: usize = IN + headersSize;
  const end: usize = IN + size;
  const outEnd: usize = OUT + bytesMax;
  markEnd(end);
  let taken = first;
  let out: usize = OUT + HEADER_BYTES;
  let count = 0;
  let status = NEED_MORE;
  while (status == NEED_MORE) {
    const start = behindSpace(taken);
    const valueEnd = behindValue(start);
    const at = valueEnd == 0 ? stoppedAt : behindSpace(valueEnd);
    const mark = valueEnd == 0 ? 0 : <i32>load<u8>(at);
    if (mark != COMMA && mark != CLOSE_LIST) {
      status = at == end ? NEED_MORE : BAD_RECORD;
      break;
    }
    const length = <i32>(valueEnd - start);
    const ownHeaders = count == 0 ? headersSize : 0;
    const body = 3 + varlongSize(count) + varlongSize(length) + length + max(ownHeaders, 1);
    if (length > valueMax || count == RECORDS_MAX || varlongSize(body) + body > <i32>(outEnd - out)) {
      status = TOO_LARGE;
      break;
    }
    out = writeRecord(out, count++, body, start, length, ownHeaders);
    taken = at + 1;
    if (mark == CLOSE_LIST) status = OK;
  }
  if (count > 0) {
    store64(OUT + BASE_TIMESTAMP_AT, <i64>timestamp);
    store64(OUT + MAX_TIMESTAMP_AT, <i64>timestamp);
    writeHeader(<i32>(out - OUT), count, 0, -1, -1, -1);
    store<f64>(RESULT, <f64>(taken - first), 0);
    store<f64>(RESULT, <f64>(out - OUT), 8);
    store<f64>(RESULT, <f64>count, 16);
  }
  return status;
}
