/**
 * Batches that Kafka's producers have compressed with snappy, LZ4 or Zstandard. No browser has these codecs, so no log
 * keeps such batches: what reads .log files unpacks them first, and an import keeps them in gzip. Offsets, times, keys,
 * values and headers stay as they are; of the batch's header the codec, the length and the checksum change.
 */
import zlib from "node:zlib";
import { TidemarkError } from "../src/errors.ts";
import { type Kernel, KERNEL_BATCH_BYTES_MAX } from "../src/kernel/types.ts";
import { withRecords } from "../src/record/codec.ts";
import { BATCH_HEADER_BYTES, CODEC_GZIP, CODEC_MASK, codecName, CRC_FROM, readHeader } from "../src/record/format.ts";
import { unpackLz4 } from "./lz4.ts";
import { unpackSnappy } from "./snappy.ts";

type Unpack = (packed: Uint8Array, bytesMax: number) => Uint8Array;

/** Node has Zstandard from 22.15 on, and 23.8. */
function unpackZstd(packed: Uint8Array, bytesMax: number): Uint8Array {
  if (zlib.zstdDecompressSync === undefined)
    throw new TidemarkError("UNSUPPORTED_FORMAT", "codec zstd: Node 22.15 or later can read it", { codec: "zstd" });
  try {
    return zlib.zstdDecompressSync(packed, { maxOutputLength: bytesMax });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "ERR_BUFFER_TOO_LARGE") throw thrown;
    throw new TidemarkError("DECOMPRESSION_LIMIT", `batch of more than ${bytesMax} bytes`, { bytesMax });
  }
}

const CODECS: Readonly<Record<string, Unpack>> = { snappy: unpackSnappy, lz4: unpackLz4, zstd: unpackZstd };

/** Whether a log keeps no such batches, and these functions can unpack them. */
export const isForeign = (attributes: number): boolean => Object.hasOwn(CODECS, codecName(attributes));

/** Whether the batch fills `batch`, and its checksum is right. */
export function isChecksumRight(kernel: Kernel, batch: Uint8Array): boolean {
  const { sizeBytes, crc } = readHeader(batch);
  return sizeBytes === batch.length && kernel.crc32c(batch.subarray(CRC_FROM)) === crc;
}

/** The batch's records. Undefined if it is of no foreign codec, or its checksum is not right: then it is damaged. */
function recordsIn(kernel: Kernel, batch: Uint8Array): Uint8Array | undefined {
  if (batch.length < BATCH_HEADER_BYTES) return undefined;
  const { attributes } = readHeader(batch);
  const unpack = CODECS[codecName(attributes)];
  if (!unpack || !isChecksumRight(kernel, batch)) return undefined;
  try {
    return unpack(batch.subarray(BATCH_HEADER_BYTES), KERNEL_BATCH_BYTES_MAX);
  } catch (thrown) {
    if (thrown instanceof TidemarkError) throw thrown;
    const codec = codecName(attributes);
    throw new TidemarkError("INVALID_BATCH", `its records can't be unpacked (${codec})`, { codec }, { cause: thrown });
  }
}

/**
 * The batch without compression, if it is of a foreign codec and its checksum is right; else as it is. INVALID_BATCH:
 * it can't be unpacked. DECOMPRESSION_LIMIT: it would have more than 2 MiB. UNSUPPORTED_FORMAT: this Node lacks zstd.
 */
export function unpackBatch(kernel: Kernel, batch: Uint8Array): Uint8Array {
  const records = recordsIn(kernel, batch);
  return records ? withRecords(kernel, batch, records, readHeader(batch).attributes & ~CODEC_MASK) : batch;
}

/** The same in gzip, as a log can keep it. */
export function repackBatch(kernel: Kernel, batch: Uint8Array): Uint8Array {
  const records = recordsIn(kernel, batch);
  if (!records) return batch;
  const attributes = (readHeader(batch).attributes & ~CODEC_MASK) | CODEC_GZIP;
  return withRecords(kernel, batch, zlib.gzipSync(records), attributes);
}
