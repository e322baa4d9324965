/**
 * After the edge was put back to an earlier state: own records that it has lost go there again, out of the kept copy
 * (stop-syncing.ts), before anything of the outbox does.
 *
 *   "<name>.kept"  since ──▶ own batches, by the producers of the note ──▶ what the new replica shows is left out
 *                        ──▶ frames of claims, whose positions end where the outbox begins ──▶ the edge
 *
 * Every frame is a claim, so a copy of this profile that offers the same batches is fenced, and finds them by identity.
 * The commit of a grant says how far the kept copy was offered. A crash before it finds the frame by identity.
 */
import { TidemarkError } from "../errors.ts";
import { ATTRIBUTE_CONTROL, type BatchHeader, nextOffsetOf, readHeader, stampBaseOffset } from "../record/format.ts";
import type { SegmentedLog } from "../store/segmented-log.ts";
import type { SegmentStore } from "../store/segment-store.ts";
import { holesBetween, ownIn } from "./claim-look.ts";
import { isFiller } from "./fillers.ts";
import { keptTopic, replicaName } from "./log-names.ts";
import type { Offering, OutboxNote } from "./notes.ts";
import { INDEX_BATCHES_MAX, type OwnBatch, OwnBatches } from "./own-batches.ts";
import type { Outbox } from "./outbox.ts";
import type { Replica } from "./replica.ts";
import type { OfferLook, Offers, OutboxRun, TopicStore } from "./topic-store.ts";

/** What is needed of the topic's storage. */
interface OfferingStorage extends Pick<TopicStore, "topic" | "outboxNote" | "watermark" | "base" | "firstUnsettled"> {
  readonly outbox: Outbox;
  readonly replica: Replica | undefined;
  alone<T>(work: () => Promise<T>): Promise<T>;
}

/** Whether this device made a batch under the outbox id that it has now. */
export const isOwn = (
  { producers = [] }: OutboxNote,
  { producerId, producerEpoch, baseSequence }: BatchHeader,
): boolean =>
  producers.some(([id, epoch, from]) => id === producerId && epoch === producerEpoch && baseSequence >= from);

/** True for a batch that compaction has thinned, and for a filler: neither has the checksum of the first one. */
const isRemade = (header: BatchHeader): boolean => isFiller(header) || header.recordCount <= header.lastOffsetDelta;

/** A read of an offset in a hole finds the batch behind the hole. That one does not cover the offset. */
const covering = (offset: number, header: BatchHeader | undefined): BatchHeader | undefined =>
  header && header.baseOffset <= offset ? header : undefined;

/** The header of the batch that covers an offset; undefined where none does, as in a hole, and where it is damaged. */
async function headerOver(log: SegmentedLog | undefined, offset: number): Promise<BatchHeader | undefined> {
  if (!log || offset < log.logStartOffset || offset >= log.logEndOffset) return undefined;
  try {
    const { bytes } = await log.read(offset, 1, log.logEndOffset);
    return bytes.length > 0 ? covering(offset, readHeader(bytes)) : undefined;
  } catch (thrown) {
    if (TidemarkError.from(thrown).code === "CORRUPT_RANGE") return undefined;
    throw thrown;
  }
}

export class OfferAgain implements Offers {
  readonly #storage: OfferingStorage;
  readonly #kept: SegmentedLog | undefined;
  /** Own batches of the kept copy that come next. "Settled" are those that need not be offered. */
  #window = new OwnBatches();
  /** The kept copy is in the window, or was, up to here. */
  #filledTo: number;
  /** The replica was looked through for the window's batches up to here. */
  #lookedTo: number;
  /** Below it the log there and the kept copy agree. */
  #since: number;
  records = 0;
  left = 0;

  private constructor(storage: OfferingStorage, kept: SegmentedLog | undefined, { since, from }: Offering) {
    this.#storage = storage;
    this.#kept = kept;
    this.#since = since;
    this.#filledTo = Math.max(from, kept?.logStartOffset ?? 0);
    this.#lookedTo = since;
  }

  /** Undefined if nothing is to be offered. */
  static async open(storage: OfferingStorage, store: SegmentStore): Promise<OfferAgain | undefined> {
    const { offering } = storage.outboxNote;
    return offering && new OfferAgain(storage, await store.find(replicaName(keptTopic(storage.topic))), offering);
  }

