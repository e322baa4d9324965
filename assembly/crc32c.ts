/**
 * CRC-32C (Castagnoli, reflected polynomial 82F63B78). Long inputs are folded first. The rest is looked up in tables,
 * sixteen bytes a step.
 *
 *   fold   x^209 ≡ x^144 + x^54 + x^39 + x^14 + 1 modulo the polynomial. Squaring keeps sums, so the same holds with
 *          x^128, a vector, in place of x. Hence a vector may be set to zero if it is added (XOR, no table) 65, 155,
 *          170, 195 and 209 vectors further on. The last 209 vectors of a block remain; they have the block's CRC.
 *
 *   FOLD   ┌─ 209 vectors of zeros ─┬─ what each vector of the block was when it was taken away ─┐
 *
 *   TABLE  ┌─ T0: CRC of byte n ─┬─ T1: of n and one zero byte ─┬─ … ─┬─ T15: of n and fifteen zero bytes ─┐
 *          └─ 256 × u32 ─────────┴──────────────────────────────┴─────┴────────────────────────────────────┘
 *
 * A CRC is linear: the CRC of sixteen bytes is the XOR of each byte's CRC, moved to its place. So the lookups of a step
 * do not wait for one another. The tables are built at start: 16 KiB of tables would be most of the file.
 */
import { FOLD, FOLD_BLOCK, FOLD_LEFT, TABLE, VECTOR } from "./layout";

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
  return table(after + 3, w & 0xff) ^ table(after + 2, (w >>> 8) & 0xff) ^ table(after + 1, (w >>> 16) & 0xff)
    ^ table(after, w >>> 24);
}

/** Shorter inputs are not folded: looking them up is as quick. */
const FOLDED_MIN: usize = 4 * FOLD_LEFT;
const NOTES: usize = FOLD + FOLD_LEFT;

/** XOR of the folded vectors that land on `at`. */
// @ts-ignore: decorator
@inline
function added(at: usize): v128 {
  return v128.xor(
    v128.xor(v128.load(at - 65 * VECTOR), v128.load(at - 155 * VECTOR)),
    v128.xor(v128.xor(v128.load(at - 170 * VECTOR), v128.load(at - 195 * VECTOR)), v128.load(at - FOLD_LEFT)),
  );
}

/**
 * Folds `size` bytes, whole vectors, into the last `FOLD_LEFT` bytes of the notes, and returns the address of these.
 * The CRC register begins with `crc`.
 */
function fold(at: usize, size: usize, crc: u32): usize {
  memory.fill(FOLD, 0, FOLD_LEFT);
  const taken = size - FOLD_LEFT;
  v128.store(NOTES, v128.xor(v128.load(at), i32x4(<i32>crc, 0, 0, 0)));
  for (let i = VECTOR; i < taken; i += VECTOR) v128.store(NOTES + i, v128.xor(v128.load(at + i), added(NOTES + i)));
  // The last 209 vectors add nothing to one another.
  memory.fill(NOTES + taken, 0, FOLD_LEFT);
  for (let i = size; i > taken; ) {
    i -= VECTOR;
    v128.store(NOTES + i, v128.xor(v128.load(at + i), added(NOTES + i)));
  }
  return NOTES + taken;
}

/** CRC of `size` bytes at `at`, continuing from `seed`. */
export function crc32c(at: usize, size: usize, seed: u32): u32 {
  let crc = ~seed;
  const end = at + size;
  while (end - at >= FOLDED_MIN) {
    const block = min<usize>(end - at, FOLD_BLOCK) & ~(VECTOR - 1);
    crc = lookUp(fold(at, block, crc), FOLD_LEFT, 0);
    at += block;
  }
  return ~lookUp(at, end - at, crc);
}

/** The CRC register after `size` more bytes, by table. */
function lookUp(at: usize, size: usize, crc: u32): u32 {
  const end = at + size;
  for (const last = end - (size & 15); at < last; at += 16) {
    crc = word(12, load<u32>(at) ^ crc) ^ word(8, load<u32>(at, 4)) ^ word(4, load<u32>(at, 8))
      ^ word(0, load<u32>(at, 12));
  }
  if (size & 8) {
    crc = word(4, load<u32>(at) ^ crc) ^ word(0, load<u32>(at, 4));
    at += 8;
  }
  for (; at < end; at++) crc = (crc >>> 8) ^ table(0, (crc & 0xff) ^ load<u8>(at));
  return crc;
}
