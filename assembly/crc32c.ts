/**
 * CRC-32C (Castagnoli, reflected polynomial 82F63B78), sixteen bytes a step.
 *
 *   TABLE  ┌─ T0: CRC of byte n ─┬─ T1: of n and one zero byte ─┬─ … ─┬─ T15: of n and fifteen zero bytes ─┐
 *          └─ 256 × u32 ─────────┴──────────────────────────────┴─────┴────────────────────────────────────┘
 *
 * A CRC is linear: the CRC of sixteen bytes is the XOR of each byte's own, moved to its place; so the lookups of a
 * step do not wait for one another. Built at start: 16 KiB of tables would be most of the file.
 */
import { TABLE } from "./layout";

const POLYNOMIAL: u32 = 0x82f63b78;

for (let n: u32 = 0; n < 256; n++) {
  let crc = n;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (-(crc & 1) & POLYNOMIAL);
  store<u32>(TABLE + (n << 2), crc);
}
for (let at: usize = TABLE; at < TABLE + 15 * 1024; at += 4) {
  const crc = load<u32>(at);
  store<u32>(at + 1024, (crc >>> 8) ^ load<u32>(TABLE + ((crc & 0xff) << 2)));
}

// @ts-ignore: decorator
@inline
function table(k: u32, byte: u32): u32 {
  return load<u32>(TABLE + (k << 10) + (byte << 2));
}

/** The four lookups of a word whose last byte is followed by `after` bytes of the step. */
// @ts-ignore: decorator
@inline
function word(after: u32, w: u32): u32 {
  return table(after + 3, w & 0xff) ^ table(after + 2, (w >>> 8) & 0xff) ^ table(after + 1, (w >>> 16) & 0xff) ^ table(after, w >>> 24);
}

/** CRC of `size` bytes at `at`, continuing from `seed`. */
export function crc32c(at: usize, size: usize, seed: u32): u32 {
  let crc = ~seed;
  const end = at + size;
  for (const last = end - (size & 15); at < last; at += 16) {
    crc = word(12, load<u32>(at) ^ crc) ^ word(8, load<u32>(at, 4)) ^ word(4, load<u32>(at, 8)) ^ word(0, load<u32>(at, 12));
  }
  if (size & 8) {
    crc = word(4, load<u32>(at) ^ crc) ^ word(0, load<u32>(at, 4));
    at += 8;
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ table(0, (crc & 0xff) ^ load<u8>(at));
  return ~crc;
}
