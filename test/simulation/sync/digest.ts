/** What a log holds from an offset on as one number, so that copies can be compared: offsets, and bytes as made. */
import { createHash } from "node:crypto";
import { ATTRIBUTE_CONTROL, readHeader } from "../../../src/record/format.ts";
import { splitBatches } from "../../../src/record/record-batch.ts";

/** A log writes a base offset and its own epoch into a batch's first bytes. */
const STAMPED_BYTES = 16;

/** The digest of whole batches from `from` on. Fillers do not count, because they hold no records. */
export function digestOf(batches: Uint8Array, from: number): string {
  const hash = createHash("sha1");
  for (const batch of splitBatches(batches)) {
    const { baseOffset, attributes } = readHeader(batch);
    if (baseOffset < from || (attributes & ATTRIBUTE_CONTROL) !== 0) continue;
    hash.update(`${baseOffset}/`).update(batch.subarray(STAMPED_BYTES));
  }
  return hash.digest("hex");
}
