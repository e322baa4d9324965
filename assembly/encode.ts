/**
 * Writes a whole record batch into OUT.
 *
 *   IN      ┌ key ┬ value ┬ headers ┐┌ key ┬ value ┬ headers ┐ …      back to back, null fields absent
 *   ROWS    ┌ key length ┬ value length ┬ headers length ┐ …          3 × i32 a record, -1 null; headers 0: none
 *   STAMPS  ┌ timestamp f64 ┐ …
 *
 * The base offset is 0 and the leader epoch -1. Both stand outside the CRC, and the leader sets them.
 */
import {
  ATTRIBUTES_AT, ATTRIBUTES_KNOWN, BASE_SEQUENCE_AT, BASE_TIMESTAMP_AT, CODEC_MASK, CRC_AT, crcOf, HEADER_BYTES,
  isSafeNumber, LAST_OFFSET_DELTA_AT, LEADER_EPOCH_AT, LENGTH_AT, LENGTH_OVERHEAD, LOG_APPEND_TIME, MAGIC, MAGIC_AT,
  MAX_TIMESTAMP_AT, PRODUCER_EPOCH_AT, PRODUCER_ID_AT, RECORD_COUNT_AT, store16, store32, store64,
} from "./batch";
import { skipHeaders } from "./decode";
import { BATCH_BYTES_MAX, IN, OUT, RECORDS_MAX, ROWS, STAMPS } from "./layout";
import {
  BAD_ARGUMENT, BAD_ATTRIBUTES, BAD_COUNT, BAD_PRODUCER, BAD_RECORD, BAD_TIMESTAMP, OK, TOO_LARGE,
} from "./status";
import { bytesLeft, readVarint, seek, varlongSize, writeVarint, writeVarlong } from "./varint";

/** Up to this size, copying whole words is quicker than memory.copy. It may pass the end by 7 bytes (SLACK). */
const SHORT_COPY: i32 = 64;

// @ts-ignore: decorator
@inline
export function copy(to: usize, from: usize, size: i32): void {
  if (size > SHORT_COPY) memory.copy(to, from, size);
  else for (let i = 0; i < size; i += 8) store<u64>(to + i, load<u64>(from + i));
}

/** A length or absent field as bytes. */
// @ts-ignore: decorator
@inline
function bytesOf(length: i32): i32 {
  return length < 0 ? 0 : length;
}

/** Are the headers at `from` in record format, filling `size` bytes? A batch that is written must be readable again. */
export function areHeaders(from: usize, size: i32): bool {
  seek(from, from + size);
  return skipHeaders(readVarint()) && bytesLeft() == 0;
}

/** Writes the header of the batch in OUT, whose records and timestamps are there, with the CRC over all. */
// @ts-ignore: decorator
@inline
export function writeHeader(
  size: i32, count: i32, attributes: i32, producerId: i64, producerEpoch: i32, baseSequence: i32,
): void {
  store64(OUT, 0);
  store32(OUT + LENGTH_AT, size - LENGTH_OVERHEAD);
  store32(OUT + LEADER_EPOCH_AT, -1);
  store<u8>(OUT + MAGIC_AT, MAGIC);
  store16(OUT + ATTRIBUTES_AT, attributes);
  store32(OUT + LAST_OFFSET_DELTA_AT, count - 1);
  store64(OUT + PRODUCER_ID_AT, producerId);
  store16(OUT + PRODUCER_EPOCH_AT, producerEpoch);
  store32(OUT + BASE_SEQUENCE_AT, baseSequence);
  store32(OUT + RECORD_COUNT_AT, count);
  store32(OUT + CRC_AT, crcOf(OUT, size));
}

/** Export. Size of the batch in OUT, or -status. */
export function encode(
  blobSize: i32, count: i32, attributes: i32, producerId: f64, producerEpoch: i32, baseSequence: i32,
): i32 {
  assert(blobSize >= 0 && blobSize <= BATCH_BYTES_MAX);
  if (count < 1) return -BAD_COUNT;
  if (count > RECORDS_MAX) return -TOO_LARGE;
  // LOG_APPEND_TIME is refused: only the log sets it, a producer stamps its own times.
  if (attributes & ~(ATTRIBUTES_KNOWN & ~CODEC_MASK & ~LOG_APPEND_TIME)) return -BAD_ATTRIBUTES;
  if (!isSafeNumber(producerId) || producerId < -1) return -BAD_PRODUCER;
  if (producerEpoch < -1 || producerEpoch > i16.MAX_VALUE || baseSequence < -1) return -BAD_PRODUCER;
  const size = encodeRecords(blobSize, count);
  if (size < 0) return size;
  writeHeader(size, count, attributes, <i64>producerId, producerEpoch, baseSequence);
  return size;
}

/** Writes the records and the two timestamps of the header. Size of the batch, or -status. */
function encodeRecords(blobSize: i32, count: i32): i32 {
  const firstStamp = load<f64>(STAMPS);
  if (!isSafeNumber(firstStamp)) return -BAD_TIMESTAMP;
  const baseTimestamp = <i64>firstStamp;
  let maxTimestamp = baseTimestamp;
  let from: usize = IN;
  const fromEnd: usize = IN + blobSize;
  let at: usize = OUT + HEADER_BYTES;

  for (let i = 0; i < count; i++) {
    const lengths: usize = ROWS + i * 12;
    const stamp = load<f64>(STAMPS + (i << 3));
    if (!isSafeNumber(stamp)) return -BAD_TIMESTAMP;
    const timestamp = <i64>stamp;
    if (timestamp > maxTimestamp) maxTimestamp = timestamp;
    const keyLength = load<i32>(lengths);
    const valueLength = load<i32>(lengths, 4);
    const headersLength = load<i32>(lengths, 8);
    if (keyLength < -1 || valueLength < -1 || headersLength < 0) return -BAD_ARGUMENT;
    // Three int32 may add up beyond an int32; as i64 the sum is true.
    const fields = <i64>bytesOf(keyLength) + bytesOf(valueLength) + headersLength;
    if (fields > <i64>(fromEnd - from)) return -BAD_ARGUMENT;

    const timestampDelta = timestamp - baseTimestamp;
    const body = 1 + varlongSize(timestampDelta) + varlongSize(i) + varlongSize(keyLength) + varlongSize(valueLength)
      + <i32>fields + i32(headersLength == 0);
    if (varlongSize(body) + body > <i32>(OUT + BATCH_BYTES_MAX - at)) return -TOO_LARGE;
    at = writeVarint(at, body);
    store<u8>(at++, 0);
    at = writeVarint(writeVarlong(at, timestampDelta), i);
    at = writeVarint(at, keyLength);
    if (keyLength > 0) {
      copy(at, from, keyLength);
      from += keyLength;
      at += keyLength;
    }
    at = writeVarint(at, valueLength);
    if (valueLength > 0) {
      copy(at, from, valueLength);
      from += valueLength;
      at += valueLength;
    }
    if (headersLength == 0) {
      store<u8>(at++, 0);
    } else {
      if (!areHeaders(from, headersLength)) return -BAD_RECORD;
      copy(at, from, headersLength);
      from += headersLength;
      at += headersLength;
    }
  }
  if (from != fromEnd) return -BAD_ARGUMENT;
  store64(OUT + BASE_TIMESTAMP_AT, baseTimestamp);
  store64(OUT + MAX_TIMESTAMP_AT, maxTimestamp);
  return <i32>(at - OUT);
}
