/**
 * A synced topic as a log: it answers what the data port asks of any log, from the outbox and the replica.
 *
 *   offsets   0 ──── replica, committed ──── watermark ┊ 2^52 + start ──── outbox, provisional ──── 2^52 + end
 *
 * An offset of 2^52 or above is provisional: the record was written here and has no place at the edge yet. On disk
 * positions are stored as they are, without the 2^52.
 */
import { TidemarkError } from "../errors.ts";
import {
  type LogAppendOptions,
  type AppendResult,
  type ChangesPlace,
  type CleanResult,
  type Clock,
  type Fetched,
  type FetchOptions,
  type Isolation,
  type LogApi,
  type LogSettings,
  NOTHING_CLEANED,
  type OwnRecord,
  type StartPosition,
} from "../log/types.ts";
import type { Log, Offered } from "../log/log.ts";
import { Waiters } from "../log/waiters.ts";
import type { Kernel } from "../kernel/types.ts";
import { concat } from "../record/bytes.ts";
import type { BatchHeader } from "../record/format.ts";
import type { LogRecovery, QuarantinedRange, SegmentInfo } from "../store/log-store.ts";
import type { RetractedRun } from "./notes.ts";
import { PROVISIONAL_FROM } from "../log/provisional-layout.ts";
import { refuseReserved } from "./refuse-reserved.ts";
import { type ShownRun, shownRun } from "./shown-run.ts";
import type { TopicStorage } from "./topic-storage.ts";
import { cutOf, type KnownOfTopic, stampProvisional, type TopicCut } from "./topic-cut.ts";

/**
 * From this many un-settled bytes on appends fail as OUTBOX_FULL, until an eighth of them is settled. 256 MiB are
 * enough for a week of 400 bytes a second.
 */
const OUTBOX_BYTES_MAX = 256 * 1024 * 1024;
const FETCH_BYTES = 1024 * 1024;
const NOTHING = new Uint8Array(0);
/** Thrown and caught in `clean()`. */
const PASS_IS_OVER = new Error("the copy is made anew");

export interface SyncedLogOptions {
  readonly storage: TopicStorage;
  readonly kernel: Kernel;
  readonly clock: Clock;
  /** The topic's settings, for the replica: retention, compaction, age of a segment. */
  readonly settings: () => LogSettings;
  readonly outboxBytesMax?: number | undefined;
  readonly breathe?: (() => Promise<void>) | undefined;
}

const synced = (what: string): TidemarkError =>
  new TidemarkError("INVALID_ARGUMENT", `${what} of a synced topic`, { reason: "synced" });

/** A cursor can't say that something moved behind it. */
const noFollow = (isolation: Isolation): TidemarkError =>
  new TidemarkError(
    "INVALID_ARGUMENT",
    "a synced topic is followed by its committed records: leave isolation out, or use changes()",
    { field: isolation === "provisional" ? "isolation" : "from", reason: "synced" },
  );

export class SyncedLog implements LogApi {
  readonly storage: TopicStorage;
  readonly #options: SyncedLogOptions;
  /** Reads that wait for a change of any kind. */
  readonly #changed: Waiters;
  #version = 0;
  #isFull = false;
  /** The last of the appends that wait for an id; undefined if none waits. */
  #line: Promise<void> | undefined;
  /** Retracted runs that the note has had in this opening, for pages that ask late. */
  readonly #retracted: RetractedRun[] = [];
  /** Called when a read has met damage in the replica. */
  onDamage: (() => void) | undefined;
  /** The number of retractions in this opening. */
  #retractions = 0;
  #ended: TidemarkError | undefined;
  #isLive = false;

