/**
 * Walks JSON in its bytes, and makes neither values nor strings. It takes what `JSON.parse` takes of bytes that are
 * strict UTF-8, and refuses the rest. Nesting may be as deep as the bytes are many: an open bracket is a byte in ROWS,
 * the one that will close it.
 *
 *   IN      ┌ {"a":[1,2]} ┬ 0 ┐       a zero behind the end is allowed nowhere, so no step compares with the end
 *   ROWS    ┌ } ┬ ] ┐                 while the walk is between 1 and 2
 *
 * Each function takes the address of a first byte and returns the address behind the last one, or 0 where the bytes are
 * no JSON. `stoppedAt` then is the byte that is wrong: the end, if these bytes may be the beginning of JSON.
 */
import { IN, ROWS } from "./layout";

const QUOTE: i32 = 0x22;
const PLUS: i32 = 0x2b;
export const COMMA: i32 = 0x2c;
const MINUS: i32 = 0x2d;
const POINT: i32 = 0x2e;
const ZERO: i32 = 0x30;
const COLON: i32 = 0x3a;
const OPEN_LIST: i32 = 0x5b;
const BACKSLASH: i32 = 0x5c;
export const CLOSE_LIST: i32 = 0x5d;
const OPEN_OBJECT: i32 = 0x7b;
const CLOSE_OBJECT: i32 = 0x7d;
/** Bytes of three words, the first one last. */
const TRUE: u32 = 0x65757274;
const NULL: u32 = 0x6c6c756e;
const ALSE: u32 = 0x65736c61;

/** Set by each walk that fails. */
export let stoppedAt: usize = 0;

function stop(at: usize): usize {
  stoppedAt = at;
  return 0;
}

// @ts-ignore: decorator
@inline
function byteAt(at: usize): i32 {
  return <i32>load<u8>(at);
}

/** Writes the zero behind the bytes in [IN, end). There is room for it. */
export function markEnd(end: usize): void {
  store<u8>(end, 0);
}

/** Space, tab, line feed, carriage return: JSON has no other white space. */
// @ts-ignore: decorator
@inline
function isSpace(byte: i32): bool {
  return byte <= 0x20 && (byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09);
}

// @ts-ignore: decorator
@inline
export function behindSpace(at: usize): usize {
  while (isSpace(byteAt(at))) at++;
  return at;
}

// @ts-ignore: decorator
@inline
function isDigit(byte: i32): bool {
  return <u32>(byte - ZERO) <= 9;
}

function behindDigits(at: usize): usize {
  if (!isDigit(byteAt(at))) return stop(at);
  do at++; while (isDigit(byteAt(at)));
  return at;
}

function behindNumber(at: usize): usize {
  if (byteAt(at) == MINUS) at++;
  if (byteAt(at) == ZERO) at++;
  else if ((at = behindDigits(at)) == 0) return 0;
  if (byteAt(at) == POINT && (at = behindDigits(at + 1)) == 0) return 0;
  if ((byteAt(at) | 0x20) != 0x65) return at;
  const sign = byteAt(++at);
  return behindDigits(at + usize(sign == PLUS || sign == MINUS));
}

function behindWord(at: usize, word: u32): usize {
  for (; word != 0; word >>>= 8) {
    if (byteAt(at) != (word & 0xff)) return stop(at);
    at++;
  }
  return at;
}

// @ts-ignore: decorator
@inline
function isHex(byte: i32): bool {
  return isDigit(byte) || <u32>((byte | 0x20) - 0x61) < 6;
}

/** `at` is behind the backslash. */
function behindEscape(at: usize): usize {
  const byte = byteAt(at);
  if (byte == 0x75) {
    for (const last = at + 4; at < last; ) if (!isHex(byteAt(++at))) return stop(at);
    return at + 1;
  }
  // " \ / b f n r t
  return byte == QUOTE || byte == BACKSLASH || byte == 0x2f || byte == 0x62 || byte == 0x66 || byte == 0x6e
    || byte == 0x72 || byte == 0x74 ? at + 1 : stop(at);
}

/** One character of two to four bytes: in its shortest form, no half of a surrogate pair, at most U+10FFFF. */
function behindCharacter(at: usize): usize {
  const first = byteAt(at);
  if (first < 0xc2 || first > 0xf4) return stop(at);
  const more: i32 = 1 + i32(first >= 0xe0) + i32(first >= 0xf0);
  const low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
  const high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
  const second = byteAt(++at);
  if (second < low || second > high) return stop(at);
  for (let i = 1; i < more; i++) if ((byteAt(++at) & 0xc0) != 0x80) return stop(at);
  return at + 1;
}

/** `at` is behind the first quote. Sixteen bytes a step; as signed numbers, bytes of longer characters are below 0. */
function behindString(at: usize): usize {
  while (true) {
    const bytes = v128.load(at);
    const marks = i8x16.bitmask(v128.or(
      i8x16.lt_s(bytes, i8x16.splat(0x20)),
      v128.or(i8x16.eq(bytes, i8x16.splat(<i8>QUOTE)), i8x16.eq(bytes, i8x16.splat(<i8>BACKSLASH))),
    ));
    if (marks == 0) {
      at += 16;
      continue;
    }
    at += ctz(marks);
    let byte = byteAt(at);
    if (byte == QUOTE) return at + 1;
    if (byte == BACKSLASH) {
      if ((at = behindEscape(at + 1)) == 0) return 0;
    } else {
      if (byte < 0x80) return stop(at);
      for (; byte >= 0x80; byte = byteAt(at)) if ((at = behindCharacter(at)) == 0) return 0;
    }
  }
}

/** A member's name and its colon. */
function behindName(at: usize): usize {
  if (byteAt(at) != QUOTE) return stop(at);
  if ((at = behindString(at + 1)) == 0) return 0;
  at = behindSpace(at);
  return byteAt(at) == COLON ? at + 1 : stop(at);
}

/** Anything but lists and objects that have something in them. */
function behindPlain(at: usize, byte: i32): usize {
  if (byte == QUOTE) return behindString(at + 1);
  if (byte == 0x74) return behindWord(at, TRUE);
  if (byte == 0x66) return behindWord(at + 1, ALSE);
  if (byte == 0x6e) return behindWord(at, NULL);
  return behindNumber(at);
}

/** One value, with the white space before it. */
export function behindValue(at: usize): usize {
  let open: usize = ROWS;
  while (true) {
    at = behindSpace(at);
    const first = byteAt(at);
    const closing = first == OPEN_OBJECT ? CLOSE_OBJECT : first == OPEN_LIST ? CLOSE_LIST : 0;
    if (closing == 0) {
      if ((at = behindPlain(at, first)) == 0) return 0;
    } else {
      at = behindSpace(at + 1);
      if (byteAt(at) != closing) {
        store<u8>(open++, closing);
        if (closing == CLOSE_OBJECT && (at = behindName(at)) == 0) return 0;
        continue;
      }
      at++;
    }
    // A value has ended here, and maybe lists and objects that end with it.
    while (true) {
      if (open == ROWS) return at;
      at = behindSpace(at);
      const byte = byteAt(at);
      const closes = byteAt(open - 1);
      if (byte == COMMA) {
        at++;
        if (closes == CLOSE_OBJECT && (at = behindName(behindSpace(at))) == 0) return 0;
        break;
      }
      if (byte != closes) return stop(at);
      at++;
      open--;
    }
  }
}

/** Export. Are the `size` bytes of IN one JSON text? */
export function isJson(size: i32): bool {
  const end = IN + <usize>size;
  markEnd(end);
  const at = behindValue(IN);
  return at != 0 && behindSpace(at) == end;
}
