/** Turns stored records into the body of an answer. body-encoder.ts does the reverse. */
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel, PackingKernel, PackRequest } from "../../src/kernel/types.ts";
import { textEncoder, viewOf } from "../../src/record/bytes.ts";
import { BATCH_HEADER_BYTES, LENGTH_AT, RECORD_COUNT_AT } from "../../src/record/format.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../../src/record/record-batch.ts";

/**
 * A body in parts: values back to back or, for a JSON array, each behind a comma. `bodyOf` and the long answers add the
 * brackets, because only they know which value is the first.
 */
export type Parts = Uint8Array[];

const COMMA_BYTE = 0x2c;
/**
 * Larger values are passed on as views. The kernel copies smaller ones faster than they could be handled one by one.
 */
const VALUE_COPIED_MAX = 64 * 1024;

/** The kernel's request for these values. Undefined if they are so large that they should not be copied. */
export function packRequestFor(
  bytes: Uint8Array,
  {
    from,
    to,
    expectedOffset = -1,
    isJson,
  }: { readonly from: number; readonly to: number; readonly expectedOffset?: number; readonly isJson: boolean },
): PackRequest | undefined {
  if (bytes.length < BATCH_HEADER_BYTES) return undefined;
  const view = viewOf(bytes);
  // The first batch is taken as typical of the others.
  return view.getInt32(LENGTH_AT) > VALUE_COPIED_MAX * view.getInt32(RECORD_COUNT_AT)
    ? undefined
    : { expectedOffset, from, to, mark: isJson ? COMMA_BYTE : 0 };
}

/** One value as parts. */
export const partsOf = (value: Uint8Array, isJson: boolean): Parts => (isJson ? [COMMA, value] : [value]);

/**
 * The values of stored records in [from, to), with checksums verified. Damage ends them before it, at `nextOffset`;
 * CORRUPT_RANGE if nothing is before it. The kernel takes as many batches as it can in one call; the others are
 * decompressed, or reported as damaged, batch by batch.
 */
export async function partsIn(
  kernel: PackingKernel,
  bytes: Uint8Array,
  from: number,
  to: number,
  isJson: boolean,
): Promise<{ readonly parts: Parts; readonly nextOffset: number }> {
  const parts: Parts = [];
  const request = packRequestFor(bytes, { from, to, isJson });
  let rest = bytes;
  if (request) {
    const into = new Uint8Array(bytes.length);
    const { validBytes, packedBytes } = kernel.pack(bytes, request, into);
    if (packedBytes > 0) parts.push(into.subarray(0, packedBytes));
    rest = bytes.subarray(validBytes);
  }
  for (const bytesOfBatch of splitBatches(rest)) {
    let batch: RecordBatch;
    try {
      batch = await decodeBatch(kernel, bytesOfBatch);
    } catch (thrown) {
      const damaged = Number(TidemarkError.from(thrown).details["from"]);
      if (damaged > from) return { parts, nextOffset: damaged };
      throw thrown;
    }
    if (batch.isControl) continue;
    for (let i = 0; i < batch.count; i++) {
      const offset = batch.offsetAt(i);
      const value = offset >= from && offset < to ? batch.valueAt(i) : null;
      if (value !== null) parts.push(...partsOf(value, isJson));
    }
  }
  return { parts, nextOffset: to };
}

/** The records with their offsets. */
export async function recordsIn(
  kernel: Kernel,
  bytes: Uint8Array,
  from: number,
  to: number,
): Promise<{ readonly offset: number; readonly value: Uint8Array }[]> {
  const records: { offset: number; value: Uint8Array }[] = [];
  for (const bytesOfBatch of splitBatches(bytes)) {
    const batch = await decodeBatch(kernel, bytesOfBatch);
    for (let i = 0; i < batch.count && !batch.isControl; i++) {
      const offset = batch.offsetAt(i);
      const value = offset >= from && offset < to ? batch.valueAt(i) : null;
      if (value !== null) records.push({ offset, value });
    }
  }
  return records;
}

const COMMA = Uint8Array.of(COMMA_BYTE);
const OPEN = textEncoder.encode("[");
const CLOSE = textEncoder.encode("]");

/** One body from these parts. */
export function bodyOf(parts: Readonly<Parts>, isJson: boolean): Parts {
  if (!isJson) return [...parts];
  const [first, ...others] = parts;
  return first ? [OPEN, first.subarray(1), ...others, CLOSE] : [OPEN, CLOSE];
}