  constructor(options: SyncedLogOptions) {
    this.#options = options;
    this.storage = options.storage;
    this.#changed = new Waiters(2 * options.settings().waitersMax);
    const changed = (): void => this.#changed.advance(++this.#version);
    this.storage.listen({ appended: changed, risen: changed, settled: () => this.#settled(changed) });
    this.#retracted.push(...this.storage.outboxNote.retracted);
  }

  get name(): string {
    return this.storage.topic;
  }
  get logStartOffset(): number {
    return this.storage.base ?? 0;
  }
  get highWatermark(): number {
    return this.storage.watermark;
  }
  get logEndOffset(): number {
    return this.storage.pending.batches > 0 ? PROVISIONAL_FROM + this.storage.end : this.highWatermark;
  }
  get leaderEpoch(): number {
    return this.storage.outbox.log.leaderEpoch;
  }
  get recovery(): LogRecovery {
    return (this.storage.replica?.log ?? this.storage.outbox.log).recovery;
  }
  get settings(): LogSettings {
    return this.#options.settings();
  }
  get limits(): LogApi["limits"] {
    return this.storage.outbox.log.limits;
  }
  segments(): readonly SegmentInfo[] {
    return this.storage.replica?.log.segments() ?? [];
  }
  quarantined(): readonly QuarantinedRange[] {
    return this.storage.replica?.log.quarantined ?? [];
  }

  #settled(changed: () => void): void {
    for (const run of this.storage.outboxNote.retracted) {
      if (this.#retracted.some(([from, to]) => from === run[0] && to === run[1])) continue;
      this.#retracted.push(run);
      this.#retractions++;
    }
    this.#retracted.splice(0, this.#retracted.length - 1000);
    this.#lookFull();
    changed();
  }

  // --- append ---

  get #bytesMax(): number {
    return this.#options.outboxBytesMax ?? OUTBOX_BYTES_MAX;
  }

  /** Once it is full, an eighth of it must be settled before it takes more. */
  #lookFull(): void {
    const { bytes } = this.storage.pending;
    const isFull = bytes >= (this.#isFull ? 7 / 8 : 1) * this.#bytesMax;
    if (isFull === this.#isFull) return;
    this.#isFull = isFull;
    this.storage.tellFull(isFull);
  }

  async append(batch: Uint8Array, options: LogAppendOptions = {}): Promise<AppendResult> {
    if (options.ifEnd !== undefined) throw synced("no append with ifEnd: other devices move the end");
    // Appends that wait for an id, or for a look into a compressed batch, keep their order. Those that come meanwhile
    // wait behind them.
    const looked = refuseReserved(this.#options.kernel, this.name, batch);
    const isWaiting = looked !== undefined || this.#line !== undefined || this.storage.ids.isNeeded;
    const { baseOffset, done } = isWaiting ? await this.#inLine(batch, options, looked) : this.#offer(batch, options);
    const result = await done.finally(() => this.storage.outbox.answered(baseOffset));
    return {
      ...result,
      baseOffset: PROVISIONAL_FROM + result.baseOffset,
      lastOffset: PROVISIONAL_FROM + result.lastOffset,
    };
  }

  #inLine(batch: Uint8Array, options: LogAppendOptions, looked: Promise<void> | undefined): Promise<Offered> {
    // `looked` is awaited only when the line has come to this append. A rejection before that is not unhandled.
    looked?.catch(() => undefined);
    const run = (this.#line ?? Promise.resolve()).then(async () => {
      await looked;
      while (this.storage.ids.isNeeded) await this.storage.ids.named();
      return this.#offer(batch, options);
    });
    const line = run
      .catch(() => undefined)
      .then(() => {
        if (this.#line === line) this.#line = undefined;
      });
    this.#line = line;
    return run;
  }

  /** Checks the room, takes a position and remembers the watermark of that moment, all in one turn. */
  #offer(batch: Uint8Array, options: LogAppendOptions): Offered {
    this.#lookFull();
    if (this.#isFull)
      throw new TidemarkError("OUTBOX_FULL", "too much is waiting to be synced: again once some of it is at the edge", {
        bytes: this.storage.pending.bytes,
        outboxBytesMax: this.#bytesMax,
      });
    const { resentSince: since } = options;
    // The page knows the end only as a provisional offset, from its acks.
    const resentSince = since !== undefined && since >= PROVISIONAL_FROM ? since - PROVISIONAL_FROM : since;
    const offered = this.storage.outbox.log.offer(batch, { ...options, resentSince });
    this.storage.outbox.offered(offered.baseOffset);
    return offered;
  }

  // --- read ---

  async fetch(from: number, options: FetchOptions = {}): Promise<Fetched> {
    const { isolation = "committed", wait = false, signal, changes } = options;
    if (changes) return this.changes(from, changes, options);
    if (wait && (isolation === "provisional" || from >= PROVISIONAL_FROM)) throw noFollow(isolation);
    for (;;) {
      signal?.throwIfAborted();
      const version = this.#version;
      const found =
        from >= PROVISIONAL_FROM
          ? await this.#fetchOutbox(from - PROVISIONAL_FROM, options)
          : await this.#fetchReplica(from, isolation, { ...options, wait: false });
      if (found.bytes.length > 0 || found.nextOffset > from || !wait) {
        const { logStartOffset, highWatermark, logEndOffset } = this;
        return { ...found, logStartOffset, highWatermark, logEndOffset };
      }
      await this.#change(version, signal);
    }
  }

  async #fetchReplica(from: number, isolation: Isolation, options: FetchOptions) {
    const { replica } = this.storage;
    if (!replica && from !== 0) throw this.#outOfRange(from);
    const reading = replica?.reads.fetch(from, { ...options, isolation: "committed" });
    const found = await reading?.catch((thrown: unknown) => {
      if (TidemarkError.from(thrown).code === "CORRUPT_RANGE") this.onDamage?.();
      throw thrown;
    });
    if (found && (found.bytes.length > 0 || found.nextOffset > from)) return found;
    // Both are read in one turn, so that a batch that settles is seen below the watermark or in the outbox.
    const isLevel = from >= this.highWatermark && isolation === "provisional" && this.storage.pending.batches > 0;
    return { bytes: NOTHING, nextOffset: isLevel ? PROVISIONAL_FROM + this.storage.firstUnsettled : from };
  }

  async #fetchOutbox(position: number, { maxBytes = FETCH_BYTES }: FetchOptions) {
    if (position > this.storage.end) throw this.#outOfRange(PROVISIONAL_FROM + position);
    const run = await this.storage.alone(() => this.#own(position, maxBytes));
    if (!run) return { bytes: NOTHING, nextOffset: PROVISIONAL_FROM + position };
    return { bytes: concat(stampProvisional(run)), nextOffset: PROVISIONAL_FROM + run.next };
  }

  /** Called while no other work of the storage is under way. */
  #own(position: number, maxBytes: number): Promise<ShownRun | undefined> {
    return shownRun(this.storage, position, maxBytes).catch((thrown: unknown) => {
      const error = TidemarkError.from(thrown);
      const { from, to } = error.details;
      if (error.code !== "CORRUPT_RANGE") throw error;
      throw error.with({ from: PROVISIONAL_FROM + Number(from), to: PROVISIONAL_FROM + Number(to) });
    });
  }

