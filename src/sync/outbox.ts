/**
 * An outbox: a log of the volume with this device's own batches in the order of their acks, and its note. Offsets of
 * this log are called positions. Settled batches at the front are trimmed, and the same commit says so in the note.
 *
 *   append ─▶ (an id is drawn) ─▶ log ─▶ flushed ─▶ index ─▶ pushed by the session ─▶ settled ─▶ trimmed
 */
import { TidemarkError } from "../errors.ts";
import type { Log } from "../log/log.ts";
import type { Pending } from "../log/pending.ts";
import { type BatchHeader, nextOffsetOf } from "../record/format.ts";
import { splitBatches } from "../record/record-batch.ts";
import type { StoredSettings } from "../store/catalog.ts";
import type { SegmentedLog } from "../store/segmented-log.ts";
import { asOutboxNote, type OutboxNote, withProducers } from "./notes.ts";
import { INDEX_BATCHES_MAX, type OwnBatch, OwnBatches } from "./own-batches.ts";
import { doubtFromAfter, nextAfterTrim, settledInAfter } from "./settling.ts";
import type { OutboxRun, TakenTo } from "./topic-store.ts";

/** The batches behind the index. */
interface Rest {
  batches: number;
  bytes: number;
  /** Watermark when the first of them was appended; undefined: before this opening. */
  appendedAt: number | undefined;
  /** The replica may hold own batches of the rest from this offset on. */
  seenFrom: number;
}

export interface OutboxOptions {
  readonly log: Log;
  readonly segments: SegmentedLog;
  /** The replica's flushed end; undefined while there is none. */
  readonly watermark: () => number | undefined;
  /** Looks for own batches in the replica from this offset on. Called when some were indexed late. */
  readonly look: (from: number) => Promise<void>;
  /** Default INDEX_BATCHES_MAX. */
  readonly indexMax?: number | undefined;
}

export const stored = (note: object): StoredSettings => note as StoredSettings;

export class Outbox {
  readonly log: Log;
  readonly segments: SegmentedLog;
  readonly batches = new OwnBatches();
  readonly #options: OutboxOptions;
  readonly #indexMax: number;
  /** Positions below are in the index, or trimmed. */
  #indexedTo: number;
  #rest: Rest | undefined;
  /** The watermark at each append that is not flushed yet, by position. */
  readonly #offered = new Map<number, number>();
  /** How far the edge said, in this opening and generation, that it has taken batches. For the note. */
  toldNext: Pick<TakenTo, "next" | "lastCrc"> | undefined;
  onAppended: ((end: number) => void) | undefined;

  private constructor(options: OutboxOptions) {
    this.#options = options;
    this.#indexMax = options.indexMax ?? INDEX_BATCHES_MAX;
    this.log = options.log;
    this.segments = options.segments;
    this.#indexedTo = this.segments.logStartOffset;
    this.log.onFlushed = (group) => this.#flushed(group);
  }

