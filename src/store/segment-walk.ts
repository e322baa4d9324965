/**
 * Walks a segment's batches and verifies checksums: the active one after an unclean end, a sealed one on suspicion.
 *
 *            durable mark D
 *   ┌──────────────┬──────────────────────┬─ ─ ─ ─ ─ ─ ─ ─ ─ ┐
 *   │ acknowledged │ maybe acknowledged   │ zeros, or stale  │
 *   └──────────────┴──────────────────────┴─ ─ ─ ─ ─ ─ ─ ─ ─ ┘
 *    a bad batch    a bad batch is a torn
 *    is corruption: tail: the log ends before
 *    quarantined,   it, what follows is cut
 *    the walk goes  and reported
 *    on behind it
 *
 * Nothing is written here, so a crash in the middle leaves everything as it was and the next open finds the same.
 */
import {
  INDEX_STATE_EMPTY,
  type Kernel,
  KERNEL_BATCH_BYTES_MAX,
  type ScanResult,
  SEGMENT_OFFSETS_MAX,
  Status,
  statusName,
} from "../kernel/types.ts";
import { goesOn, type Hop, isPossible, leadsTo } from "../record/batch-walk.ts";
import {
  ATTRIBUTES_AT,
  BATCH_HEADER_BYTES,
  type BatchHeader,
  MAGIC,
  MAGIC_AT,
  nextOffsetOf,
  readHeader,
} from "../record/format.ts";
import type { QuarantinedRange } from "./log-store.ts";
import type { Segment } from "./segment.ts";
import { BODY_AT } from "./slot-layout.ts";
import type { Mark } from "./slot.ts";
import { readExactly, type Volume } from "./volume.ts";

export interface Walk {
  readonly volume: Volume;
  readonly kernel: Kernel;
  /** Grows by every valid batch. Damage is added to it. */
  readonly segment: Segment;
  readonly allowGaps: boolean;
  readonly minEpoch: number;
  readonly maxEpoch: number;
  /** A turn of the host's event loop between two windows, for walks that run beside other work. */
  readonly breathe?: (() => Promise<void>) | undefined;
}

export interface TailCut {
  readonly offset: number;
  readonly bytes: number;
  readonly reason: string;
}

/** How far a batch behind damage is searched for. */
interface Bounds {
  /** Body position. */
  readonly end: number;
  /** No batch of this log ends behind this offset. */
  readonly limitOffset: number;
  /** True if the last batch ends exactly at `end` and at `limitOffset`. */
  readonly exact: boolean;
}

/**
 * Walks [segment.bytes, end), where every byte is known to have been durable. All damage is quarantined, so afterwards
 * segment.bytes is `end` and segment.nextOffset is `nextOffset`.
 */
export async function walkDurable(walk: Walk, end: number, nextOffset: number): Promise<void> {
  const { segment } = walk;
  while (segment.bytes < end) {
    const status = await walkValid(walk, end, nextOffset);
    if (status === Status.OK && segment.bytes === end) break;
    const position = segment.bytes;
    const { found } = await findBatch(walk, position, { end, limitOffset: nextOffset, exact: true });
    const to = found?.header.baseOffset ?? nextOffset;
    quarantine(segment, to, position, (found?.position ?? end) - position, statusName(status));
  }
  // The batches fill the bytes but end too early: the offsets up to `nextOffset` were acknowledged and are gone.
  if (segment.nextOffset < nextOffset) {
    if (walk.allowGaps) segment.nextOffset = nextOffset;
    else quarantine(segment, nextOffset, end, 0, "MISSING");
  }
}

function quarantine(segment: Segment, to: number, position: number, bytes: number, reason: string): void {
  segment.skipDamage({ from: segment.nextOffset, to, slot: segment.slot, position, bytes, reason });
}

/**
 * Walks what may be behind the mark and reports what had to be cut. Nothing is quarantined, because nothing there is
 * known to be durable.
 */
export async function walkTail(walk: Walk): Promise<TailCut | undefined> {
  const end = walk.volume.slotBytes - BODY_AT;
  return cutAt(walk, await walkValid(walk, end), end);
}

/**
 * Without a valid mark (both copies lost) a torn tail can't be told from corruption. A bad batch that is followed by a
 * valid one is quarantined; only what no valid batch follows is cut. Valid batches whose offsets nothing confirms are
 * quarantined as well, and the log continues behind the last of them.
 */