  #outOfRange(offset: number): TidemarkError {
    const { logStartOffset, logEndOffset } = this;
    const details = { offset, logStartOffset, logEndOffset };
    return new TidemarkError("OFFSET_OUT_OF_RANGE", `offset ${offset} is not in the log`, details);
  }

  async resolve(position: StartPosition, isolation: Isolation = "committed"): Promise<number> {
    const { storage } = this;
    if (typeof position === "number" && position >= PROVISIONAL_FROM) {
      const { start, end } = storage;
      if (position < PROVISIONAL_FROM + start || position > PROVISIONAL_FROM + end) throw this.#outOfRange(position);
      return position;
    }
    if (position === "latest" && isolation === "provisional") return this.logEndOffset;
    if (storage.replica) return storage.replica.reads.resolve(position, "committed");
    if (typeof position === "number" && position !== 0) throw this.#outOfRange(position);
    return 0;
  }

  /** See LogApi. The outbox answers for batches that are not trimmed; for others only the replica can. */
  async ownRecord(placeIn: (header: BatchHeader) => number | undefined): Promise<OwnRecord | undefined> {
    for await (const { header, at, isSettled, isRetracted, offset } of this.storage.outbox.each()) {
      const place = header && placeIn(header);
      if (place === undefined) continue;
      if (isRetracted) return this.storage.outbox.isFound(at) ? { state: "committed" } : { state: "retracted" };
      if (!isSettled) return { state: "provisional", offset: PROVISIONAL_FROM + at + place };
      return { state: "committed", ...(offset >= 0 && { offset: offset + place }) };
    }
    return undefined;
  }

  /** See docs/sync.md, "Reading a synced topic". */
  async changes(from: number, place: ChangesPlace, options: FetchOptions = {}): Promise<TopicCut> {
    const { wait = false, maxBytes = FETCH_BYTES, signal } = options;
    for (;;) {
      signal?.throwIfAborted();
      const version = this.#version;
      const cut = await this.storage.alone(async () => {
        // After close() the logs may belong to another topic.
        if (this.#ended) throw this.#ended;
        return cutOf(this.storage, from, place, this.#known(), maxBytes, (...asked) => this.#own(...asked));
      });
      if (!wait || cut.bytes.length > 0 || cut.nextOffset !== from || cut.told !== place.told) return cut;
      await this.#change(version, signal);
    }
  }

  /** The epoch is in it, because counts begin anew with an opening. */
  #known(): KnownOfTopic {
    const { isLive: live, leaderEpoch } = this;
    const { firstUnsettled } = this.storage;
    const told = [leaderEpoch, this.#retractions, firstUnsettled, live, this.storage.replicaNote?.anew].join("/");
    return { live, told, retracted: this.#retracted.filter(([, , why]) => why !== "found") };
  }

  get isLive(): boolean {
    return this.#isLive;
  }
  /** Whether the device is level with the edge, as its session knows it. Readers of changes are told. */
  set isLive(isLive: boolean) {
    if (this.#isLive === isLive) return;
    this.#isLive = isLive;
    this.#changed.advance(++this.#version);
  }

  /** Its copy was made anew: readers of changes begin again. */
  renewed(): void {
    this.#changed.advance(++this.#version);
  }

  // --- upkeep ---

  /** Trims the replica only, at most to the watermark and to where own batches are settled. */
  async trim(offset: number): Promise<void> {
    const { storage } = this;
    await storage.noteSettled();
    await storage.alone(async () => {
      const most = Math.min(storage.watermark, storage.outboxNote.settledIn);
      if (!Number.isSafeInteger(offset) || offset > most)
        throw new TidemarkError(
          "OFFSET_OUT_OF_RANGE",
          `can't trim to ${offset}: own records behind ${most} are not settled`,
          { offset, logStartOffset: this.logStartOffset, highWatermark: this.highWatermark },
        );
      await storage.replica?.log.trim(offset);
    });
  }

  async roll(): Promise<void> {
    await this.storage.outbox.log.roll();
    await this.storage.alone(async () => this.storage.replica?.log.roll());
  }

  /** Retention and compaction work on the replica only, below what own records may still need. */
  async clean(): Promise<CleanResult> {
    const { storage } = this;
    const { rolled } = await storage.outbox.log.clean();
    await storage.noteSettled();
    const { kernel, clock, breathe } = this.#options;
    const { replica } = storage;
    if (!replica) return { ...NOTHING_CLEANED, rolled };
    const { Upkeep } = await import("../log/upkeep.ts");
    const { stale, anew } = replica.note;
    const upkeep = new Upkeep({
      store: replica.log,
      kernel,
      clock,
      // A copy that is made anew (renewing.ts) is compacted when it is.
      settings: stale === undefined ? this.settings : { ...this.settings, compaction: undefined },
      highWatermark: () => Math.min(storage.watermark, storage.outboxNote.settledIn),
      alone: (work) =>
        storage.alone(() => {
          // What a pass has mapped, and would remember, is of the copy as it was.
          if (replica.note.stale !== stale || replica.note.anew !== anew) throw PASS_IS_OVER;
          return work();
        }),
      breathe: async () => breathe?.(),
    });
    try {
      return { ...(await upkeep.run()), rolled };
    } catch (thrown) {
      if (thrown !== PASS_IS_OVER) throw thrown;
      return { ...NOTHING_CLEANED, rolled };
    }
  }

  /** Ends all waiting reads with this error, and those that would wait later. */
  end(error: TidemarkError): void {
    this.#ended ??= error;
    this.#changed.fail(error);
  }

  /** Resolves once something has changed since this version. */
  async #change(version: number, signal: AbortSignal | undefined): Promise<void> {
    if (this.#ended) throw this.#ended;
    if (this.#version === version) await this.#changed.wait(version, signal);
  }

  async close(): Promise<void> {
    this.end(new TidemarkError("CLOSED", "the log is closed", { reason: "closed" }));
    await this.storage.close();
  }
}
