/** Looks into a log, for tools: a segment's bytes and indexes, and how a seek proceeds. Loaded when a tool asks. */
import { TidemarkError } from "../errors.ts";
import { corruptRange } from "../record/batch-walk.ts";
import { segmentHops } from "./hops.ts";
import { lastBefore } from "./index-tools.ts";
import type { Segment } from "./segment.ts";
import { throwIfDamaged } from "./segment-reader.ts";
import type { SegmentedLog } from "./segmented-log.ts";
import { BODY_AT } from "./slot-layout.ts";
import { readExactly } from "./volume.ts";

function segmentAt(log: SegmentedLog, baseOffset: number): Segment {
  const segment = log.all.find((candidate) => candidate.baseOffset === baseOffset);
  if (!segment) throw new TidemarkError("INVALID_ARGUMENT", "no segment begins there", { baseOffset });
  return segment;
}

/** The packed indexes of the segment that begins at `baseOffset`. */
export async function indexesOf(
  log: SegmentedLog,
  baseOffset: number,
): Promise<{ readonly offsetIndex: Uint8Array; readonly timeIndex: Uint8Array }> {
  const segment = segmentAt(log, baseOffset);
  await log.store.reader.prepare(segment);
  return { offsetIndex: segment.indexes.offset.slice(), timeIndex: segment.indexes.time.slice() };
}

/** The batches of the segment that begins at `baseOffset`, up to what is flushed. CORRUPT_RANGE if it is damaged. */
export async function segmentBody(log: SegmentedLog, baseOffset: number): Promise<Uint8Array> {
  const segment = segmentAt(log, baseOffset);
  await log.examine(segment);
  if (segment.damage[0]) throw corruptRange(segment.damage[0]);
  const bytes = await readExactly(
    log.store.volume,
    segment.slot,
    BODY_AT,
    segment.sealed ? segment.bytes : log.flushed.position,
  );
  if (segment.retired) throw new TidemarkError("OFFSET_OUT_OF_RANGE", "the segment is gone", { baseOffset });
  return bytes;
}

/** How a seek proceeds: the segment, the index entries that were probed, and where the hops began and ended. */
export async function explain(log: SegmentedLog, offset: number, kind: "offset" | "time", timestamp: number) {
  const segment = log.segmentFor(offset);
  if (!segment) return undefined;
  const { reader, kernel, volume } = log.store;
  await reader.prepare(segment);
  throwIfDamaged(segment, offset);
  const probed: number[] = [];
  const entries = kind === "offset" ? segment.indexes.offset : segment.indexes.time;
  if (kind === "offset") reader.floor(segment, offset, probed);
  else lastBefore(kernel, entries, timestamp, probed);
  const scanFrom = reader.floor(segment, offset);
  for await (const { header, position } of segmentHops(reader, segment, scanFrom)) {
    if (header.baseOffset + header.lastOffsetDelta < offset) continue;
    const batch = await readExactly(volume, segment.slot, BODY_AT + position, header.sizeBytes);
    return { segment: segment.info(), entries: entries.slice(), probed, scanFrom, batchPosition: position, batch };
  }
  return undefined;
}
