/**
 * Recovers one log: compares what its active slot holds with what the catalog says of it.
 *
 *              catalog's end, or the newest mark
 *   ┌─────────────────────┬──────────────────────┐
 *   │ durable: damage is  │ only where the log   │      the slot is another segment's, or empty:
 *   │ quarantined, never  │ may have been        │      all that the catalog knows of it is reported lost, and
 *   │ cut                 │ appended to          │      the log continues behind it, in another slot
 *   └─────────────────────┴──────────────────────┘
 *
 * The catalog's end was flushed before the catalog was, so a slot that holds less has lost something since. If the log
 * may have been appended to behind that end, nobody knows how far. The log then continues behind all that a segment can
 * hold, so that no offset is ever given to a second record.
 *
 * Nothing is written here.
 */
import { TidemarkError } from "../errors.ts";
import { type Kernel, SEGMENT_OFFSETS_MAX } from "../kernel/types.ts";
import type { LogEntry } from "./catalog.ts";
import type { LogRecovery } from "./log-store.ts";
import {
  epochBehind,
  markOrStart,
  type TailCut,
  type Walk,
  walkDurable,
  walkTail,
  walkUnmarked,
  wholeOf,
} from "./segment-walk.ts";
import { Segment } from "./segment.ts";
import { type Mark, type Role, roleOf } from "./slot.ts";
import { readMark, readRole, whose } from "./slot-read.ts";
import type { Volume } from "./volume.ts";

export interface Disk {
  readonly volume: Volume;
  readonly kernel: Kernel;
  /** The tide's id, and what the catalog said when it was read. */
  readonly tide: string;
  readonly generation: number;
  readonly epoch: number;
}

export interface RecoveredLog {
  readonly entry: LogEntry;
  readonly segments: readonly Segment[];
  readonly mark: Mark;
  readonly recovery: LogRecovery;
  /** True if the log can't continue in the active slot: what is in it, if anything, does not belong to this log. */
  readonly replace: boolean;
}

/** CORRUPT_CATALOG if the slot proves that this catalog is older than the one that was there before. */
export async function recoverLog(disk: Disk, entry: LogEntry): Promise<RecoveredLog> {
  const { volume, kernel, tide } = disk;
  const madeAs = entry.madeAs ?? entry.name;
  const segments = entry.segments.map((segment) => new Segment(segment, madeAs));
  for (const segment of segments) {
    segment.damage = entry.quarantined.filter(
      (range) => range.slot === segment.slot && range.from >= segment.baseOffset && range.to <= segment.nextOffset,
    );
  }
  const active = segments.pop()!;
  const role = await readRole(kernel, volume, active.slot);
  const slot = whose(role, roleOf(tide, madeAs, active));
  const mark = slot === "other" ? undefined : await readMark(kernel, volume, active);
  refuseOlderCatalog(disk, entry, role, mark);
  const walked = slot === "other" ? { segment: active, cut: undefined } : await walkActive(disk, entry, active, mark);
  const gone = slot === "other" || (slot === "unknown" && !mark && walked.segment.batches === 0);
  const replace = gone || walked.segment.nextOffset < entry.logStartOffset;
  const lost = replace
    ? lostSlot(entry, slot === "other" ? "OTHER_FILE" : "SLOT_LOST")
    : lostEnd(entry, walked.segment, mark);
  segments.push(replace ? active : walked.segment);
  const { bytes: scannedBytes, batches: scannedBatches, nextOffset: logEndOffset } = walked.segment;
  const recovery: LogRecovery = {
    log: entry.name,
    segments: segments.length,
    scannedBytes,
    scannedBatches,
    cut: walked.cut,
    lost,
    quarantined: segments.flatMap((segment) => segment.damage),
    rebuilt: ["offset-index", "time-index"],
    logStartOffset: entry.logStartOffset,
    logEndOffset: replace ? lost!.to : logEndOffset,
    cleanShutdown: entry.appending === 0 || (mark?.clean ?? false),
  };
  return { entry, segments, mark: markOrStart(mark, walked.segment), recovery, replace };
}

/**
 * The slot was begun or written to after a later catalog, or holds more than a catalog knows that says that nothing was
 * appended. Continuing would give out offsets and slots a second time.
 */
