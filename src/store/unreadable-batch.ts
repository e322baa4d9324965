/**
 * Whole batches of files that are to be taken in, whose checksum is right and whose records can't be had all the same:
 * their checksum was made over a gzip stream that was cut or spoiled before. No reader could get past such a batch.
 */
import { TidemarkError } from "../errors.ts";
import { type Kernel, type Status, statusName } from "../kernel/types.ts";
import { CODEC_MASK, nextOffsetOf } from "../record/format.ts";
import { decodeBatch } from "../record/record-batch.ts";
import type { ImportDamage } from "./segment-files.ts";
import type { ScannedBatch } from "./segment-scan.ts";

/** The fault of a batch that is CORRUPT_RANGE, in a word: a status of the kernel's, or BAD_GZIP. */
export const reasonOf = ({ details }: TidemarkError): string =>
  typeof details["status"] === "number" ? statusName(details["status"] as Status) : "BAD_GZIP";

/** The whole batch as damage: its head names its offsets. */
export const damageOfBatch = ({ file, position, header, bytes }: ScannedBatch, reason: string): ImportDamage => ({
  file,
  position,
  bytes: bytes.length,
  reason,
  from: header.baseOffset,
  to: nextOffsetOf(header),
});

/**
 * Undefined if its records can be had. An uncompressed batch was looked at when its checksum was. DECOMPRESSION_LIMIT
 * says file and position: the batch is whole, and unpacks to more than a reader takes.
 */
export async function unreadableIn(kernel: Kernel, batch: ScannedBatch): Promise<ImportDamage | undefined> {
  const { file, position, header, bytes } = batch;
  if ((header.attributes & CODEC_MASK) === 0) return undefined;
  try {
    await decodeBatch(kernel, bytes);
    return undefined;
  } catch (thrown) {
    const error = TidemarkError.from(thrown);
    if (error.code === "CORRUPT_RANGE") return damageOfBatch(batch, reasonOf(error));
    throw new TidemarkError(error.code, `${file}, byte ${position}: ${error.toWire().message}`, { file, position });
  }
}
