/**
 * One cut of a synced topic, as a reader of changes is told it: committed batches below some watermark, then the
 * positions that are un-settled at it.
 *
 *   bytes   ├── committed, from the asked offset on ──┼── own batches without a place, from 2^52 on ──┤
 *           0                                   committedBytes
 *
 * An answer that is full before the watermark has no own batches: what is un-settled now may have a place in what
 * follows.
 */
import { PROVISIONAL_FROM } from "../log/provisional-layout.ts";
import type { ChangesPlace, Fetched } from "../log/types.ts";
import { copyOf } from "../record/bytes.ts";
import { readHeader, stampBaseOffset } from "../record/format.ts";
import { copyName, type RetractedRun } from "./notes.ts";
import type { TopicStorage } from "./topic-storage.ts";
import type { ShownRun } from "./shown-run.ts";
import type { Range } from "./topic-store.ts";

export interface TopicCut extends Fetched {
  readonly committedBytes: number;
  /** A position. */
  readonly nextProvisional: number;
  /** A position: everything before it is settled or retracted. */
  readonly firstUnsettled: number;
  /** Positions that will have no place: what readers were told of them does not count any more. */
  readonly retracted: readonly (readonly [from: number, to: number, why: string])[];
  /** Nothing that is here is missing in this answer and those before it. */
  readonly level: boolean;
  /** The device is level with the edge, as far as it knows. */
  readonly live: boolean;
  /** What the asker knows now besides records; it says so with its next ask. */
  readonly told: string;
  /** Names the copy of the edge's log (copyName in notes.ts); null while that is not known. */
  readonly stream: string | null;
  readonly gap?: Range | undefined;
  /** Set if the asker was beyond the watermark: another log is here now, and reading begins again at this offset. */
  readonly reset?: number | undefined;
}

/** What is known besides records. */
export interface KnownOfTopic {
  readonly retracted: readonly RetractedRun[];
  readonly live: boolean;
  readonly told: string;
}

/** Own batches as readers get them: their offsets are provisional. */
export function stampProvisional({ bytes }: ShownRun): readonly Uint8Array[] {
  for (const batch of bytes) stampBaseOffset(batch, PROVISIONAL_FROM + readHeader(batch).baseOffset);
  return bytes;
}

/** `unsettled`: own batches from a position on. Called while nothing of the topic changes. */
export async function cutOf(
  storage: TopicStorage,
  from: number,
  { provisional }: ChangesPlace,
  known: KnownOfTopic,
  maxBytes: number,
  unsettled: (position: number, maxBytes: number) => Promise<ShownRun | undefined>,
): Promise<TopicCut> {
  const { watermark: highWatermark, firstUnsettled, replicaNote, pending, end } = storage;
  const logStartOffset = storage.base ?? 0;
  const logEndOffset = pending.batches > 0 ? PROVISIONAL_FROM + end : highWatermark;
  const said = { logStartOffset, highWatermark, logEndOffset, firstUnsettled, stream: copyName(replicaNote) };
  const none = { ...said, ...known, bytes: new Uint8Array(0), committedBytes: 0, nextProvisional: provisional };
  const away = { ...none, level: false };
  if (from > highWatermark) return { ...away, nextOffset: logStartOffset, reset: logStartOffset };
  if (from < logStartOffset) return { ...away, nextOffset: logStartOffset, gap: [from, logStartOffset] };
  const gaps = storage.replica?.gapsTo(highWatermark) ?? [];
  const gap = gaps.find(([begin, to]) => begin <= from && to > from);
  if (gap) return { ...away, nextOffset: gap[1], gap: [from, gap[1]] };
  // A read that went over a gap would tell nobody of it.
  const limit = Math.min(highWatermark, ...gaps.filter(([begin]) => begin > from).map(([begin]) => begin));
  const parts: Uint8Array[] = [];
  let nextOffset = from;
  let committedBytes = 0;
  while (nextOffset < limit && committedBytes < maxBytes) {
    const found = await storage.replica!.log.read(nextOffset, maxBytes - committedBytes, limit);
    if (found.nextOffset === nextOffset) break;
    parts.push(found.bytes);
    committedBytes += found.bytes.length;
    nextOffset = found.nextOffset;
  }
  let nextProvisional = provisional;
  let bytes = committedBytes;
  let level = false;
  while (nextOffset >= highWatermark && !level && bytes < maxBytes) {
    const run = await unsettled(nextProvisional, maxBytes - bytes);
    level = run === undefined;
    if (!run) break;
    for (const batch of stampProvisional(run)) {
      parts.push(batch);
      bytes += batch.length;
    }
    nextProvisional = run.next;
  }
  // What is settled behind an un-settled batch, and was not among the committed ones, compaction has taken.
  const isAtWatermark = nextOffset >= highWatermark;
  const superseded = isAtWatermark ? storage.outbox.batches.settledBehind : [];
  const retracted = [...known.retracted, ...superseded.map(([begin, to]) => [begin, to, "superseded"] as const)];
  return { ...none, retracted, bytes: copyOf(parts), committedBytes, nextOffset, nextProvisional, level };
}
