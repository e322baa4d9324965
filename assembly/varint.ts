/**
 * Zigzag varints through one checked cursor.
 *
 *   ┌─ 1 ┬ 7 bits ─┐┌─ 1 ┬ 7 bits ─┐ … ┌─ 0 ┬ 7 bits ─┐     low bits first; at most 5 bytes (i32) or 10 (i64);
 *   └────┴─────────┘└────┴─────────┘   └────┴─────────┘     zigzag: 0, -1, 1, -2 … are 0, 1, 2, 3 …
 *
 * No byte is read at or behind `limit`. A varint that is cut off, too long, too large or not in its shortest form is
 * MALFORMED and moves the cursor to the limit, so whatever is read after it is malformed too: a caller may read several
 * fields and judge once. MALFORMED is no valid length, count or delta anywhere in the format.
 */
export const MALFORMED: i32 = i32.MIN_VALUE;

let cursor: usize = 0;
let limit: usize = 0;

/** Puts the cursor on `at`; nothing from `end` on is read. */
// @ts-ignore: decorator
@inline
export function seek(at: usize, end: usize): void {
  cursor = at;
  limit = end;
}

// @ts-ignore: decorator
@inline
export function position(): usize {
  return cursor;
}

// @ts-ignore: decorator
@inline
export function bytesLeft(): i32 {
  return <i32>(limit - cursor);
}

/** Passes over `size` bytes, or says no when they are not there. */
// @ts-ignore: decorator
@inline
export function skip(size: i32): bool {
  if (<u32>size > <u32>bytesLeft()) return false;
  cursor += size;
  return true;
}

// @ts-ignore: decorator
@inline
export function readVarint(): i32 {
  if (cursor < limit) {
    const byte: u32 = load<u8>(cursor);
    if (byte < 0x80) {
      cursor++;
      return <i32>((byte >>> 1) ^ -(byte & 1));
    }
  }
  return readLongerVarint();
}

function readLongerVarint(): i32 {
  let at = cursor;
  let value: u32 = 0;
  for (let shift: u32 = 0; shift < 35 && at < limit; shift += 7) {
    const byte: u32 = load<u8>(at++);
    if (shift == 28 && byte > 0x0f) break;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (byte == 0) break;
      cursor = at;
      return <i32>((value >>> 1) ^ -(value & 1));
    }
  }
  cursor = limit;
  return MALFORMED;
}

/** A malformed one reads as 0 with the cursor at the limit: the caller's next varint tells. */
// @ts-ignore: decorator
@inline
export function readVarlong(): i64 {
  if (cursor < limit) {
    const byte: u32 = load<u8>(cursor);
    if (byte < 0x80) {
      cursor++;
      return <i64>(<i32>((byte >>> 1) ^ -(byte & 1)));
    }
  }
  return readLongerVarlong();
}

function readLongerVarlong(): i64 {
  let at = cursor;
  let value: u64 = 0;
  for (let shift: u64 = 0; shift < 70 && at < limit; shift += 7) {
    const byte: u64 = load<u8>(at++);
    if (shift == 63 && byte > 1) break;
    value |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      if (byte == 0) break;
      cursor = at;
      return <i64>((value >>> 1) ^ -(value & 1));
    }
  }
  cursor = limit;
  return 0;
}

/** Bytes of a zigzagged value: one per seven bits, at least one. */
// @ts-ignore: decorator
@inline
export function varlongSize(value: i64): i32 {
  const zigzag = (value << 1) ^ (value >> 63);
  return <i32>((70 - clz<u64>(zigzag | 1)) / 7);
}

/** Writes `value` at `at`; gives the address behind it. The caller has made sure of ten free bytes. */
// @ts-ignore: decorator
@inline
export function writeVarint(at: usize, value: i32): usize {
  const zigzag: u32 = (value << 1) ^ (value >> 31);
  if (zigzag < 0x80) {
    store<u8>(at, zigzag);
    return at + 1;
  }
  return writeLongerVarint(at, zigzag);
}

// @ts-ignore: decorator
@inline
export function writeVarlong(at: usize, value: i64): usize {
  const zigzag: u64 = (value << 1) ^ (value >> 63);
  if (zigzag < 0x80) {
    store<u8>(at, <u32>zigzag);
    return at + 1;
  }
  return writeLongerVarint(at, zigzag);
}

function writeLongerVarint(at: usize, zigzag: u64): usize {
  for (; zigzag >= 0x80; zigzag >>>= 7) store<u8>(at++, <u32>zigzag | 0x80);
  store<u8>(at, <u32>zigzag);
  return at + 1;
}
