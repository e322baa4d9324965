/**
 * Walking batches that lie back to back, where some may be damaged. Slots (recovery.ts, segment-reader.ts) and rows at
 * the edge (chunk-walk.ts) walk by these rules; where the bytes come from is theirs.
 *
 *   ─────┬─────────┬─────────┬─ ─ ─ ─ ─ ─ ┬─────────┬─────────┬────
 *        │ batch   │ batch   │ damage     │ whole   │ next    │
 *   ─────┴─────────┴─────────┴─ ─ ─ ─ ─ ─ ┴─────────┴─────────┴────
 *                  ▲ expected             ▲ counts once its base offset is confirmed: the damaged header leads to it,
 *                                           or what follows goes on at its next offset
 *
 * No checksum covers a base offset. Damage that ends inside one leaves a batch that is whole at another offset; such a
 * batch counts as part of the damage.
 */
import { TidemarkError } from "../errors.ts";
import { type Kernel, Status } from "../kernel/types.ts";
import { BATCH_HEADER_BYTES, type BatchHeader, MAGIC, MAGIC_AT, nextOffsetOf, readHeader } from "./format.ts";

/** A batch's header and where it stands. */
export interface Hop {
  readonly header: BatchHeader;
  readonly position: number;
}

/** The header at `at`, whatever it says; undefined where the bytes end before it does. */
export const headerAt = (bytes: Uint8Array, at: number): BatchHeader | undefined =>
  at + BATCH_HEADER_BYTES > bytes.length ? undefined : readHeader(bytes, at);

/** Whether a batch with this header can stand where `room` bytes are left. */
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
 * The damaged batch's own header continues the log at `expected`, and says that the next batch begins where this one
 * does.
 */
export function leadsTo(damaged: Hop | undefined, expected: number, next: Hop): boolean {
  if (damaged?.header.magic !== MAGIC || damaged.position + damaged.header.sizeBytes !== next.position) return false;
  const { header } = damaged;
  return (
    header.baseOffset >= expected && header.lastOffsetDelta >= 0 && nextOffsetOf(header) === next.header.baseOffset
  );
}

/** What stands behind a batch goes on at that batch's next offset. */
export const goesOn = (behind: BatchHeader | undefined, nextOffset: number): boolean =>
  behind?.magic === MAGIC && behind.baseOffset === nextOffset;

/** The error of a reader that comes to damage. */
export const corruptRange = ({ from, to, reason }: { from: number; to: number; reason: string }): TidemarkError =>
  new TidemarkError("CORRUPT_RANGE", `offsets ${from} to ${to - 1} are damaged: ${reason}`, { from, to, reason });