export async function walkUnmarked(walk: Walk): Promise<TailCut | undefined> {
  const { volume, segment } = walk;
  const end = volume.slotBytes - BODY_AT;
  for (;;) {
    const status = await walkValid(walk, end);
    const position = segment.bytes;
    const { found, last } = await findBatch(walk, position, boundsUnmarked(walk, end));
    if (found) quarantine(segment, found.header.baseOffset, position, found.position - position, statusName(status));
    else if (last) quarantine(segment, nextOffsetOf(last.header), position, endOf(last) - position, statusName(status));
    else return cutAt(walk, status, end);
  }
}

/** Reports what is behind the walk's end, which was reached with `status`. */
async function cutAt(walk: Walk, status: Status, end: number): Promise<TailCut | undefined> {
  const bytes = await tornBytes(walk, walk.segment.bytes, end);
  return bytes === 0 ? undefined : { offset: walk.segment.nextOffset, bytes, reason: statusName(status) };
}

/**
 * Adds valid batches to the segment until something else comes. Each turn of the loop advances by at least one batch.
 */
export async function walkValid(walk: Walk, end: number, limitOffset = Infinity): Promise<Status> {
  const { volume, kernel, segment } = walk;
  for (;;) {
    const length = Math.min(KERNEL_BATCH_BYTES_MAX, end - segment.bytes);
    if (length === 0) return Status.OK;
    const window = await readExactly(volume, segment.slot, BODY_AT + segment.bytes, length);
    const scan: ScanResult = kernel.scan(window, {
      ...walk,
      checkCrc: true,
      expectedOffset: segment.nextOffset,
      position: segment.bytes,
      segmentBaseOffset: segment.baseOffset,
      index: INDEX_STATE_EMPTY,
    });
    // A stale page may hold good batches of a tail that was cut. No batch of this log ends behind the limit.
    const validBytes = scan.nextOffset <= limitOffset ? scan.validBytes : bytesBelow(window, limitOffset);
    if (validBytes > 0) segment.add(kernel, window.subarray(0, validBytes));
    if (validBytes < scan.validBytes) return Status.BAD_OFFSET;
    const goesOn = scan.status === Status.OK || scan.status === Status.NEED_MORE;
    if (!goesOn || scan.validBytes === 0) return scan.status;
    await walk.breathe?.();
  }
}

/** Total length of the batches that end at or below `limitOffset`; the batches are known to be whole. */
function bytesBelow(window: Uint8Array, limitOffset: number): number {
  for (let at = 0; ;) {
    const header = readHeader(window, at);
    if (nextOffsetOf(header) > limitOffset) return at;
    at += header.sizeBytes;
  }
}

function boundsUnmarked({ segment }: Walk, end: number): Bounds {
  return { end, limitOffset: segment.baseOffset + SEGMENT_OFFSETS_MAX, exact: false };
}

const endOf = ({ header, position }: Hop): number => position + header.sizeBytes;

/** The next batch behind damage at `position` whose base offset is confirmed, and the last whole one. */
async function findBatch(
  walk: Walk,
  position: number,
  bounds: Bounds,
): Promise<{ readonly found?: Hop; readonly last?: Hop | undefined }> {
  const header = await readHeaderAt(walk, position, bounds.end);
  const damaged = header && { header, position };
  let before: Hop | undefined;
  let last: Hop | undefined;
  for await (const batch of wholeBatches(walk, position, bounds.end)) {
    if (fits(walk, batch, bounds)) {
      if (leadsTo(damaged, walk.segment.nextOffset, batch) || (await isConfirmed(walk, batch, before, bounds)))
        return { found: batch };
      last = batch;
    }
    before = batch;
  }
  return { last };
}

function fits({ segment }: Walk, { header }: Hop, { limitOffset }: Bounds): boolean {
  return header.baseOffset >= segment.nextOffset && nextOffsetOf(header) <= limitOffset;
}

/** True if what is behind the batch continues at its next offset. */
async function isConfirmed(
  walk: Walk,
  batch: Hop,
  before: Hop | undefined,
  { end, limitOffset, exact }: Bounds,
): Promise<boolean> {
  const nextOffset = nextOffsetOf(batch.header);
  if (exact && endOf(batch) === end && nextOffset === limitOffset) return true;
  if (goesOn(await readHeaderAt(walk, endOf(batch), end), nextOffset)) return true;
  // After compaction offsets need not continue. The batch before counts instead: damage that ends in one batch's base
  // offset does not reach the next batch's.
  return walk.allowGaps && before !== undefined && endOf(before) === batch.position;
}

/**
 * The whole batches behind damage at `position`, whatever their offsets. The first one is looked for where the damaged
 * batch itself says that it ends, so that a batch inside a record's value is not mistaken for one of the log. After
 * that the search goes byte by byte, bounded by the slot's size.
 */
