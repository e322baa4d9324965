/**
 * A segment's batches, header by header. What a log remembers of its producers, seeks by time and explanations come
 * from here. A log that has no batches yet needs none of it.
 */
import { INDEX_INTERVAL_BYTES } from "../kernel/types.ts";
import type { Hop } from "../record/batch-walk.ts";
import { BATCH_HEADER_BYTES, type BatchHeader, nextOffsetOf, readHeader } from "../record/format.ts";
import type { WalkedLog } from "./segment-list.ts";
import type { Segment } from "./segment.ts";
import { plausible, type SegmentReader } from "./segment-reader.ts";
import { BODY_AT } from "./slot-layout.ts";
import { readExactly } from "./volume.ts";

/** Bytes of one read. Behind a batch that is larger, only the next header is read. */
const WINDOW_BYTES = 64 * 1024;
/** Bytes of the first read: the batch that is looked for is seldom farther from an index entry. */
const FIRST_BYTES = 2 * INDEX_INTERVAL_BYTES;

/** Batches from body position `start`, header by header; for time look-ups and explanations. */
export async function* segmentHops(reader: SegmentReader, segment: Segment, start: number): AsyncGenerator<Hop> {
  const { bytes: end, nextOffset: endOffset } = segment;
  let window: Uint8Array = new Uint8Array(0);
  let windowAt = start;
  let position = start;
  let expected = -1;
  // A hop is yielded once the next header continues it. If that does not, damage is looked for and the walk begins
  // again: a damaged length may have led to a wrong place.
  let held: Hop | undefined;
  let done = -1;
  while (position < end) {
    // Checks the whole range, not only its start: a damaged batch's own header may be whole and point into it.
    const damaged = segment.damage.find(
      (range) => position >= range.position && position < range.position + range.bytes,
    );
    if (damaged) {
      position = damaged.position + damaged.bytes;
      expected = damaged.to;
      continue;
    }
    if (position + BATCH_HEADER_BYTES > windowAt + window.length || position < windowAt) {
      windowAt = position;
      const size = !held ? FIRST_BYTES : held.header.sizeBytes < WINDOW_BYTES ? WINDOW_BYTES : BATCH_HEADER_BYTES;
      const at = BODY_AT + position;
      window = await readExactly(reader.volume, segment.slot, at, Math.min(size, end - position));
    }
    if (segment.retired) return;
    const header = window.length < BATCH_HEADER_BYTES ? undefined : readHeader(window, position - windowAt);
    if (!header || !leadsOn(segment, header, expected, { left: end - position, endOffset })) {
      await reader.reexamine(segment, -1);
      held = undefined;
      // From the front: the index may have been made after bytes were moved.
      position = 0;
      expected = -1;
      continue;
    }
    if (held) {
      yield held;
      done = held.position;
    }
    held = position > done ? { header, position } : undefined;
    expected = nextOffsetOf(header);
    position += header.sizeBytes;
  }
  if (held) yield held;
}

/**
 * True if a hop's header is one of this segment's, and its length ends inside the segment, or exactly at its end with
 * the segment's last offset.
 */
function leadsOn(
  segment: Segment,
  header: BatchHeader,
  expected: number,
  { left, endOffset }: { left: number; endOffset: number },
): boolean {
  const next = nextOffsetOf(header);
  const dense = !segment.sealed?.compacted;
  const ends =
    header.sizeBytes < left || !dense || next === endOffset || segment.damage.some(({ to }) => to === endOffset);
  return ends && header.sizeBytes <= left && plausible(segment, header, next, expected, dense);
}

/** Implements LogStore.headers. */
export async function* headersFrom(log: WalkedLog, from: number): AsyncGenerator<BatchHeader> {
  const { reader } = log.store;
  // Includes trimmed batches below the log start that are still there: their producers may re-send them.
  let offset = Math.max(from, log.all[0]!.baseOffset);
  while (offset < log.logEndOffset) {
    const segment = log.segmentFor(offset);
    if (!segment) return;
    await reader.prepare(segment);
    const start = reader.floor(segment, Math.max(offset, segment.baseOffset));
    for await (const { header } of segmentHops(reader, segment, start)) {
      if (header.baseOffset >= offset) yield header;
    }
    offset = segment.nextOffset;
  }
}

/** Implements LogStore.producerSnapshot. */
export async function newestSnapshot({
  all,
  store,
}: WalkedLog): Promise<{ readonly offset: number; readonly bytes: Uint8Array } | undefined> {
  for (const segment of [...all].reverse()) {
    if (!segment.sealed?.producersBytes) continue;
    const { readSections } = await import("./sections.ts");
    const sections = await readSections(store.volume, store.kernel, segment);
    if (sections) return { offset: segment.nextOffset, bytes: sections.producers };
  }
  return undefined;
}
