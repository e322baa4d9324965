/**
 * Unpacks snappy (its format_description.txt), as Kafka's producers write it: one block, or the frames of snappy-java.
 *
 *   frames   ┌ 82 53 4E 41 50 50 59 00 ┬ version u32 ┬ compatible u32 ┐ then ┌ bytes u32, big-endian ┬ block ┐ …
 *   block    ┌ unpacked bytes, varint ┬ tag ┬ [length or distance, little-endian] ┬ [literals] ┐ …
 *   tag      low two bits: 0 literals, 1 a copy with a distance of 11 bits, 2 of 16, 3 of 32
 */
import { viewOf } from "../src/record/bytes.ts";
import { Output } from "./unpacked-output.ts";

const FRAMES_MAGIC = [0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00];
const FRAMES_HEADER_BYTES = 16;
/** Literals above this length have it in the bytes behind the tag: one byte for 60, up to four for 63. */
const SHORT_LITERALS_MAX = 60;
const VARINT_BYTES_MAX = 5;

const cut = (): Error => new Error("snappy: it is cut short");

/** A number of so many bytes, little-endian. */
function numberAt(bytes: Uint8Array, at: number, size: number): number {
  if (at + size > bytes.length) throw cut();
  let value = 0;
  for (let i = size - 1; i >= 0; i--) value = value * 256 + bytes[at + i]!;
  return value;
}

function unpackBlock(block: Uint8Array, out: Output): void {
  let at = 0;
  let wanted = 0;
  for (let more = true; more; at++) {
    const byte = block[at];
    if (byte === undefined || at === VARINT_BYTES_MAX) throw cut();
    wanted += (byte & 0x7f) * 2 ** (7 * at);
    more = byte > 0x7f;
  }
  const from = out.length;
  while (at < block.length) {
    const tag = block[at++]!;
    const kind = tag & 3;
    const high = tag >> 2;
    if (kind === 0) {
      const extra = Math.max(0, high + 1 - SHORT_LITERALS_MAX);
      const length = (extra === 0 ? high : numberAt(block, at, extra)) + 1;
      at += extra;
      if (at + length > block.length) throw cut();
      out.add(block.subarray(at, (at += length)));
    } else if (kind === 1) {
      out.repeat(((tag >> 5) << 8) | numberAt(block, at, 1), (high & 7) + 4);
      at += 1;
    } else {
      const size = kind === 2 ? 2 : 4;
      out.repeat(numberAt(block, at, size), high + 1);
      at += size;
    }
  }
  if (out.length - from !== wanted) throw cut();
}

/** At most `bytesMax`, else DECOMPRESSION_LIMIT. Any other error: it is not whole. */
export function unpackSnappy(packed: Uint8Array, bytesMax: number): Uint8Array {
  const out = new Output(bytesMax);
  if (!FRAMES_MAGIC.every((byte, i) => packed[i] === byte)) {
    unpackBlock(packed, out);
    return out.bytes();
  }
  const view = viewOf(packed);
  for (let at = FRAMES_HEADER_BYTES; at < packed.length;) {
    // Throws beyond the end: then it is cut short.
    const end = at + 4 + view.getUint32(at);
    if (end > packed.length) throw cut();
    unpackBlock(packed.subarray(at + 4, end), out);
    at = end;
  }
  return out.bytes();
}
