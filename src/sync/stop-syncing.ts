/**
 * A topic's sync ends, or begins anew at another log of the edge. What was here stays, as the local log of a topic that
 * is called `<name>.kept`.
 *
 *   restart   one commit: replica ──▶ "<name>.kept", no note      outbox's note: no stream, nothing told
 *             Un-settled batches stay in the outbox and go to the log that stands at the path now. With `offerFrom`
 *             own batches of the kept copy go there before them (offer-again.ts).
 *   detach    note: leaving ─▶ replica ──▶ "<name>.kept" ─▶ un-settled batches behind it ─▶ the outbox is removed
 *             After a crash anywhere the next opening goes on: what stands behind `leaving` was copied before.
 */
import { assert, TidemarkError } from "../errors.ts";
import { readHeader, stampBaseOffset } from "../record/format.ts";
import { renameLog, saveNotes } from "../store/noted-logs.ts";
import type { SegmentedLog } from "../store/segmented-log.ts";
import type { SegmentStore } from "../store/segment-store.ts";
import { keptTopic, replicaName } from "./log-names.ts";
import type { OutboxNote } from "./notes.ts";
import { stored } from "./outbox.ts";
import { outboxBatches, blockedRuns } from "./set-aside.ts";
import type { TopicStorage } from "./topic-storage.ts";

/** INVALID_ARGUMENT if there is a topic of the name that the copy gets. */
export function checkKept(store: SegmentStore, topic: string): void {
  const kept = keptTopic(topic);
  if (store.bornOf(replicaName(kept)) === undefined) return;
  throw new TidemarkError("INVALID_ARGUMENT", `there is a topic ${kept} already: delete it first`, { topic: kept });
}

/** The note of an outbox whose batches go to a log that was not joined yet. The id stays: only a claim may leave it. */
function noteForNextLog({ next: _, lastCrc: __, ...note }: OutboxNote): OutboxNote {
  const retracted = note.retracted.filter(([, , why]) => why !== "found");
  return { ...note, owner: null, stream: null, registered: false, settledIn: 0, doubtFrom: 0, passed: 0, retracted };
}

/**
 * The topic's storage must be closed. Durable when it resolves; the topic is opened again then. `offerFrom`: own
 * records of the copy from this offset on go to the edge again, if it has lost them.
 */
export async function restart(
  store: SegmentStore,
  { topic, outbox, replica }: TopicStorage,
  offerFrom?: number,
): Promise<void> {
  const offering = replica && offerFrom !== undefined ? { since: offerFrom, from: offerFrom } : undefined;
  // An edge that was put back has a log of the same id, with other records in it.
  const anew = replica && (replica.note.anew ?? 0) + 1;
  const outboxNote = { ...noteForNextLog(outbox.note), ...(offering && { offering }), ...(anew && { anew }) };
  if (!replica) return saveNotes(store, [[outbox.segments, stored(outboxNote)]]);
  await renameLog(store, replica.log, replicaName(keptTopic(topic)), undefined, [outbox.segments, stored(outboxNote)]);
}

/**
 * The topic's outbox takes nothing any more. Durable when it resolves: there is no topic of this name then. Also ends
 * what an earlier opening has begun.
 */
export async function detach(store: SegmentStore, storage: TopicStorage): Promise<void> {
  const { topic, outbox, replica } = storage;
  if (outbox.note.leaving === undefined)
    await outbox.saveNote({ ...outbox.note, leaving: replica?.log.logEndOffset ?? 0 });
  const { leaving } = outbox.note;
  assert(leaving !== undefined, "the note says where the copied batches begin");
  const name = replicaName(keptTopic(topic));
  if (replica) await renameLog(store, replica.log, name, undefined);
  const kept = await store.log(name);
  if (!replica) await lookIn(storage, kept, leaving);
  await copyBehind(storage, kept, leaving);
  const { deleteLog } = await import("../store/trim-and-replace.ts");
  await deleteLog(outbox.segments);
}

/**
 * An earlier opening has renamed the copy: own batches that it shows are settled, also those behind one that is not,
 * which no trim has taken.
 */
async function lookIn({ outbox }: TopicStorage, kept: SegmentedLog, end: number): Promise<void> {
  await outbox.index(Infinity);
  for await (const header of kept.headers(outbox.note.settledIn)) {
    if (header.baseOffset >= end) break;
    const own = outbox.batches.find(header);
    if (own) outbox.batches.settle(own, header.baseOffset);
  }
}

/** Appends the un-settled batches, but for those that are there: `from` is where the first of them stands. */
async function copyBehind(storage: TopicStorage, kept: SegmentedLog, from: number): Promise<void> {
  let done = kept.logEndOffset - from;
  for await (const batch of outboxBatches(storage, await blockedRuns(storage, { ranges: [] }))) {
    // Damaged positions are lost here, as they were in the outbox.
    if (!(batch instanceof Uint8Array)) continue;
    if (done > 0) {
      done -= readHeader(batch).recordCount;
      continue;
    }
    stampBaseOffset(batch, kept.logEndOffset);
    await kept.append([batch]);
  }
  await kept.close();
}
