/** Retention: which whole sealed segments may go from the front. Pure; the log trims to the answer. */
import type { SegmentInfo } from "../store/log-store.ts";
import type { RetentionSettings } from "./types.ts";

/**
 * The offset to trim to. A segment goes when it is too old, or when the log is too large even without it; the first that
 * stays ends the walk, so nothing is ever taken from the middle. Never the active segment, never beyond `highWatermark`.
 */
export function retentionOffset(
  segments: readonly SegmentInfo[],
  retention: RetentionSettings,
  state: { readonly logStartOffset: number; readonly highWatermark: number; readonly nowMs: number },
): number {
  const { maxAgeMs = Infinity, maxBytes = Infinity, maxRecords = Infinity } = retention;
  let bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
  let records = segments.reduce((sum, segment) => sum + segment.records, 0);
  let offset = state.logStartOffset;
  for (const segment of segments) {
    if (segment.sealedAt === undefined || segment.nextOffset > state.highWatermark) break;
    // A record from the future would keep its segment for ever: then the time of sealing counts.
    const youngest = segment.maxTimestamp > state.nowMs ? segment.sealedAt : segment.maxTimestamp;
    const tooOld = state.nowMs - youngest > maxAgeMs;
    // Bytes: remove while over the limit. Records: remove only what leaves enough.
    if (!tooOld && bytes <= maxBytes && records - segment.records < maxRecords) break;
    bytes -= segment.bytes;
    records -= segment.records;
    offset = Math.max(offset, segment.nextOffset);
  }
  return offset;
}
