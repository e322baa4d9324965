/**
 * How old a segment is, for retention and for compaction's delays. Age counts from the sealing, by the log's clock:
 * every record of the segment had arrived by then, whatever its own timestamp says. Record timestamps come from
 * producers, and a record that was made long ago and arrives today is new to every reader.
 *
 *   sealed    10:00   10:20   1970    11:00   2031    11:10   active          now 11:30
 *   counts    10:00   10:20   11:00   11:00   11:10   11:10   never
 *
 * Segments follow each other in time, so a clock that was wrong for a while shows. A time before this was written, or
 * later than now, is no time: then the next segment's counts. A time earlier than an older segment's counts as that
 * one's. Where two readings contradict each other the later one wins, so nothing goes sooner than it would by a clock
 * that was right. A single jump forward looks like a device that slept, and has the same effect.
 */
import type { SegmentInfo } from "../store/log-store.ts";

/** 2020-01-01. A clock that shows less was not set yet (devices without a battery start in 1970). */
const CLOCK_SET_MS = 1_577_836_800_000;

/**
 * For each segment since when all its records are there; undefined where no reading of the clock says so: it counts as
 * new.
 */
export function settledTimes(segments: readonly SegmentInfo[], nowMs: number): (number | undefined)[] {
  const isReading = (ms: number | undefined): ms is number => ms !== undefined && ms >= CLOCK_SET_MS && ms <= nowMs;
  let latest = 0;
  const times = segments.map(({ sealedAt }) =>
    isReading(sealedAt) ? (latest = Math.max(latest, sealedAt)) : undefined,
  );
  for (let i = segments.length - 1, next: number | undefined; i >= 0; i--)
    next = times[i] ??= segments[i]!.sealedAt === undefined ? undefined : next;
  return times;
}

/** Is `delayMs` over since `since`? Without a delay at once, whatever the clock says. */
export const isOver = (since: number | undefined, nowMs: number, delayMs: number): boolean =>
  delayMs === 0 || (since !== undefined && nowMs - since >= delayMs);