  /**
   * Reads the headers of all batches that are there. The oldest of them are in the index then, but not yet matched with
   * the replica.
   */
  static async open(options: OutboxOptions): Promise<Outbox> {
    const outbox = new Outbox(options);
    const rest: Rest = { batches: 0, bytes: 0, appendedAt: undefined, seenFrom: outbox.note.settledIn };
    for await (const { header, at, end, size } of outbox.headersOf(outbox.#indexedTo)) {
      if (outbox.batches.size >= outbox.#indexMax) {
        rest.batches++;
        rest.bytes += size;
        outbox.#rest = rest;
      } else outbox.#add(at, end, size, header, undefined);
    }
    return outbox;
  }

  get note(): OutboxNote {
    return asOutboxNote(this.segments.note);
  }
  get start(): number {
    return this.segments.logStartOffset;
  }
  get end(): number {
    return this.log.highWatermark;
  }
  get firstUnsettled(): number {
    return this.batches.firstUnsettled?.at ?? this.#indexedTo;
  }
  get pending(): { readonly records: number; readonly batches: number; readonly bytes: number } {
    const { records, batches, bytes } = this.batches.pending;
    const rest = this.#rest;
    if (!rest) return { records, batches, bytes };
    return {
      records: records + this.end - this.#indexedTo,
      batches: batches + rest.batches,
      bytes: bytes + rest.bytes,
    };
  }
  /** True if everything is settled. What is still on its way to the disk is not. */
  get isClean(): boolean {
    return this.#offered.size === 0 && this.firstUnsettled === this.end;
  }

  /**
   * The batches from a position to the end as of the call, by their headers. A damaged range comes as one batch without
   * a header.
   */
  async *headersOf(from: number) {
    const to = this.end;
    let at = from;
    for await (const header of this.segments.headers(from)) {
      const { baseOffset } = header;
      if (baseOffset >= to) break;
      if (baseOffset > at) yield { header: undefined, at, end: baseOffset, size: 0 };
      const end = nextOffsetOf(header);
      yield { header, at: baseOffset, end, size: header.sizeBytes };
      at = end;
    }
    if (at < to) yield { header: undefined, at, end: to, size: 0 };
  }

  /** Where the batches begin that the index does not hold, and from where on the replica may hold some of them. */
  get behindIndex(): { readonly from: number; readonly seenFrom: number } | undefined {
    return this.#rest && { from: this.#indexedTo, seenFrom: this.#rest.seenFrom };
  }
  isRetracted(position: number): boolean {
    return this.note.retracted.some(([from, to]) => position >= from && position < to);
  }

  /** A claim's look has found it at the edge, and it is not looked for again. */
  isFound(position: number): boolean {
    return this.note.retracted.some(([from, to, why]) => why === "found" && position >= from && position < to);
  }

  #add(at: number, next: number, bytes: number, header: BatchHeader | undefined, appendedAt: number | undefined): void {
    const isRetracted = this.isRetracted(at);
    this.batches.add({ at, next, bytes, header, appendedAt, isSettled: isRetracted, isRetracted, offset: -1 });
    this.#indexedTo = next;
  }

