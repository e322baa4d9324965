/**
 * The header of a record batch: where its fields stand (the picture is in src/record/format.ts) and whether they can be
 * true. The order of the checks is part of the ABI: a batch may be wrong in several ways, and the reference kernel in
 * TypeScript must name the same one.
 *
 *   frame   fewer than 61 bytes: NEED_MORE · magic: BAD_MAGIC · length: BAD_LENGTH        (outside the CRC)
 *   place   base offset: BAD_OFFSET · leader epoch: BAD_EPOCH                               (outside the CRC)
 *   whole   batch longer than the bytes: NEED_MORE · shorter than them: BAD_LENGTH
 *   sum     CRC-32C over byte 21 to the end: BAD_CRC
 *   fields  attributes, last offset delta, record count, timestamps, producer, in their order below
 */
import { crc32c } from "./crc32c";
import { BATCH_BYTES_MAX, RECORDS_MAX } from "./layout";
import {
  BAD_ATTRIBUTES, BAD_COUNT, BAD_LENGTH, BAD_MAGIC, BAD_OFFSET, BAD_PRODUCER, BAD_TIMESTAMP, NEED_MORE, OK,
} from "./status";

export const LENGTH_AT: usize = 8;
export const LEADER_EPOCH_AT: usize = LENGTH_AT + 4;
export const MAGIC_AT: usize = LEADER_EPOCH_AT + 4;
export const CRC_AT: usize = MAGIC_AT + 1;
export const ATTRIBUTES_AT: usize = CRC_AT + 4;
export const LAST_OFFSET_DELTA_AT: usize = ATTRIBUTES_AT + 2;
export const BASE_TIMESTAMP_AT: usize = LAST_OFFSET_DELTA_AT + 4;
export const MAX_TIMESTAMP_AT: usize = BASE_TIMESTAMP_AT + 8;
export const PRODUCER_ID_AT: usize = MAX_TIMESTAMP_AT + 8;
export const PRODUCER_EPOCH_AT: usize = PRODUCER_ID_AT + 8;
export const BASE_SEQUENCE_AT: usize = PRODUCER_EPOCH_AT + 2;
export const RECORD_COUNT_AT: usize = BASE_SEQUENCE_AT + 4;
export const HEADER_BYTES: i32 = <i32>RECORD_COUNT_AT + 4;
export const LENGTH_OVERHEAD: i32 = <i32>LENGTH_AT + 4;

export const MAGIC: i32 = 2;
export const CODEC_MASK: i32 = 0x07;
export const CODEC_LAST: i32 = 4;
export const LOG_APPEND_TIME: i32 = 0x08;
export const CONTROL: i32 = 0x20;
export const ATTRIBUTES_KNOWN: i32 = 0x7f;

/** JavaScript's safe integers: what crosses to TypeScript as a number without loss. */
export const SAFE_MAX: i64 = 0x1fffffffffffff;

// @ts-ignore: decorator
@inline
export function isSafe(value: i64): bool {
  return value >= -SAFE_MAX && value <= SAFE_MAX;
}

/** The same for a number from outside; what passes converts to i64 exactly (an f64 conversion would trap otherwise). */
// @ts-ignore: decorator
@inline
export function isSafeNumber(value: f64): bool {
  return Math.abs(value) <= <f64>SAFE_MAX && Math.trunc(value) == value;
}

// @ts-ignore: decorator
@inline
export function load16(at: usize): i32 {
  return bswap<i16>(load<i16>(at));
}
// @ts-ignore: decorator
@inline
export function load32(at: usize): i32 {
  return bswap<i32>(load<i32>(at));
}
// @ts-ignore: decorator
@inline
export function load64(at: usize): i64 {
  return bswap<i64>(load<i64>(at));
}
// @ts-ignore: decorator
@inline
export function store16(at: usize, value: i32): void {
  store<i16>(at, bswap<i16>(<i16>value));
}
// @ts-ignore: decorator
@inline
export function store32(at: usize, value: i32): void {
  store<i32>(at, bswap<i32>(value));
}
// @ts-ignore: decorator
@inline
export function store64(at: usize, value: i64): void {
  store<i64>(at, bswap<i64>(value));
}

/** Bytes of the batch at `at`; trusted only after `checkFrame`. */
// @ts-ignore: decorator
@inline
export function sizeOf(at: usize): i32 {
  return load32(at + LENGTH_AT) + LENGTH_OVERHEAD;
}

/** May these bytes begin a batch? Leaves open whether all of it is there. */
export function checkFrame(at: usize, available: i32): i32 {
  if (available < HEADER_BYTES) return NEED_MORE;
  if (<i32>load<u8>(at + MAGIC_AT) != MAGIC) return BAD_MAGIC;
  const length = load32(at + LENGTH_AT);
  if (length < HEADER_BYTES - LENGTH_OVERHEAD || length > BATCH_BYTES_MAX - LENGTH_OVERHEAD) return BAD_LENGTH;
  return OK;
}

export function crcOf(at: usize, size: i32): u32 {
  return crc32c(at + ATTRIBUTES_AT, size - <i32>ATTRIBUTES_AT, 0);
}

// @ts-ignore: decorator
@inline
export function isCrcGood(at: usize, size: i32): bool {
  return <u32>load32(at + CRC_AT) == crcOf(at, size);
}

/** The fields under the CRC. The base offset must have been found safe. */
export function checkFields(at: usize): i32 {
  const attributes = load16(at + ATTRIBUTES_AT);
  if (attributes & ~ATTRIBUTES_KNOWN || (attributes & CODEC_MASK) > CODEC_LAST) return BAD_ATTRIBUTES;
  const lastOffsetDelta = load32(at + LAST_OFFSET_DELTA_AT);
  if (lastOffsetDelta < 0) return BAD_COUNT;
  if (load64(at) + lastOffsetDelta >= SAFE_MAX) return BAD_OFFSET;
  const count = load32(at + RECORD_COUNT_AT);
  // Compaction takes records away and leaves the delta, so there may be fewer records than offsets, never more.
  if (count < 0 || count > RECORDS_MAX || count - 1 > lastOffsetDelta) return BAD_COUNT;
  if (!isSafe(load64(at + BASE_TIMESTAMP_AT)) || !isSafe(load64(at + MAX_TIMESTAMP_AT))) return BAD_TIMESTAMP;
  const producerId = load64(at + PRODUCER_ID_AT);
  // kafkajs writes epoch 0 and sequence 0 beside "no producer id", Kafka's control batches an id and sequence -1: only
  // the ranges are judged here, what belongs together is the log's affair.
  if (producerId < -1 || producerId > SAFE_MAX) return BAD_PRODUCER;
  if (load16(at + PRODUCER_EPOCH_AT) < -1 || load32(at + BASE_SEQUENCE_AT) < -1) return BAD_PRODUCER;
  return OK;
}
