/** Decides when a log's active segment is rolled because of its age alone. */
import type { SegmentInfo } from "../store/log-store.ts";
import type { LogSettings } from "./types.ts";

/**
 * True if the active segment is as old as a segment may get, or as retention allows. Without this an idle log would
 * keep its last records for ever. An empty segment is not rolled.
 */
export function isRollDue(segments: readonly SegmentInfo[], nowMs: number, settings: LogSettings): boolean {
  const active = segments.at(-1);
  if (!active || active.batches === 0) return false;
  // The difference counts in both directions: if the clock was ahead and went back, the segment must not stay active
  // until it catches up.
  const ageMs = Math.abs(nowMs - active.createdAt);
  return ageMs >= Math.min(settings.segmentMaxAgeMs, settings.retention.maxAgeMs ?? Infinity);
}