async function* wholeBatches(walk: Walk, position: number, end: number): AsyncGenerator<Hop> {
  let base = position + 1;
  const direct = await damagedEnd(walk, position, end);
  if (direct !== undefined) {
    const found = await batchAt(walk, direct, end);
    if (found) {
      yield found;
      base = endOf(found);
    }
  }
  while (base + BATCH_HEADER_BYTES <= end) {
    const window = await readExactly(
      walk.volume,
      walk.segment.slot,
      BODY_AT + base,
      Math.min(KERNEL_BATCH_BYTES_MAX, end - base),
    );
    const past = window.length - BATCH_HEADER_BYTES + 1;
    let at = 0;
    // Most of a slot is zeros, and indexOf() passes over them some 30 times as fast as a loop.
    for (let next; (next = window.indexOf(MAGIC, at + MAGIC_AT) - MAGIC_AT) >= 0 && next < past;) {
      const found = plausible(walk, readHeader(window, next), end - base - next)
        ? await batchAt(walk, base + next, end)
        : undefined;
      if (found) yield found;
      at = next + (found?.header.sizeBytes ?? 1);
    }
    base += Math.max(at, past);
  }
}

async function readHeaderAt(
  { volume, segment }: Walk,
  position: number,
  end: number,
): Promise<BatchHeader | undefined> {
  if (position + BATCH_HEADER_BYTES > end) return undefined;
  return readHeader(await readExactly(volume, segment.slot, BODY_AT + position, BATCH_HEADER_BYTES));
}

async function damagedEnd(walk: Walk, position: number, end: number): Promise<number | undefined> {
  const size = (await readHeaderAt(walk, position, end))?.sizeBytes ?? 0;
  return size >= BATCH_HEADER_BYTES && position + size + BATCH_HEADER_BYTES <= end ? position + size : undefined;
}

function plausible({ minEpoch, maxEpoch }: Walk, header: BatchHeader, room: number): boolean {
  return (
    isPossible(header, Math.min(room, KERNEL_BATCH_BYTES_MAX)) &&
    header.leaderEpoch >= minEpoch &&
    header.leaderEpoch <= maxEpoch
  );
}

async function batchAt(walk: Walk, position: number, end: number): Promise<Hop | undefined> {
  const { volume, kernel, segment } = walk;
  const header = await readHeaderAt(walk, position, end);
  if (!header || !plausible(walk, header, end - position)) return undefined;
  const batch = await readExactly(volume, segment.slot, BODY_AT + position, header.sizeBytes);
  return kernel.validateBatch(batch) === Status.OK ? { header, position } : undefined;
}

/** Epoch of the whole batch that continues the log where the walk has ended; 0 if there is none. */
export async function epochBehind(walk: Walk): Promise<number> {
  const { volume, segment } = walk;
  const found = await batchAt(walk, segment.bytes, volume.slotBytes - BODY_AT);
  return found?.header.baseOffset === segment.nextOffset ? found.header.leaderEpoch : 0;
}

async function hasItsCrc({ volume, kernel, segment }: Walk, position: number, size: number): Promise<boolean> {
  const batch = await readExactly(volume, segment.slot, BODY_AT + position, size);
  return kernel.crc32c(batch.subarray(ATTRIBUTES_AT)) === readHeader(batch).crc;
}

/** Bytes written by this term behind the valid end: a batch that was begun, or whole ones behind a hole. */
async function tornBytes(walk: Walk, position: number, end: number): Promise<number> {
  const header = await readHeaderAt(walk, position, end);
  if (!header) return 0;
  const size = Math.max(BATCH_HEADER_BYTES, Math.min(header.sizeBytes, end - position));
  // Stale batches have an earlier epoch. A batch of ours either was begun where the log ends, or is whole except for
  // the bytes that its checksum does not cover.
  const begun = header.magic === MAGIC && header.baseOffset === walk.segment.nextOffset;
  const torn = header.leaderEpoch >= walk.minEpoch && (begun || (await hasItsCrc(walk, position, size))) ? size : 0;
  for await (const behind of wholeBatches(walk, position, end)) {
    if (fits(walk, behind, boundsUnmarked(walk, end))) return Math.max(torn, endOf(behind) - position);
  }
  return torn;
}

/** The mark that counts for a segment that has no valid one. */
export function markOrStart(mark: Mark | undefined, segment: Segment): Mark {
  return (
    mark ?? {
      count: 0,
      baseOffset: segment.baseOffset,
      position: 0,
      nextOffset: segment.baseOffset,
      epoch: segment.epoch,
      clean: false,
    }
  );
}

/** The whole segment as one damaged range. */
export function wholeOf({ baseOffset, slot, ...segment }: Segment, reason: string): QuarantinedRange {
  return { from: baseOffset, to: segment.nextOffset, slot, position: 0, bytes: segment.bytes, reason };
}
