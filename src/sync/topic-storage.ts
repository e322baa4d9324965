/**
 * A synced topic's storage: outbox, replica and their notes, and the order in which they change (topic-store.ts says
 * what a session may ask for).
 *
 *   receive   pieces ─▶ own batches among them ─▶ a trim, if they pass the last offset that the edge told for own
 *             batches (rule T2 of docs/sync.md) ─▶ append ─▶ one flush
 *             ─▶ watermark ─▶ own batches settled ─▶ trim, if enough is settled or everything is
 *
 * Only one piece of work runs at a time. A table in docs/sync.md says what a crash between any two of its steps leaves.
 */
import { assert } from "../errors.ts";
import { Log } from "../log/log.ts";
import { saveNotes } from "../store/noted-logs.ts";
import {
  checkNoted,
  type GapRun,
  type OutboxNote,
  type ReplicaNote,
  type RetractReason,
  mergedRuns,
  retractedWith,
  RUNS_MAX,
} from "./notes.ts";
import { outboxName, replicaName } from "./log-names.ts";
import { OutboxIds } from "./outbox-ids.ts";
import { Outbox, stored } from "./outbox.ts";
import type { OwnBatch } from "./own-batches.ts";
import { ownBytes } from "./own-echo.ts";
import { type Piece, Replica, type Waiting } from "./replica.ts";
import { flushesBeforeTrim, isReceived, passedAfter, trimForTaken } from "./settling.ts";
import type { OwnRun, Sample } from "./sync-frames.ts";
import type { TopicStorageOptions } from "./topic-storage-options.ts";
import type {
  ClaimLook,
  ClaimStand,
  Offers,
  OutboxRun,
  Range,
  ReceivedFrame,
  StoreListener,
  TakenTo,
  TopicStore,
} from "./topic-store.ts";

/** If this much is settled and not trimmed, it is trimmed at once. */
const TRIM_BYTES = 1024 * 1024;
const TRIM_BATCHES = 4096;
/** Most bytes of received frames that share a flush. */
const FLUSH_BYTES = 1024 * 1024;

export class TopicStorage implements TopicStore {
  readonly topic: string;
  outbox!: Outbox;
  replica: Replica | undefined;
  #log!: Log;
  readonly #options: TopicStorageOptions;
  readonly #listeners = new Set<StoreListener>();
  #turn: Promise<unknown> = Promise.resolve();
  #taken: TakenTo | undefined;
  readonly #frames: Waiting[] = [];
  /** Own batches in frames that were appended and not flushed. */
  #seen: (readonly [OwnBatch, number])[] = [];
  readonly ids: OutboxIds;

  private constructor(options: TopicStorageOptions) {
    this.#options = options;
    this.topic = options.topic;
    this.ids = new OutboxIds(this);
  }

  newOutboxId(): string {
    return this.#options.newOutboxId();
  }
  idChanged(drawn: string | undefined): void {
    this.#taken = this.outbox.toldNext = undefined;
    if (drawn !== undefined) this.#tell("drawn", drawn);
  }

  /** Opens a topic that has an outbox. Own batches have been looked for in the replica when this resolves. */
  static async open(options: TopicStorageOptions): Promise<TopicStorage> {
    const { store, kernel, clock, breathe, topic, settings } = options;
    const storage = new TopicStorage(options);
    const [segments, replica] = await Promise.all([
      store.find(outboxName(topic)),
      store.keptOf(replicaName(topic))?.note && store.find(replicaName(topic)),
    ]);
    checkNoted(segments?.note, topic);
    const log = await Log.open({
      store: segments!,
      kernel,
      clock,
      breathe,
      settings: { ...settings, retention: {}, compaction: undefined },
    });
    storage.#log = log;
    if (replica) storage.#has(replica);
    storage.outbox = await Outbox.open({
      log,
      segments: segments!,
      watermark: () => storage.replica?.watermark,
      look: (from) => storage.#look(from),
      indexMax: options.indexMax,
    });
    storage.outbox.onAppended = (end) => storage.#tell("appended", end);
    await storage.#look(storage.outboxNote.settledIn);
    return storage;
  }

