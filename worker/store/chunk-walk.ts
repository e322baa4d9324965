/**
 * Walks the batches of one row from header to header, and tells damage from data. What the batch checksum does not
 * cover (base offset, length, epoch, magic) is checked by continuity: the batches must fill the row, and the row's
 * columns say where it begins and ends.
 */
import { type Kernel, Status, statusName } from "../../src/kernel/types.ts";
import {
  BATCH_HEADER_BYTES,
  type BatchHeader,
  MAGIC,
  MAGIC_AT,
  nextOffsetOf,
  readHeader,
} from "../../src/record/format.ts";
import { corruptRange, goesOn, headerAt, type Hop, leadsTo, wholeBatchAt } from "../../src/record/batch-walk.ts";
import type { QuarantinedRange } from "../../src/store/log-store.ts";

interface Run {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly crc: number | null;
  readonly bytes: Uint8Array;
}

const EMPTY = "the row has no bytes";
/** Damage that is in no row. */
export const NOWHERE = { slot: undefined, position: 0, bytes: 0 } as const;

/** The header at `position`, or the reason why there is no valid one. */
function nextHeader(
  { bytes, nextOffset }: Run,
  position: number,
  expected: number,
  gaps: boolean,
  epoch: number,
): BatchHeader | string {
  if (bytes.length - position < BATCH_HEADER_BYTES) return "the row ends inside a batch";
  const header = readHeader(bytes, position);
  if (header.magic !== MAGIC) return "magic";
  if (header.sizeBytes < BATCH_HEADER_BYTES || header.sizeBytes > bytes.length - position) return "length";
  const inOrder = gaps ? header.baseOffset >= expected : header.baseOffset === expected;
  if (!inOrder || header.lastOffsetDelta < 0 || nextOffsetOf(header) > nextOffset) return "offset";
  if (header.leaderEpoch < epoch) return "epoch";
  const isLast = position + header.sizeBytes === bytes.length;
  if (isLast && !gaps && nextOffsetOf(header) !== nextOffset) return "offset";
  return header;
}

/**
 * The row's batches in order. Known damage that ends at or before `behind` is skipped. Other damage is CORRUPT_RANGE.
 * With `behind` Infinity only what can be read is returned.
 */
export function* hops(row: Run, gaps: boolean, known: readonly QuarantinedRange[] = [], behind = 0): Generator<Hop> {
  let expected = row.baseOffset;
  let epoch = -1;
  for (let position = 0; position < row.bytes.length;) {
    const bad = known.find((range) => range.from <= expected && expected < range.to);
    if (bad && bad.to <= behind) {
      position = bad.position + bad.bytes;
      expected = bad.to;
      continue;
    }
    const header = nextHeader(row, position, expected, gaps, epoch);
    if (bad || typeof header === "string") {
      if (behind === Infinity) return;
      throw corruptRange(bad ?? { from: expected, to: row.nextOffset, reason: String(header) });
    }
    const end = position + header.sizeBytes;
    // A wrong length shows in the next header, unless that is itself damaged and known to be.
    if (
      end < row.bytes.length &&
      row.bytes[end + MAGIC_AT] !== MAGIC &&
      !known.some((range) => range.position === end)
    ) {
      if (behind === Infinity) return;
      throw corruptRange({ from: expected, to: row.nextOffset, reason: "length" });
    }
    yield { header, position };
    epoch = header.leaderEpoch;
    expected = nextOffsetOf(header);
    position = end;
  }
  // Only a row without any batch gets here: of others the last batch is compared with the row's end.
  if (!gaps && expected < row.nextOffset && behind !== Infinity)
    throw corruptRange({ from: expected, to: row.nextOffset, reason: EMPTY });
}

/** Every damaged range of offsets in a row, found by structure and checksums. */
export function damageIn(kernel: Kernel, row: Run, gaps: boolean): QuarantinedRange[] {
  const found: QuarantinedRange[] = [];
  let expected = row.baseOffset;
  let epoch = -1;
  for (let position = 0; position < row.bytes.length;) {
    const header = nextHeader(row, position, expected, gaps, epoch);
    const reason = typeof header === "string" ? header : verdict(kernel, row.bytes, position, header);
    if (typeof header !== "string" && reason === undefined) {
      epoch = header.leaderEpoch;
      expected = nextOffsetOf(header);
      position += header.sizeBytes;
      continue;
    }
    // The damage may be in the length, so the next batch is searched for.
    const next = resume(kernel, row, position, expected, gaps) ?? {
      position: row.bytes.length,
      offset: row.nextOffset,
    };
    found.push({
      from: expected,
      to: next.offset,
      slot: undefined,
      position,
      bytes: next.position - position,
      reason: reason!,
    });
    position = next.position;
    expected = next.offset;
  }
  if (!gaps && expected < row.nextOffset)
    found.push({ from: expected, to: row.nextOffset, ...NOWHERE, position: row.bytes.length, reason: EMPTY });
  // Every batch looks good, but bytes have changed: an offset was changed inside a hole, and nobody can tell which one.
  if (found.length === 0 && row.crc !== null && row.crc !== kernel.crc32c(row.bytes)) {
    found.push({
      from: row.baseOffset,
      to: row.nextOffset,
      slot: undefined,
      position: 0,
      bytes: row.bytes.length,
      reason: "offsets",
    });
  }
  return found;
}

function verdict(kernel: Kernel, bytes: Uint8Array, position: number, { sizeBytes }: BatchHeader): string | undefined {
  const status = kernel.validateBatch(bytes.subarray(position, position + sizeBytes));
  return status === Status.OK ? undefined : statusName(status);
}

/** The first good batch behind damage at `position` whose base offset is confirmed. */
function resume(
  kernel: Kernel,
  row: Run,
  position: number,
  expected: number,
  gaps: boolean,
): { position: number; offset: number } | undefined {
  const header = headerAt(row.bytes, position);
  const damaged = header && { header, position };
  let wholeEnd = -1;
  for (let at = position + 1; at + BATCH_HEADER_BYTES <= row.bytes.length;) {
    const header = wholeBatchAt(kernel, row.bytes, at);
    if (!header) {
      at++;
      continue;
    }
    const end = at + header.sizeBytes;
    const fits =
      header.baseOffset > expected && header.baseOffset < row.nextOffset && nextOffsetOf(header) <= row.nextOffset;
    // After compaction offsets need not continue. The batch before counts instead: damage that ends in one batch's base
    // offset does not reach the next batch's.
    const confirmed =
      leadsTo(damaged, expected, { header, position: at }) ||
      (end === row.bytes.length
        ? nextOffsetOf(header) === row.nextOffset
        : goesOn(headerAt(row.bytes, end), nextOffsetOf(header))) ||
      (gaps && wholeEnd === at);
    if (fits && confirmed) return { position: at, offset: header.baseOffset };
    wholeEnd = at = end;
  }
  return undefined;
}
