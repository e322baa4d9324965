/**
 * Retention: which whole sealed segments may be removed from the front. Loaded by the first log that has such a
 * setting.
 */
import type { LogStore, SegmentInfo } from "../store/log-store.ts";
import { settledTimes } from "./age.ts";
import { saneRetention } from "./limits.ts";
import type { CleanResult, RetentionSettings } from "./types.ts";

/** Trims to the offset that retention allows. */
export async function retire(
  store: LogStore,
  retention: RetentionSettings,
  state: { readonly highWatermark: number; readonly nowMs: number },
): Promise<CleanResult["retired"]> {
  const before = store.segments();
  const { logStartOffset } = store;
  const offset = retentionOffset(before, retention, { ...state, logStartOffset });
  if (offset > logStartOffset) await store.trim(offset);
  const gone = before.filter((segment) => segment.state === "sealed" && segment.nextOffset <= offset);
  return { segments: gone.length, bytes: gone.reduce((sum, segment) => sum + segment.bytes, 0) };
}

/**
 * The offset to trim to. A segment goes if it is too old, or if the log is too large even without it. The first segment
 * that stays ends the walk, so nothing is removed from the middle. The active segment stays, and so does everything
 * from `highWatermark` on.
 */
export function retentionOffset(
  segments: readonly SegmentInfo[],
  retention: RetentionSettings,
  state: { readonly logStartOffset: number; readonly highWatermark: number; readonly nowMs: number },
): number {
  const { maxAgeMs = Infinity, maxBytes = Infinity, maxRecords = Infinity } = saneRetention(retention);
  const settled = settledTimes(segments, state.nowMs);
  let bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
  let records = segments.reduce((sum, segment) => sum + segment.records, 0);
  let offset = state.logStartOffset;
  for (const [i, segment] of segments.entries()) {
    if (segment.sealedAt === undefined || segment.nextOffset > state.highWatermark) break;
    const tooOld = state.nowMs - (settled[i] ?? state.nowMs) > maxAgeMs;
    // Bytes: remove while over the limit. Records: remove only if enough are left.
    if (!tooOld && bytes <= maxBytes && records - segment.records < maxRecords) break;
    bytes -= segment.bytes;
    records -= segment.records;
    offset = Math.max(offset, segment.nextOffset);
  }
  return offset;
}