  #has(log: Replica["log"]): void {
    const { kernel, breathe } = this.#options;
    this.replica = new Replica({ log, kernel, settings: () => this.#log.settings, breathe: async () => breathe?.() });
  }

  #tell<K extends keyof StoreListener>(event: K, ...what: Parameters<NonNullable<StoreListener[K]>>): void {
    for (const listener of [...this.#listeners])
      (listener[event] as ((...all: unknown[]) => void) | undefined)?.(...what);
  }

  tellFull(isFull: boolean): void {
    this.#tell("full", isFull);
  }

  listen(listener: StoreListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** One piece of work at a time, in the order of the calls. */
  alone<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => undefined);
    return run;
  }

  // --- what is there ---

  get outboxNote(): OutboxNote {
    return this.outbox.note;
  }
  get replicaNote(): ReplicaNote | undefined {
    return this.replica?.note;
  }
  get start(): number {
    return this.outbox.start;
  }
  get end(): number {
    return this.outbox.end;
  }
  get firstUnsettled(): number {
    return this.outbox.firstUnsettled;
  }
  get pending(): { readonly records: number; readonly batches: number; readonly bytes: number } {
    return this.outbox.pending;
  }
  get toldNext(): number | undefined {
    return this.outbox.toldNext?.next;
  }
  get trimmable(): { readonly batches: number; readonly bytes: number } {
    return this.outbox.batches.settled;
  }
  get base(): number | undefined {
    return this.replica?.log.logStartOffset;
  }
  get watermark(): number {
    return this.replica?.watermark ?? 0;
  }
  crcEndingAt = async (position: number): Promise<number | undefined> => this.outbox.crcEndingAt(position);
  unsettledFrom(
    position: number,
    most: { readonly bytes: number; readonly batches: number; readonly records: number },
  ): Promise<OutboxRun | undefined> {
    return this.alone(() => this.outbox.unsettledFrom(position, most));
  }
  ownBytes = (run: OwnRun): Promise<Uint8Array | undefined> =>
    this.alone(() => ownBytes(this.outbox, this.#options.kernel, run));
  samples = (): Promise<Sample[]> => this.alone(async () => this.replica?.samples() ?? []);
  get lowestDoubt(): number {
    return this.outbox.batches.lowestDoubt(this.outboxNote.doubtFrom, this.watermark);
  }

  // --- notes ---

  joined({ owner, stream, isFine }: Parameters<TopicStore["joined"]>[0]): Promise<void> {
    const { outbox } = this.outboxNote;
    return this.alone(async () => {
      // If another id was drawn meanwhile, that one has not joined.
      const isSame = isFine && outbox !== null && this.outboxNote.outbox === outbox;
      await this.#note({ owner, stream, ...(isSame && { registered: true }) }, { owner, stream });
    });
  }

  beginLife(life: string): Promise<void> {
    return this.alone(() => this.#note({}, { life, gaps: this.replica?.gapsTo() ?? [] }));
  }

  missed = (tombstonesTo = 0): Promise<void> =>
    this.alone(() => this.#note({}, this.replica?.staleness(tombstonesTo) ?? {}));

  /** Changes both notes in one commit. Makes none if they say so already, or if what is to change is not there. */
  async #note(outbox: Partial<OutboxNote>, replica: Partial<ReplicaNote>): Promise<void> {
    const logs = [
      [this.outbox.segments, outbox],
      ...(this.replica ? ([[this.replica.log, replica]] as const) : []),
    ] as const;
    const changed = logs.filter(([log, change]) =>
      Object.entries(change).some(([field, value]) => log.note![field] !== value),
    );
    if (changed.length === 0) return;
    await this.outbox.log.alone(() =>
      saveNotes(
        this.#options.store,
        changed.map(([log, change]) => [log, stored({ ...log.note, ...change })] as const),
      ),
    );
  }

  createReplica(from: number): Promise<void> {
    return this.alone(async () => {
      if (this.replica) return;
      const { v, url, path, owner, stream, anew } = this.outboxNote;
      const note: ReplicaNote = { v, url, path, owner, stream, from, life: null, gaps: [], ...(anew && { anew }) };
      const { settings } = this.outbox.segments;
      this.#has(await this.#options.store.log(replicaName(this.topic), settings, { from, note: stored(note) }));
      this.#tell("risen", from);
    });
  }

  // --- an id ---

  leave(): Promise<boolean> {
    return this.ids.leave();
  }

  granted({ generation, ...taken }: TakenTo & { readonly generation: number }): Promise<void> {
    return this.alone(async () => {
      const { next, lastCrc } = taken;
      this.outbox.toldNext = taken;
      // What the claim's look has found behind un-settled positions is known in memory only: the note must say it, too.
      const { foundBehind } = await import("./claim-look.ts");
      const retracted = foundBehind(this.outbox, this.base!);
      await this.outbox.trim(this.firstUnsettled, { generation, registered: true, next, lastCrc, retracted });
      this.#told(taken);
    });
  }

  // --- settling ---

  told(taken: TakenTo): void {
    this.#told(taken);
  }

  #told(taken: TakenTo): void {
    if (this.#taken && taken.next < this.#taken.next) return;
    this.#taken = taken;
    this.outbox.toldNext = taken;
    const isSettled = this.#settleTaken().length > 0;
    if (!isSettled && this.outbox.isIndexed(taken.next)) return;
    const settle = async (): Promise<void> => {
      await this.outbox.index(taken.next);
      this.#settleTaken();
      await this.#trimIfDue();
    };
    // A failure here has poisoned the store, or the work is tried again with the next trim.
    void this.alone(settle).catch(() => undefined);
  }

  forgetTold(): void {
    this.#taken = undefined;
  }

  /** Settles by T2, once everything up to the told offset is received. */
  #settleTaken(below = this.#taken?.next ?? 0): OwnBatch[] {
    if (!this.#taken || !isReceived(this.watermark, this.#taken.lastOffset)) return [];
    return this.#settle(this.#below(below).map((batch) => [batch, -1] as const));
  }

  /** Batches of the index that end at or below a position. */
  #below(position: number): readonly OwnBatch[] {
    const { batches } = this.outbox;
    return batches.all.slice(0, batches.placeOf(position));
  }

  #settle(found: readonly (readonly [OwnBatch, number])[]): OwnBatch[] {
    const settled = found
      .filter(([batch, offset]) => this.outbox.batches.settle(batch, offset))
      .map(([batch]) => batch);
    if (settled.length > 0)
      this.#tell(
        "settled",
        settled.map(({ at, next, offset, isRetracted }) => ({ from: at, to: next, offset, isRetracted })),
      );
    return settled;
  }

  /** Settles by T1 and T1c: looks for own batches in the replica from this offset on. */
  async #look(from: number): Promise<void> {
    const found: (readonly [OwnBatch, number])[] = [];
    for await (const header of (this.outbox.batches.size > 0 && this.replica?.log.headers(from)) || []) {
      const own = this.outbox.batches.find(header);
      if (own) found.push([own, header.baseOffset]);
    }
    this.#settle(found);
  }

