/**
 * How old a segment is, for retention and for compaction's delays. The age counts from the sealing, by the log's clock:
 * by then every record of the segment had arrived, whatever its own timestamp says. Record timestamps come from
 * producers, and an old record that arrives today is new to every reader.
 *
 *   sealed    10:00   10:20   1970    11:00   2031    11:10   active          now 11:30
 *   counts    10:00   10:20   11:00   11:00   11:10   11:10   never
 *
 * Segments follow each other in time, so a clock that was wrong for a while can be noticed. A time before CLOCK_SET_MS,
 * or later than now, is not used; the next segment's time counts instead. A time earlier than an older segment's counts
 * as that older time. Where two times contradict each other the later one counts, so nothing is removed sooner than
 * with a right clock. A single jump forward can't be told from a device that slept, and has the same effect.
 */
import type { SegmentInfo } from "../store/log-store.ts";

/** 2020-01-01. A clock that shows less has not been set (devices without a battery start in 1970). */
const CLOCK_SET_MS = 1_577_836_800_000;

/**
 * For each segment the time since when all its records are there. Undefined if no time can be trusted: the segment then
 * counts as new.
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

/** True if `delayMs` have passed since `since`. A delay of 0 is always over, whatever the clock says. */
export const isOver = (since: number | undefined, nowMs: number, delayMs: number): boolean =>
  delayMs === 0 || (since !== undefined && nowMs - since >= delayMs);