function refuseOlderCatalog(
  { tide, generation, epoch }: Disk,
  entry: LogEntry,
  role: Role | undefined,
  mark: Mark | undefined,
): void {
  const begunLater = role !== undefined && role.tide !== "" && role.tide === tide && role.begun > generation;
  const writtenLater =
    mark !== undefined && (mark.epoch > epoch || (entry.appending === 0 && mark.nextOffset > entry.end.nextOffset));
  if (begunLater || writtenLater) {
    throw new TidemarkError(
      "CORRUPT_CATALOG",
      `the catalog is older than the slots of log ${entry.name}: an older copy of it was put back`,
      { log: entry.name, slot: entry.segments.at(-1)!.slot, generation },
    );
  }
}

async function walkActive(
  { volume, kernel, epoch }: Disk,
  entry: LogEntry,
  active: Segment,
  mark: Mark | undefined,
): Promise<{ segment: Segment; cut: TailCut | undefined }> {
  const segment = new Segment(active.entry(), active.log);
  // With checksums even in the durable part: the log rebuilds its producers' state from these headers.
  const walk: Walk = { volume, kernel, segment, allowGaps: false, minEpoch: segment.epoch, maxEpoch: epoch };
  const durable = durableEnd(entry, mark);
  await walkDurable(walk, durable.position, durable.nextOffset);
  const { appending } = entry;
  if (appending === 0) return { segment, cut: undefined };
  // Behind the durable end only batches of one epoch are ours; others are left from what the slot held before.
  const tail = (minEpoch: number, maxEpoch = minEpoch): Walk => ({ ...walk, minEpoch, maxEpoch });
  if (!mark) return { segment, cut: await walkUnmarked(appending > 0 ? tail(appending) : walk) };
  if (appending > 0) return { segment, cut: await walkTail(tail(appending)) };
  let cut = mark.clean ? undefined : await walkTail(tail(mark.epoch));
  // A header page of an earlier term, or one that lost its newest mark, says nothing of batches that later terms
  // appended. So each later term is looked for as well.
  for (let term = mark.epoch; (term = await epochBehind(tail(term + 1, epoch))) > 0;) cut = await walkTail(tail(term));
  return { segment, cut };
}

function durableEnd({ end }: LogEntry, mark: Mark | undefined): LogEntry["end"] {
  return mark && mark.position > end.position ? mark : end;
}

/**
 * What is lost with a slot that is gone: all that the catalog knows of it or, if more may have been appended, all that
 * the slot may have held.
 */
function lostSlot({ segments, end, appending, logStartOffset }: LogEntry, reason: string): LogRecovery["lost"] {
  const { baseOffset } = segments.at(-1)!;
  return {
    from: baseOffset,
    to: Math.max(appending !== 0 ? baseOffset + SEGMENT_OFFSETS_MAX : end.nextOffset, logStartOffset),
    reason,
  };
}

/** Damage up to the durable end with nothing behind it: the slot is older than the catalog, or its end is damaged. */
function lostEnd(entry: LogEntry, segment: Segment, mark: Mark | undefined): LogRecovery["lost"] {
  const { nextOffset } = durableEnd(entry, mark);
  const last = segment.damage.at(-1);
  if (!last || last.to !== nextOffset || segment.nextOffset !== nextOffset) return undefined;
  const known = entry.quarantined.some(({ from, to }) => from === last.from && to === last.to);
  return known ? undefined : { from: last.from, to: last.to, reason: last.reason };
}

/**
 * Stands for an active segment whose slot is gone. If the right file comes back, what the catalog knew of it can be
 * read again.
 */
export function lostSegment(
  active: Segment,
  { end }: LogEntry,
  { to, reason }: NonNullable<LogRecovery["lost"]>,
  sealedAt: number,
): Segment {
  const none = { batches: 0, records: 0, offsetIndexBytes: 0, timeIndexBytes: 0, producersBytes: 0, footerCrc: 0 };
  const sealed = { ...none, nextOffset: to, bytes: end.position, maxTimestamp: -1, sealedAt, compacted: false };
  const segment = new Segment({ ...active.entry(), sealed }, active.log);
  segment.damage = [wholeOf(segment, reason)];
  return segment;
}
