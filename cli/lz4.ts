/**
 * Unpacks LZ4's frames, as Kafka's producers write them (LZ4 frame format 1.6; a block's layout: LZ4 block format).
 *
 *   frame   ┌ magic 0x184D2204 ┬ FLG ┬ BD ┬ [size u64] ┬ [dictionary u32] ┬ HC ┬ block … ┬ 0 u32 ┬ [checksum u32] ┐
 *   block   ┌ bytes u32, highest bit: stored as they are ┬ bytes ┬ [checksum u32] ┐
 *   of it   ┌ token: literals, match ┬ [more of 255 …] ┬ literals ┬ distance back u16 ┬ [more of 255 …] ┐ …
 *
 * All numbers are little-endian. Checksums are passed over: a batch's own covers all of it. The npm packages for LZ4
 * are bindings to native code, or loop for ever on bytes that are cut short.
 */
import { viewOf } from "../src/record/bytes.ts";
import { Output } from "./unpacked-output.ts";

const MAGIC = 0x184d2204;
const FLG_AT = 4;
/** Magic, FLG and BD. */
const FIXED_BYTES = 6;
const VERSION_MASK = 0xc0;
const VERSION_1 = 0x40;
const HAS_BLOCK_CHECKSUM = 0x10;
const HAS_SIZE = 0x08;
const HAS_DICTIONARY = 0x01;
const IS_STORED = 0x8000_0000;
const CHECKSUM_BYTES = 4;

/** A length of 15 in the token goes on in the bytes behind it, up to the first that is not 255. */
const GOES_ON = 15;
const MATCH_BYTES_MIN = 4;

/** Unpacks one block of a frame. A match may begin in a block before it. */
function unpackBlock(block: Uint8Array, out: Output): void {
  let at = 0;
  const length = (short: number): number => {
    let total = short;
    for (let next = short === GOES_ON ? 255 : 0; next === 255; total += next) {
      if (at >= block.length) throw new Error("lz4: a block is cut short");
      next = block[at++]!;
    }
    return total;
  };
  while (at < block.length) {
    const token = block[at++]!;
    const literals = length(token >> 4);
    if (at + literals > block.length) throw new Error("lz4: a block is cut short");
    out.add(block.subarray(at, (at += literals)));
    // The last sequence of a block has literals alone.
    if (at === block.length) return;
    if (at + 2 > block.length) throw new Error("lz4: a block is cut short");
    const distance = block[at]! | (block[at + 1]! << 8);
    at += 2;
    out.repeat(distance, length(token & GOES_ON) + MATCH_BYTES_MIN);
  }
}

/** At most `bytesMax`, else DECOMPRESSION_LIMIT. Any other error: it is no whole frame. */
export function unpackLz4(packed: Uint8Array, bytesMax: number): Uint8Array {
  const view = viewOf(packed);
  const flags = packed[FLG_AT]!;
  if (packed.length < FIXED_BYTES || view.getUint32(0, true) !== MAGIC || (flags & VERSION_MASK) !== VERSION_1)
    throw new Error("lz4: no frame of version 1");
  if ((flags & HAS_DICTIONARY) !== 0) throw new Error("lz4: it needs a dictionary");
  const out = new Output(bytesMax);
  // Behind the header and its checksum of one byte.
  let at = FIXED_BYTES + ((flags & HAS_SIZE) !== 0 ? 8 : 0) + 1;
  for (;;) {
    // Throws beyond the end: then the frame is cut short.
    const size = view.getUint32(at, true);
    at += 4;
    if (size === 0) return out.bytes();
    const end = at + (size & ~IS_STORED);
    if (end > packed.length) throw new Error("lz4: the frame is cut short");
    const block = packed.subarray(at, end);
    if (size >= IS_STORED) out.add(block);
    else unpackBlock(block, out);
    at = end + ((flags & HAS_BLOCK_CHECKSUM) !== 0 ? CHECKSUM_BYTES : 0);
  }
}
