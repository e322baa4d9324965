/**
 * Fillers: batches without records, by which a replica covers offsets that carry no record at the edge. A segmented log
 * takes a hole for damage; a filler is a batch like any other to kernel, store, recovery and reader.
 *
 *   edge      │ batch 0–4 │   (compacted away)   │ batch 9–11 │
 *   replica   │ batch 0–4 │ filler 5–8, 61 bytes │ batch 9–11 │
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { viewOf } from "../record/bytes.ts";
import {
  ATTRIBUTE_CONTROL,
  ATTRIBUTES_AT,
  BASE_OFFSET_AT,
  BASE_SEQUENCE_AT,
  BATCH_HEADER_BYTES,
  type BatchHeader,
  CRC_AT,
  CRC_FROM,
  LAST_OFFSET_DELTA_AT,
  LENGTH_AT,
  LENGTH_OVERHEAD,
  MAGIC,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
} from "../record/format.ts";

/** Most offsets that one filler covers: its last offset delta has 31 bits. */
export const FILLER_SPAN_MAX = 2 ** 31;
/** Most fillers for one hole. An edge with a larger hole has not lost records but is broken: INVALID_BATCH. */
const FILLERS_MAX = 16;

function filler(kernel: Kernel, from: number, to: number): Uint8Array {
  const bytes = new Uint8Array(BATCH_HEADER_BYTES);
  const view = viewOf(bytes);
  view.setBigInt64(BASE_OFFSET_AT, BigInt(from));
  view.setInt32(LENGTH_AT, BATCH_HEADER_BYTES - LENGTH_OVERHEAD);
  bytes[MAGIC_AT] = MAGIC;
  view.setInt16(ATTRIBUTES_AT, ATTRIBUTE_CONTROL);
  view.setInt32(LAST_OFFSET_DELTA_AT, to - from - 1);
  view.setBigInt64(MAX_TIMESTAMP_AT, -1n);
  view.setBigInt64(PRODUCER_ID_AT, -1n);
  view.setInt16(PRODUCER_EPOCH_AT, -1);
  view.setInt32(BASE_SEQUENCE_AT, -1);
  view.setUint32(CRC_AT, kernel.crc32c(bytes.subarray(CRC_FROM)));
  return bytes;
}

/** The fillers that cover [from, to). INVALID_BATCH if no log can have a hole as long as that. */
export function fillers(kernel: Kernel, from: number, to: number): Uint8Array[] {
  if (to - from > FILLERS_MAX * FILLER_SPAN_MAX)
    throw new TidemarkError("INVALID_BATCH", `the edge has no records from offset ${from} to ${to - 1}`, { from, to });
  const made: Uint8Array[] = [];
  for (let at = from; at < to;) {
    const next = Math.min(to, at + FILLER_SPAN_MAX);
    made.push(filler(kernel, at, next));
    at = next;
  }
  return made;
}

export const isFiller = ({ attributes, recordCount, producerId }: BatchHeader): boolean =>
  (attributes & ATTRIBUTE_CONTROL) !== 0 && recordCount === 0 && producerId === -1;

/** Bytes of a batch that the digest of a range counts: base offset, last offset delta, CRC. */
const DIGEST_BYTES = 16;

/**
 * CRC-32C over what identifies each data batch, in order. Fillers and epochs do not count. Replica and edge have the
 * same records in a range that nobody compacted if and only if their digests are equal. The range begins and ends
 * between batches.
 */
export class RangeDigest {
  crc = 0;
  readonly #kernel: Kernel;

  constructor(kernel: Kernel) {
    this.#kernel = kernel;
  }

  add(header: BatchHeader): void {
    if (isFiller(header)) return;
    const bytes = new Uint8Array(DIGEST_BYTES);
    const view = viewOf(bytes);
    view.setBigInt64(0, BigInt(header.baseOffset));
    view.setInt32(8, header.lastOffsetDelta);
    view.setUint32(12, header.crc);
    this.crc = this.#kernel.crc32c(bytes, this.crc);
  }
}