  check(fetched: readonly Uint8Array[]): Promise<number> {
    return this.#storage.alone(async () => {
      if (!(await this.#agrees(fetched))) {
        this.#since = 0;
        this.#filledTo = this.#kept?.logStartOffset ?? 0;
      }
      return this.#since;
    });
  }

  async #agrees(fetched: readonly Uint8Array[]): Promise<boolean> {
    const { replica, watermark, base = 0 } = this.#storage;
    const at = this.#since - 1;
    if (at < 0) return true;
    if (watermark <= at) return false;
    const ours = await headerOver(this.#kept, at);
    const below = fetched.map((batch) => readHeader(batch)).find((header) => nextOffsetOf(header) > at);
    const theirs = at < base ? covering(at, below) : await headerOver(replica?.log, at);
    // Where compaction or retention has taken it, nothing can be said.
    if (!ours || !theirs || isRemade(ours) || isRemade(theirs)) return true;
    return ours.baseOffset === theirs.baseOffset && ours.crc === theirs.crc;
  }

  async next(
    { fetched, isClosed, holesFrom }: OfferLook,
    most: Parameters<Offers["next"]>[1],
  ): Promise<OutboxRun | undefined> {
    const storage = this.#storage;
    return storage.alone(async () => {
      for (;;) {
        if (!this.#window.firstUnsettled && !(await this.#fill())) return undefined;
        await this.#look(fetched);
        const base = storage.base ?? 0;
        // What is missing there may be what a copy of this profile has offered, and compaction or retention removed.
        const holes = holesBetween(holesFrom, fetched, base);
        if (holes.length === 0) holes.push(...(await storage.replica!.uncovered(Math.max(holesFrom, base))));
        if (isClosed || holes.length > 0) this.#leave(this.#window.all);
        const run = await this.#run(most);
        if (run) return run;
      }
    });
  }

  /** The next batches of the kept copy that are this device's, and not in the outbox. False: there are no more. */
  async #fill(): Promise<boolean> {
    const { outbox, outboxNote, watermark } = this.#storage;
    await outbox.index(Infinity);
    this.#window = new OwnBatches();
    this.#lookedTo = Math.min(this.#since, watermark);
    for await (const header of this.#kept?.headers(this.#filledTo) ?? []) {
      this.#filledTo = nextOffsetOf(header);
      if ((header.attributes & ATTRIBUTE_CONTROL) !== 0 || !isOwn(outboxNote, header) || outbox.batches.find(header))
        continue;
      const { baseOffset: at, sizeBytes: bytes } = header;
      const base = { isSettled: false, isRetracted: false, appendedAt: undefined, offset: -1 };
      this.#window.add({ ...base, at, next: nextOffsetOf(header), bytes, header });
      if (this.#window.size >= INDEX_BATCHES_MAX) break;
    }
    return this.#window.size > 0;
  }

  /** Settles the window's batches that the edge has already: in the device's new copy, or below it in `fetched`. */
  async #look(fetched: readonly Uint8Array[]): Promise<void> {
    const { replica, watermark } = this.#storage;
    for (const [batch, offset] of ownIn(this.#window, fetched)) this.#window.settle(batch, offset);
    for await (const header of replica?.log.headers(this.#lookedTo) ?? []) {
      if (header.baseOffset >= watermark) break;
      const own = this.#window.find(header);
      if (own) this.#window.settle(own, header.baseOffset);
    }
    this.#lookedTo = watermark;
  }

  #leave(batches: readonly OwnBatch[]): void {
    for (const batch of batches) if (this.#window.settle(batch, -1)) this.left += batch.header!.recordCount;
  }

  /** A frame of the window's first batches. Their positions end where the outbox begins. */
  async #run(most: Parameters<Offers["next"]>[1]): Promise<OutboxRun | undefined> {
    const next = this.#storage.firstUnsettled;
    const batches: Uint8Array[] = [];
    let [bytes, records] = [0, 0];
    for (const batch of this.#window.all) {
      if (batch.isSettled) continue;
      const read = await this.#read(batch);
      // A batch that compaction thinned can't be pushed, because it has fewer records than its span.
      if (!read || batch.header!.recordCount !== batch.next - batch.at) {
        this.#leave([batch]);
        continue;
      }
      bytes += read.length;
      records += batch.header!.recordCount;
      if (batches.length >= most.batches || (batches.length > 0 && bytes > most.bytes)) break;
      if (records > Math.min(most.records, next)) break;
      batches.push(read);
    }
    if (batches.length === 0) {
      this.#leave(this.#window.all);
      return undefined;
    }
    const total = batches.reduce((sum, batch) => sum + readHeader(batch).recordCount, 0);
    let at = next - total;
    for (const batch of batches) {
      stampBaseOffset(batch, at);
      at += readHeader(batch).recordCount;
    }
    return { at: next - total, next, lastCrc: readHeader(batches.at(-1)!).crc, batches };
  }

  /** Undefined where the kept copy is damaged. */
  async #read({ at, next, bytes }: OwnBatch): Promise<Uint8Array | undefined> {
    try {
      const read = await this.#kept!.read(at, 1, next, true);
      return read.bytes.slice(0, bytes);
    } catch (thrown) {
      if (TidemarkError.from(thrown).code === "CORRUPT_RANGE") return undefined;
      throw thrown;
    }
  }

  async taken({ next, lastCrc, batches }: OutboxRun, generation: number): Promise<void> {
    const { outbox } = this.#storage;
    await this.#storage.alone(async () => {
      let from = this.#storage.outboxNote.offering!.from;
      for (const batch of batches) {
        const own = this.#window.find(readHeader(batch));
        if (!own) continue;
        this.#window.settle(own, own.at);
        from = Math.max(from, own.next);
      }
      const offering = { ...outbox.note.offering!, from };
      const note = { ...outbox.note, generation, registered: true, next, lastCrc, offering };
      await outbox.log.alone(() => outbox.saveNote(note));
      this.records += batches.reduce((sum, batch) => sum + readHeader(batch).recordCount, 0);
    });
  }

  /** The edge takes this batch of the run never: it stays in the kept copy. */
  refused({ batches }: OutboxRun, index: number): void {
    const own = this.#window.find(readHeader(batches[index] ?? batches[0]!));
    if (own) this.#leave([own]);
  }

  async end(): Promise<void> {
    const { outbox } = this.#storage;
    await this.#storage.alone(() =>
      outbox.log.alone(() => {
        const { offering: _, ...note } = outbox.note;
        return outbox.saveNote(note);
      }),
    );
  }
}
