/** When a log's active segment is rolled for its age alone. */
import type { SegmentInfo } from "../store/log-store.ts";
import type { LogSettings } from "./types.ts";

/**
 * Whether the active segment is as old as a segment may get, or as retention allows: without a roll an idle log would
 * keep its last records for ever. An empty one stays.
 */
export function isRollDue(segments: readonly SegmentInfo[], nowMs: number, settings: LogSettings): boolean {
  const active = segments.at(-1);
  if (!active || active.batches === 0) return false;
  // Either way: a clock that was ahead and went back must not keep the segment active until it is there again.
  const ageMs = Math.abs(nowMs - active.createdAt);
  return ageMs >= Math.min(settings.segmentMaxAgeMs, settings.retention.maxAgeMs ?? Infinity);
}
