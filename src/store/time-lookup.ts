/** A seek by time in one log's segments: time index, then header by header. Loaded by the first such seek. */
import { viewOf } from "./bytes.ts";
import type { SegmentList } from "./segment-list.ts";

/** LogStore.offsetForTimestamp. */
export async function offsetForTimestamp(log: SegmentList, timestamp: number): Promise<number | undefined> {
  const { reader, kernel } = log.store;
  for (const segment of log.all) {
    const gone = segment.retired || (segment.sealed && segment.nextOffset <= log.logStartOffset);
    if (gone || segment.maxTimestamp < timestamp) continue;
    await reader.prepare(segment);
    // Every batch up to the entry's offset is older than `timestamp`.
    const entry = kernel.searchIndex(segment.indexes.time, "time", timestamp - 1);
    const after = entry < 0 ? 0 : viewOf(segment.indexes.time).getInt32(entry * 12 + 8);
    const position = reader.floor(segment, segment.baseOffset + after);
    for await (const { header } of reader.hops(segment, position)) {
      if (header.maxTimestamp >= timestamp) return Math.max(header.baseOffset, log.logStartOffset);
    }
    // Compacted or trimmed under our feet: what took its place is in the list of now.
    if (segment.retired) return offsetForTimestamp(log, timestamp);
  }
  return undefined;
}
