/**
 * The point where a fork leaves its source: the source's last batch may reach beyond it, and records behind it do not
 * belong to the fork. So the batch is returned without them, with a checksum of its own, and ends where the fork's own
 * records begin.
 */
import { TidemarkError } from "../../src/errors.ts";
import { compressBatch, decompressBatch } from "../../src/record/codec.ts";
import { KERNEL_BATCH_BYTES_MAX, Status, type Kernel } from "../../src/kernel/types.ts";
import { CODEC_MASK, CRC_AT, LAST_OFFSET_DELTA_AT, nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { concat, viewOf } from "../../src/record/bytes.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";

/** Batches of a source, without the records at `end` and behind it. */
export async function cutAt(kernel: Kernel, bytes: Uint8Array, end: number): Promise<Uint8Array> {
  const batches = splitBatches(bytes);
  const last = batches.findIndex((batch) => nextOffsetOf(readHeader(batch)) > end);
  if (last < 0) return bytes;
  const cut = readHeader(batches[last]!).baseOffset < end ? await withoutEnd(kernel, batches[last]!, end) : undefined;
  return concat([...batches.slice(0, last), ...(cut ? [cut] : [])]);
}

/** Undefined if no record is left. */
async function withoutEnd(kernel: Kernel, bytes: Uint8Array, end: number): Promise<Uint8Array | undefined> {
  const batch = await decodeBatch(kernel, bytes);
  const keep = new Uint8Array((batch.count + 7) >> 3);
  let kept = 0;
  for (let i = 0; i < batch.count && batch.offsetAt(i) < end; i++, kept++) keep[i >> 3]! |= 1 << (i & 7);
  if (kept === 0) return undefined;
  const isPacked = (batch.header.attributes & CODEC_MASK) !== 0;
  const plain = isPacked ? await decompressBatch(kernel, bytes, KERNEL_BATCH_BYTES_MAX) : bytes;
  // The batch fits the kernel only compressed, so it can't be cut. Its reader must stop at Stream-Next-Offset.
  if (plain.length > KERNEL_BATCH_BYTES_MAX) return bytes;
  const { status, bytes: filtered } = kernel.filterBatch(plain, keep);
  if (status !== Status.OK) throw new TidemarkError("INTERNAL", "a decoded batch can't be cut", { status });
  const found = filtered.slice();
  viewOf(found).setInt32(LAST_OFFSET_DELTA_AT, end - 1 - batch.header.baseOffset);
  viewOf(found).setUint32(CRC_AT, kernel.crc32c(found.subarray(CRC_AT + 4)));
  return isPacked ? compressBatch(kernel, found) : found;
}
