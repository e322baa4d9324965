/** A seek by time in one log's segments: first the time index, then header by header. Loaded by the first such seek. */
import { lastBefore, timeEntryAt } from "./index-tools.ts";
import { segmentHops } from "./hops.ts";
import type { SegmentList } from "./segment-list.ts";

/** Implements LogStore.offsetForTimestamp. */
export async function offsetForTimestamp(log: SegmentList, timestamp: number): Promise<number | undefined> {
  const { reader, kernel } = log.store;
  for (const segment of log.all) {
    const gone = segment.retired || (segment.sealed && segment.nextOffset <= log.logStartOffset);
    if (gone || segment.maxTimestamp < timestamp) continue;
    await reader.prepare(segment);
    const { time } = segment.indexes;
    const entry = lastBefore(kernel, time, timestamp);
    const after = entry < 0 ? 0 : timeEntryAt(time, entry).relativeOffset;
    const position = reader.floor(segment, segment.baseOffset + after);
    for await (const { header } of segmentHops(reader, segment, position)) {
      if (header.maxTimestamp >= timestamp) return Math.max(header.baseOffset, log.logStartOffset);
    }
    // The segment was compacted or trimmed meanwhile, so the search begins again in the current list.
    if (segment.retired) return offsetForTimestamp(log, timestamp);
  }
  return undefined;
}