  retract(from: number, to: number, why: RetractReason): Promise<void> {
    return this.alone(async () => {
      // A run at the front is trimmed at once where the note is full.
      const isFront = from <= this.firstUnsettled;
      const retracted = retractedWith(this.outboxNote, [from, to, why], isFront);
      const batches = this.outbox.batches.all.filter(({ at }) => at >= from && at < to);
      await this.outbox.log.alone(() => this.outbox.saveNote({ ...this.outboxNote, retracted }));
      for (const batch of batches) batch.isRetracted = true;
      this.#settle(batches.map((batch) => [batch, -1] as const));
      await (retracted.length > RUNS_MAX ? this.#trimAll() : this.#trimIfDue());
    });
  }

  trim(): Promise<void> {
    return this.alone(() => this.#trimAll());
  }

  /** Does what trim() does, and makes `settledIn` durable even if there is nothing to trim. */
  noteSettled(): Promise<void> {
    return this.alone(async () => {
      await this.#trimAll();
      const { settledIn } = this.outbox.noteAfter(this.start);
      if (settledIn > this.outboxNote.settledIn) await this.outbox.trim(this.start, {});
    });
  }

  /** Each trim indexes more of the outbox, and some of that may be settled and can be trimmed, too. */
  async #trimAll(): Promise<void> {
    while (this.start < this.firstUnsettled) {
      await this.outbox.trim(this.firstUnsettled);
      this.#settleTaken();
    }
  }

  async #trimIfDue(): Promise<void> {
    const { batches, bytes } = this.trimmable;
    const isDue = bytes >= TRIM_BYTES || batches >= TRIM_BATCHES || this.outbox.batches.pending.batches === 0;
    if (isDue) await this.#trimAll();
  }

  // --- the replica ---