  /** All batches that are not trimmed. Of those behind the index only what was retracted is known to be settled. */
  async *each(): AsyncGenerator<Pick<OwnBatch, "at" | "header" | "isSettled" | "isRetracted" | "offset">> {
    yield* [...this.batches.all];
    if (!this.#rest) return;
    for await (const { header, at } of this.headersOf(this.#indexedTo)) {
      const isRetracted = this.isRetracted(at);
      yield { at, header, isSettled: isRetracted, isRetracted, offset: -1 };
    }
  }

  /** Remembers an append's position and the watermark of this moment, before its flush. */
  offered(position: number): void {
    this.#offered.set(position, this.#options.watermark() ?? 0);
  }

  /** The append at this position was flushed, was there already, or has failed. */
  answered(position: number): void {
    this.#offered.delete(position);
  }

  #flushed(group: readonly Pending[]): void {
    for (const { header, baseOffset } of group) {
      const appendedAt = this.#offered.get(baseOffset) ?? this.#options.watermark() ?? 0;
      this.#offered.delete(baseOffset);
      if (!this.#rest && this.batches.size < this.#indexMax) {
        this.#add(baseOffset, baseOffset + header.recordCount, header.sizeBytes, header, appendedAt);
        continue;
      }
      this.#rest ??= { batches: 0, bytes: 0, appendedAt, seenFrom: appendedAt };
      this.#rest.batches++;
      this.#rest.bytes += header.sizeBytes;
    }
    this.onAppended?.(this.end);
  }

  isIndexed(position: number): boolean {
    return !this.#rest || position <= this.#indexedTo;
  }

  /** Extends the index to this position at least, and further if there is room. */
  async index(to: number): Promise<void> {
    const rest = this.#rest;
    if (!rest || (this.isIndexed(to) && this.batches.size >= this.#indexMax / 2)) return;
    for await (const { header, at, end, size } of this.headersOf(this.#indexedTo)) {
      if (end > to && this.batches.size >= this.#indexMax) break;
      this.#add(at, end, size, header, rest.appendedAt);
      rest.batches--;
      rest.bytes -= size;
    }
    if (this.#indexedTo >= this.end) this.#rest = undefined;
    await this.#options.look(rest.seenFrom);
  }

  /** The note after a trim to `to`. */
  noteAfter(to: number, change: Partial<OutboxNote> = {}): OutboxNote {
    const { note, batches } = this;
    const watermark = this.#options.watermark();
    const kept = batches.all.slice(batches.placeOf(to));
    const unsettled = kept.filter(({ isSettled }) => !isSettled).map(({ appendedAt }) => appendedAt);
    if (this.#rest) unsettled.push(this.#rest.appendedAt);
    const standing = kept.filter(({ isSettled, offset }) => isSettled && offset >= 0).map(({ offset }) => offset);
    if (this.#rest) standing.push(this.#rest.seenFrom);
    const trimmed = batches.all
      .slice(0, batches.placeOf(to))
      .filter(({ isRetracted, header }) => !isRetracted && header);
    return {
      ...note,
      ...nextAfterTrim(
        note,
        this.toldNext,
        note.generation,
        trimmed.map(({ next, header }) => ({ next, crc: header!.crc })),
      ),
      settledIn: watermark === undefined ? note.settledIn : settledInAfter(note.settledIn, watermark, standing),
      doubtFrom: doubtFromAfter(note.doubtFrom, watermark, unsettled),
      producers: withProducers(
        note.producers,
        trimmed.map(({ header }) => header!),
      ),
      retracted: (change.retracted ?? note.retracted).filter(([, end]) => end > to),
      ...(({ retracted: _, ...others }) => others)(change),
    };
  }

  /** Changes the log start and the note in one commit. */
  async trim(to: number, change?: Partial<OutboxNote>): Promise<void> {
    if (to <= this.start && !change) return;
    const { trimSegments } = await import("../store/trim-and-replace.ts");
    if (to <= this.start && !change) return;
    const note = this.noteAfter(to, change);
    await this.log.alone(async () => {
      if (to > this.start) await trimSegments(this.segments, to, stored(note));
      else await this.saveNote(note);
    });
    this.batches.dropBelow(to);
    await this.index(this.start);
  }

  async saveNote(note: OutboxNote): Promise<void> {
    await this.segments.store.change(async (change) => {
      await change.commit([{ ...this.segments.entry(), note: stored(note) }]);
      this.segments.note = stored(note);
    });
  }

  crcEndingAt(position: number): number | undefined {
    const batch = this.batches.all[this.batches.placeOf(position - 1)];
    return batch?.next === position ? batch.header?.crc : undefined;
  }

  /**
   * Un-settled batches that stand back to back, from the first one at or after `position`. Undefined if none is left.
   */
  async unsettledFrom(
    position: number,
    most: { readonly bytes: number; readonly batches: number; readonly records: number },
  ): Promise<OutboxRun | undefined> {
    const { all } = this.batches;
    let place = this.batches.placeOf(position);
    while (all[place]?.isSettled) place++;
    const run: OwnBatch[] = [];
    let bytes = 0;
    for (let batch = all[place]; batch && !batch.isSettled; batch = all[++place]) {
      const { at } = run[0] ?? batch;
      bytes += batch.bytes;
      const isOver = bytes > most.bytes || run.length >= most.batches || batch.next - at > most.records;
      if (run.length > 0 && (isOver || !batch.header)) break;
      if (!batch.header)
        throw new TidemarkError(
          "CORRUPT_RANGE",
          `positions ${batch.at} to ${batch.next - 1} of the outbox are damaged`,
          { from: batch.at, to: batch.next },
        );
      run.push(batch);
    }
    const [first, last] = [run[0], run.at(-1)];
    if (!first || !last) return undefined;
    const batches: Uint8Array[] = [];
    for (let at = first.at; at < last.next;) {
      const read = await this.segments.read(at, Math.max(1, most.bytes), last.next);
      batches.push(...splitBatches(read.bytes));
      at = read.nextOffset;
    }
    return { at: first.at, next: last.next, lastCrc: last.header!.crc, batches };
  }
}
