/**
 * Makes a copy anew that may hold deleted records: compaction at the edge has removed tombstones that this device never
 * read, because it was away for longer than tombstones live (docs/sync.md, "A copy is made anew").
 *
 *   note: stale ─▶ the newest segment below it is fetched, and swapped ─▶ note: stale is where that one begins ─▶ …
 *              ─▶ no segment is left: note says `anew`, readers of changes begin again
 *
 * Newest first: a tombstone is read before the records that it deletes. So if it is gone at the edge, they were gone
 * there before, and they are not fetched either. A crash, or the end of the connection, anywhere: it goes on from
 * `stale`. Offsets, the watermark and own records stay as they are.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { saveNotes } from "../store/noted-logs.ts";
import type { SegmentStore } from "../store/segment-store.ts";
import { type HealingSource, outputsOf, tiles } from "./healing.ts";
import type { ReplicaNote } from "./notes.ts";
import { stored } from "./outbox.ts";
import type { Replica } from "./replica.ts";
import type { TopicStorage } from "./topic-storage.ts";
import type { Range } from "./topic-store.ts";

export interface Renewing {
  readonly kernel: Kernel;
  readonly store: SegmentStore;
  readonly storage: TopicStorage;
  readonly source: HealingSource;
}

/**
 * Call it while the topic is live. True once the copy holds nothing that is stale. False if that must wait: own records
 * are not settled yet. INVALID_BATCH {from, to} if what the edge has does not fit this copy's segment. Rejects with the
 * source's error, or the volume's. Does nothing for a copy that is not stale.
 */
export async function renew(renewing: Renewing): Promise<boolean> {
  const { store, storage, source } = renewing;
  const { replica } = storage;
  if (replica?.note.stale === undefined) return true;
  const { log } = replica;
  await storage.noteSettled();
  // The edge can't say what was deleted among the records that it has trimmed.
  const start = Math.min(source.logStartOffset, storage.outboxNote.settledIn);
  await storage.alone(async () => {
    await log.trim(start);
    const active = log.segments().at(-1)!;
    if (active.sealedAt === undefined && active.baseOffset < replica.note.stale!) await log.roll();
  });
  // A join may note meanwhile that more is stale. Then it goes on from there.
  for (let isDone = false; !isDone;) {
    for (let range = newestStale(replica); range; range = newestStale(replica))
      if (!(await renewSegment(renewing, replica, range))) return false;
    isDone = await storage.alone(async () => {
      if (replica.note.stale === undefined) return true;
      if (newestStale(replica)) return false;
      // What this device's own compaction had removed may be here again.
      if (log.compacted) await log.saveCompacted({ to: 0, dueAt: null, tombstoneRetentionMs: 0 });
      const { stale: _, ...note } = replica.note;
      await saveNotes(store, [[log, stored({ ...note, anew: (note.anew ?? 0) + 1 } satisfies ReplicaNote)]]);
      return true;
    });
  }
  return true;
}

/** The segment with the highest offsets that are stale; undefined if none is left. */
function newestStale({ log, note }: Replica): Range | undefined {
  const segment = log.segments().findLast(({ baseOffset }) => baseOffset < note.stale!);
  return segment && segment.nextOffset > log.logStartOffset ? [segment.baseOffset, segment.nextOffset] : undefined;
}

/** False if it must wait. */
async function renewSegment(
  { kernel, store, storage, source }: Renewing,
  replica: Replica,
  range: Range,
): Promise<boolean> {
  const { log } = replica;
  const { stale } = replica.note;
  const [from, to] = range;
  // Above this own records may be looked for in the copy when the topic is opened.
  if (to > storage.outboxNote.settledIn) await storage.noteSettled();
  if (to > storage.outboxNote.settledIn) return false;
  const batches = await tiles(kernel, source, range, log.leaderEpoch);
  if (!batches)
    throw new TidemarkError("INVALID_BATCH", `the edge's batches don't begin at ${from} and end at ${to}, as here`, {
      from,
      to,
    });
  await storage.alone(async () => {
    // Trimmed, or made anew by a compaction, or more is stale, since the edge was asked: then it is looked for again.
    const segment = log.segments().find(({ baseOffset }) => baseOffset === from);
    if (segment?.nextOffset !== to || replica.note.stale !== stale) return;
    if (segment.sealedAt === undefined) return log.roll();
    const bytesMax = Math.max(segment.bytes, log.batchBytesMax);
    await log.replace(from, to, outputsOf(batches, bytesMax, segment.sealedAt));
    await saveNotes(store, [[log, stored({ ...replica.note, stale: from })]]);
  });
  return true;
}