  receive(delivered: ReceivedFrame): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#frames.push({ delivered, resolve, reject });
      if (this.#frames.length === 1) void this.alone(() => this.#receiveAll());
    });
  }

  /** Stores the waiting frames with one flush, up to FLUSH_BYTES. Those that are left get a turn of their own. */
  async #receiveAll(): Promise<void> {
    const taken: Waiting[] = [];
    let bytes = 0;
    try {
      for (const frame of this.#frames) {
        if (taken.length > 0 && bytes + frame.delivered.bytes.length > FLUSH_BYTES) break;
        bytes += frame.delivered.bytes.length;
        taken.push(frame);
        try {
          await this.#take(frame.delivered);
        } catch (thrown) {
          frame.reject(thrown);
        }
      }
      await this.#flush();
      this.#settleTaken();
      for (const { resolve } of taken) resolve();
      await this.#trimIfDue();
    } catch (thrown) {
      for (const { reject } of taken) reject(thrown);
    } finally {
      this.#frames.splice(0, taken.length);
      if (this.#frames.length > 0) void this.alone(() => this.#receiveAll());
    }
  }

  #there(): Replica {
    assert(this.replica, "a replica is made before anything is received");
    return this.replica;
  }

  async #take({ bytes, from, nextOffset }: ReceivedFrame): Promise<void> {
    await this.#append(this.#there().pieces(bytes, from, nextOffset), nextOffset);
  }

  /** Appends pieces up to `end`. If that passes what was told, T2's trim is durable first; then `first` runs. */
  async #append(pieces: readonly Piece[], end: number, first?: () => Promise<void>): Promise<void> {
    const replica = this.#there();
    const { batches } = this.outbox;
    const taken = this.#taken;
    if (taken) await this.outbox.index(taken.next);
    const own = pieces.map(({ header }) => batches.find(header));
    const found = own.flatMap((batch, i) => (batch ? [[batch, pieces[i]!.header.baseOffset] as const] : []));
    let appended = 0;
    if (taken && !isReceived(replica.end, taken.lastOffset) && isReceived(end, taken.lastOffset)) {
      const shown = new Set([...this.#seen, ...found].map(([batch]) => batch));
      // A batch that an earlier answer settled without a place counts as well: only the trim makes that durable.
      const isUnseen = (own: OwnBatch): boolean => own.offset < 0 && !own.isRetracted && !shown.has(own);
      const unseen = this.#below(taken.next).findLast(isUnseen);
      if (unseen) {
        if (flushesBeforeTrim()) {
          appended = own.findLastIndex((batch) => batch !== undefined && batch.at < unseen.at) + 1;
          await replica.append(pieces.slice(0, appended));
          this.#seen.push(...found.filter(([, offset]) => offset < replica.end));
          await this.#flush();
        }
        const to = trimForTaken(taken.next, unseen.next);
        // The edge took these, and all up to there is received: those that neither shows were superseded.
        this.#settle(this.#below(to).map((batch) => [batch, -1] as const));
        await this.outbox.trim(to, { passed: passedAfter(this.outboxNote.passed, taken.lastOffset) });
      }
    }
    await first?.();
    await replica.append(pieces.slice(appended));
    this.#seen.push(...found.filter(([batch]) => !batch.isSettled));
  }

  async #flush(): Promise<void> {
    const replica = this.#there();
    const before = replica.watermark;
    await replica.flush();
    const seen = this.#seen;
    this.#seen = [];
    this.#settle(seen);
    if (replica.watermark > before) this.#tell("risen", replica.watermark);
  }

  gap(to: number, why: string): Promise<Range> {
    return this.alone(async () => {
      const replica = this.#there();
      const from = replica.end;
      if (to <= from) return [from, from];
      const pieces = replica.pieces(new Uint8Array(0), from, to);
      const note = () => this.#note({}, { gaps: mergedRuns([...replica.gapsTo(), [from, to, why]], RUNS_MAX) });
      await this.#append(pieces, to, note);
      await this.#flush();
      this.#settleTaken();
      await this.#trimIfDue();
      return [from, to];
    });
  }

  // --- claim ---

  async offers(): Promise<Offers | undefined> {
    return (await import("./offer-again.ts")).OfferAgain.open(this, this.#options.store);
  }

  claimStand(look: ClaimLook): Promise<ClaimStand> {
    return this.alone(async () => {
      await this.outbox.index(Infinity);
      const before = this.pending.batches;
      await this.#look(this.outboxNote.settledIn);
      const { ownIn, standOf } = await import("./claim-look.ts");
      this.#settle(ownIn(this.outbox.batches, look.fetched));
      return { ...(await standOf(this, look)), found: before - this.pending.batches };
    });
  }

  async close(): Promise<void> {
    await this.alone(async () => {
      await this.#trimAll();
      await this.outbox.log.close();
      await this.replica?.log.close();
    });
  }
}
