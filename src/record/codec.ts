/**
 * gzip, the one codec that every host has. Only the records section is compressed. Of the header only the codec bits,
 * the length and the CRC change; the CRC is over the compressed bytes.
 *
 *   gzip   ┌ header ┬ deflate … ┬ CRC-32 ┬ ISIZE u32, little-endian ┐     ISIZE: bytes when decompressed, mod 2^32
 */
import { assert, TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { concat, copyOf } from "./bytes.ts";
import {
  ATTRIBUTES_AT,
  BATCH_HEADER_BYTES,
  CODEC_GZIP,
  CODEC_NONE,
  CODEC_MASK,
  CRC_AT,
  CRC_FROM,
  LENGTH_AT,
  LENGTH_OVERHEAD,
  readHeader,
} from "./format.ts";

/** Size of gzip's header and trailer around an empty deflate stream. */
const GZIP_BYTES_MIN = 20;
/**
 * Compressed input is passed on in small pieces, each awaited: an engine may inflate a whole piece (deflate expands at
 * most 1,032-fold) before it asks whether anybody reads. So at most 4 MiB can be made beyond the limit, whatever the
 * input is.
 */
const GUNZIP_PIECE_BYTES = 4096;
/** Compression makes nothing much larger, so larger pieces are safe. */
const GZIP_PIECE_BYTES = 256 * 1024;

type Transform = { readonly readable: ReadableStream<Uint8Array>; readonly writable: WritableStream<BufferSource> };

/** Runs `bytes` through `transform` piece by piece. `take` gets each piece of output and may throw to stop. */
async function pump(
  transform: Transform,
  bytes: Uint8Array,
  pieceBytes: number,
  take: (piece: Uint8Array) => void,
): Promise<void> {
  const writer = transform.writable.getWriter();
  const reader = transform.readable.getReader();
  const write = async (): Promise<void> => {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      await writer.write(bytes.subarray(at, at + pieceBytes) as Uint8Array<ArrayBuffer>);
    }
    await writer.close();
  };
  // Both ends of a stream fail together. The reader's error is the one that is reported.
  const written = write().catch(() => undefined);
  try {
    for (let read = await reader.read(); !read.done; read = await reader.read()) take(read.value);
    await written;
  } catch (thrown) {
    await Promise.allSettled([reader.cancel(thrown), writer.abort(thrown), written]);
    throw thrown;
  }
}

/**
 * Decompresses to at most `bytesMax`, else DECOMPRESSION_LIMIT. The trailer names the size, so one buffer of exactly
 * that size is made, and a wrong size is noticed as soon as it shows. A size above the limit is an error only once that
 * many bytes have come. Any other error means: this is not one whole gzip member with nothing behind it.
 */
export async function gunzip(bytes: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  if (bytes.length < GZIP_BYTES_MIN) throw new Error("gzip: too short");
  const size = new DataView(bytes.buffer, bytes.byteOffset + bytes.length - 4, 4).getUint32(0, true);
  const out = new Uint8Array(size > bytesMax ? 0 : size);
  let at = 0;
  await pump(new DecompressionStream("gzip"), bytes, GUNZIP_PIECE_BYTES, (piece) => {
    const end = at + piece.length;
    if (end > bytesMax)
      throw new TidemarkError("DECOMPRESSION_LIMIT", `batch of more than ${bytesMax} bytes`, { bytesMax });
    if (end > size) throw new Error("gzip: longer than its trailer says");
    if (size <= bytesMax) out.set(piece, at);
    at = end;
  });
  if (at !== size) throw new Error("gzip: not as long as its trailer says");
  return out;
}

export async function gzip(bytes: Uint8Array): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  await pump(new CompressionStream("gzip"), bytes, GZIP_PIECE_BYTES, (piece) => pieces.push(piece));
  return concat(pieces);
}

/**
 * The gzip form of an uncompressed batch; a compressed one is returned as it is. Small or random records may get
 * larger, so the caller compares the lengths.
 */
export async function compressBatch(kernel: Kernel, batch: Uint8Array): Promise<Uint8Array> {
  assert(batch.length >= BATCH_HEADER_BYTES, "shorter than a batch header");
  const { attributes } = readHeader(batch);
  if ((attributes & CODEC_MASK) !== CODEC_NONE) return batch;
  return withRecords(kernel, batch, await gzip(batch.subarray(BATCH_HEADER_BYTES)), attributes | CODEC_GZIP);
}

/** The uncompressed form of a gzip batch whose checksum is known to be good. Other batches are returned as they are. */
export async function decompressBatch(kernel: Kernel, batch: Uint8Array, bytesMax: number): Promise<Uint8Array> {
  assert(batch.length >= BATCH_HEADER_BYTES, "shorter than a batch header");
  const { attributes } = readHeader(batch);
  if ((attributes & CODEC_MASK) !== CODEC_GZIP) return batch;
  return withRecords(
    kernel,
    batch,
    await gunzip(batch.subarray(BATCH_HEADER_BYTES), bytesMax),
    attributes & ~CODEC_MASK,
  );
}

/** The batch's header, followed by another records section. Length, attributes and checksum are set for it. */
export function withRecords(kernel: Kernel, batch: Uint8Array, records: Uint8Array, attributes: number): Uint8Array {
  const out = copyOf([batch.subarray(0, BATCH_HEADER_BYTES), records]);
  const view = new DataView(out.buffer);
  view.setInt32(LENGTH_AT, out.length - LENGTH_OVERHEAD);
  view.setInt16(ATTRIBUTES_AT, attributes);
  view.setUint32(CRC_AT, kernel.crc32c(out.subarray(CRC_FROM)));
  return out;
}
