/**
 * The rules for walking batches that lie back to back, some of which may be damaged. Slots (segment-walk.ts,
 * segment-reader.ts) and rows at the edge (chunk-walk.ts) are walked by these rules; each knows where its bytes come
 * from.
 *
 *   ─────┬─────────┬─────────┬─ ─ ─ ─ ─ ─ ┬─────────┬─────────┬────
 *        │ batch   │ batch   │ damage     │ whole   │ next    │
 *   ─────┴─────────┴─────────┴─ ─ ─ ─ ─ ─ ┴─────────┴─────────┴────
 *                  ▲ expected             ▲ counts only if its base offset is confirmed: the damaged header leads to
 *                                           it, or the batch behind it continues at its next offset
 *
 * No checksum covers a base offset. If damage ends inside one, a batch is left that is whole but has a wrong offset.
 * Such a batch counts as part of the damage.
 */
import { TidemarkError } from "../errors.ts";
import { type Kernel, Status } from "../kernel/types.ts";
import { BATCH_HEADER_BYTES, type BatchHeader, MAGIC, MAGIC_AT, nextOffsetOf, readHeader } from "./format.ts";

/** A batch's header and its position. */
export interface Hop {
  readonly header: BatchHeader;
  readonly position: number;
}

/** The header at `at`, unchecked. Undefined if the bytes end before the header does. */
export const headerAt = (bytes: Uint8Array, at: number): BatchHeader | undefined =>
  at + BATCH_HEADER_BYTES > bytes.length ? undefined : readHeader(bytes, at);

/** Whether a batch with this header can be valid where `room` bytes are left. */
export const isPossible = (header: BatchHeader, room: number): boolean =>
  header.magic === MAGIC &&
  header.sizeBytes >= BATCH_HEADER_BYTES &&
  header.sizeBytes <= room &&
  header.lastOffsetDelta >= 0;

/** The header of the batch at `at` if that batch is whole, by its checksum. */
export function wholeBatchAt(kernel: Kernel, bytes: Uint8Array, at: number): BatchHeader | undefined {
  if (bytes[at + MAGIC_AT] !== MAGIC) return undefined;
  const header = headerAt(bytes, at);
  if (!header || !isPossible(header, bytes.length - at)) return undefined;
  return kernel.validateBatch(bytes.subarray(at, at + header.sizeBytes)) === Status.OK ? header : undefined;
}

/**
 * True if the damaged batch's own header continues the log at `expected`, and says that the next batch begins where
 * `next` does.
 */
export function leadsTo(damaged: Hop | undefined, expected: number, next: Hop): boolean {
  if (damaged?.header.magic !== MAGIC || damaged.position + damaged.header.sizeBytes !== next.position) return false;
  const { header } = damaged;
  return (
    header.baseOffset >= expected && header.lastOffsetDelta >= 0 && nextOffsetOf(header) === next.header.baseOffset
  );
}

/** True if the header behind a batch continues at that batch's next offset. */
export const goesOn = (behind: BatchHeader | undefined, nextOffset: number): boolean =>
  behind?.magic === MAGIC && behind.baseOffset === nextOffset;

/** The error for a reader that meets damage. */
export const corruptRange = ({ from, to, reason }: { from: number; to: number; reason: string }): TidemarkError =>
  new TidemarkError("CORRUPT_RANGE", `offsets ${from} to ${to - 1} are damaged: ${reason}`, { from, to, reason });
