/**
 * The log: one writer that gives offsets, and any number of readers.
 *
 *   append ─ validate ─ producer's sequence ─ offset given ─┐ accepted
 *                                                           ▼
 *     queue ── one commit at a time ──▶ store.append     provisional readers wake
 *                                       store.handOver → written
 *                                       store.flush    → flushed, high watermark
 *
 * Everything up to the queue happens in the call's own turn, so calls made one after the other get consecutive offsets.
 * While a commit runs, new appends queue up and form the next one: this is the group commit. Structural work (roll,
 * trim, compaction's swap) runs between commits.
 *
 * This file holds appends, their order and their acks. Reads are in log-reads.ts; what a producer may send is decided
 * in producer-state.ts.
 */
import { assert, TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { type BatchHeader, stampBaseOffset } from "../record/format.ts";
import type { LogRecovery, LogStore, QuarantinedRange, SegmentInfo } from "../store/log-store.ts";
import { AppendQueue } from "./append-queue.ts";
import { withDefaults } from "./limits.ts";
import { offsetConflict } from "./offset-conflict.ts";
import type { Pending, Repeat, Taken } from "./pending.ts";
import { ProducerState } from "./producer-state.ts";
import { LogReads } from "./log-reads.ts";
import { isRollDue } from "./roll-age.ts";
import {
  type Acks,
  type LogAppendOptions,
  type AppendResult,
  type CleanResult,
  type Clock,
  type Fetched,
  type FetchOptions,
  type Isolation,
  type LogApi,
  type LogOptions,
  type LogSettings,
  type StartPosition,
  NOTHING_CLEANED,
} from "./types.ts";
import { validate } from "./validate.ts";
import type { Upkeep } from "./upkeep.ts";
import { Waiters } from "./waiters.ts";

const nobody = (): void => undefined;

const closed = (): TidemarkError => new TidemarkError("CLOSED", "the log is closed", { reason: "closed" });
const failed = (cause: TidemarkError): TidemarkError =>
  new TidemarkError("CLOSED", "the log must be opened again", { reason: "fault" }, { cause });

export interface Offered {
  /** Offset of the batch's first record. */
  readonly baseOffset: number;
  /** False for a batch that the log had already. */
  readonly isNew: boolean;
  readonly done: Promise<AppendResult>;
}

export class Log implements LogApi {
  /** Called with the appends of each commit once they are flushed, before their acks. Another part sets it. */
  onFlushed: ((group: readonly Pending[]) => void) | undefined;
  settings!: LogSettings;
  limits!: LogApi["limits"];
  readonly #store: LogStore;
  readonly #kernel: Kernel;
  readonly #clock: Clock;
  readonly #breathe: LogOptions["breathe"];
  /** Producers' state as of the queue's end. It decides whether the next append is admitted. */
  readonly #producers: ProducerState;
  /**
   * Producers' state as of what is written, for the snapshot of a sealed segment. Queued batches may never be written.
   */
  readonly #written: ProducerState;
  readonly #queue = new AppendQueue();
  /** Appends of the current commit. The first `#writtenUpTo` of them are counted in `#written`. */
  #group: readonly Pending[] = [];
  #writtenUpTo = 0;
  /** Offset of the next append; queued ones are counted. */
  #end: number;
  /** The last of the commits and structural works that run one after the other. */
  #turn: Promise<unknown> = Promise.resolve();
  #scheduled = false;
  #failure: TidemarkError | undefined;
  /** The error for every call once the log was deleted. */
  #gone: TidemarkError | undefined;
  #closed = false;
  readonly reads: LogReads;
  /** Retries of batches that are not handed over or not flushed yet. */
  readonly #handedOver: Waiters;
  readonly #flushed: Waiters;
  /** Created by the first `clean()` that must do more than roll, and again after the settings changed. */
  #keeper: Upkeep | undefined;
  #upkeeping: Promise<unknown> = Promise.resolve();

  private constructor({ store, kernel, clock, breathe, settings = {} }: LogOptions) {
    this.#breathe = breathe;
    this.#store = store;
    this.configure(settings);
    const { producersMax, waitersMax, queueAppendsMax } = this.settings;
    this.#kernel = kernel;
    this.#clock = clock;
    this.#producers = new ProducerState(producersMax);
    this.#written = new ProducerState(producersMax);
    this.reads = new LogReads({
      store,
      kernel,
      waitersMax,
      settings: () => this.settings,
      check: () => this.#check(),
      breathe: () => this.#turnOfOthers(),
    });
    this.#handedOver = new Waiters(queueAppendsMax);
    this.#flushed = new Waiters(queueAppendsMax);
    this.#end = store.logEndOffset;
    store.onSeal = (maxBytes, write) => {
      // Called in the middle of store.append: some of the group are in the segment that is sealed, others will be in
      // the next.
      this.#countWritten();
      return write(this.#written, kernel, maxBytes);
    };
  }

  /** Rebuilds the producers' state from the newest snapshot and the headers behind it. Writes nothing. */
  static async open(options: LogOptions): Promise<Log> {
    const log = new Log(options);
    const isNew = options.store.logEndOffset === 0;
    if (!isNew) await (await import("./remembering.ts")).rememberProducers(log.#producers, options);
    log.#written.adopt(log.#producers);
    return log;
  }

  /**
   * Applies new settings from now on. Queues and tables keep the sizes they were made with. INVALID_ARGUMENT changes
   * nothing.
   */
  configure(settings: Partial<LogSettings>): void {
    this.settings = withDefaults(settings);
    const { recordBytesMax, batchBytesMax } = this.settings;
    this.limits = { recordBytesMax, batchBytesMax: Math.min(batchBytesMax, this.#store.batchBytesMax) };
    this.#keeper = undefined;
  }

  get name(): string {
    return this.#store.name;
  }
  get logStartOffset(): number {
    return this.#store.logStartOffset;
  }
  get highWatermark(): number {
    return this.reads.highWatermark;
  }
  get logEndOffset(): number {
    return this.#store.logEndOffset;
  }
  get leaderEpoch(): number {
    return this.#store.leaderEpoch;
  }
  get recovery(): LogRecovery {
    return this.#store.recovery;
  }
  segments(): readonly SegmentInfo[] {
    return this.#store.segments();
  }
  quarantined(): readonly QuarantinedRange[] {
    return this.#store.quarantined;
  }

  // --- append ------------------------------------------------------------------------------------------------------

  async append(batch: Uint8Array, options: LogAppendOptions = {}): Promise<AppendResult> {
    return this.offer(batch, options).done;
  }

  /**
   * An append whose caller learns at once, in this turn, which offset the batch has. A refusal is thrown at once as
   * well.
   */
  offer(batch: Uint8Array, options: LogAppendOptions = {}): Offered {
    this.#check();
    const header = validate(this.#kernel, batch, this.limits);
    const taken = this.#take(batch, options.isCounted ? { ...header, producerId: -1 } : header, options);
    const isNew = !("repeats" in taken);
    return { baseOffset: isNew ? taken.baseOffset : taken.repeats, isNew, done: this.#outcome(taken) };
  }

  /** Runs `work` in this turn. If it throws, all that it has offered is taken back, and nobody hears of that again. */
  allOrNone<T>(work: () => T): T {
    const end = this.#end;
    const before = this.#queue.length;
    try {
      return work();
    } catch (thrown) {
      this.#undo(this.#queue.take(before));
      this.#end = end;
      throw thrown;
    }
  }

  /** Admits a valid batch: queues it, or finds that it is in the log already. Throws before anything has changed. */
  #take(batch: Uint8Array, header: BatchHeader, options: LogAppendOptions): Taken {
    const acks = options.acks ?? "flushed";
    const idempotent = header.producerId >= 0;
    // Checked before ifEnd, because a retry finds the log's end moved by its own first try.
    const earlier = idempotent ? this.#producers.admit(header, options) : undefined;
    if (earlier) return { repeats: earlier.baseOffset, header, acks };
    if (options.ifEnd !== undefined && options.ifEnd !== this.#end) throw offsetConflict(this.#end, options.ifEnd);
    this.#queue.checkRoom(batch.length, this.settings);
    const baseOffset = this.#end;
    if (!Number.isSafeInteger(baseOffset + header.recordCount))
      throw new TidemarkError("LIMIT_EXCEEDED", "the log has used up all its offsets");
    stampBaseOffset(batch, baseOffset);
    const before = idempotent ? this.#producers.record(header, baseOffset) : undefined;
    this.#end += header.recordCount;
    const pending: Pending = { batch, header, baseOffset, acks, before, resolve: nobody, reject: nobody };
    this.#queue.add(pending);
    return pending;
  }

  /** Waits for the ack, or answers for a repeated batch. Must be called in the turn in which the batch was taken. */
  #outcome(taken: Taken): Promise<AppendResult> {
    if ("repeats" in taken) return this.#repeat(taken);
    return new Promise<AppendResult>((resolve, reject) => {
      taken.resolve = resolve;
      taken.reject = reject;
      if (taken.acks === "accepted") this.#acknowledge(taken);
      this.#schedule();
    });
  }

  /**
   * The answer for a batch that is in the log or queued: its first offsets, once the first try has reached the level.
   */
  async #repeat({ repeats, header, acks }: Repeat): Promise<AppendResult> {
    const lastOffset = repeats + header.recordCount - 1;
    if (acks !== "accepted" && lastOffset >= this.reads.highWatermark)
      await (acks === "written" ? this.#handedOver : this.#flushed).wait(lastOffset);
    return { baseOffset: repeats, lastOffset, duplicate: true, leaderEpoch: this.leaderEpoch, acks };
  }

  #acknowledge({ baseOffset, header, acks, resolve }: Pending): void {
    resolve({
      baseOffset,
      lastOffset: baseOffset + header.recordCount - 1,
      duplicate: false,
      leaderEpoch: this.leaderEpoch,
      acks,
    });
  }

  /** Runs work that must have the store alone, one piece after the other. */
  #exclusive<T>(work: () => Promise<T>): Promise<T> {
    const run = this.#turn.then(work);
    this.#turn = run.catch(() => undefined);
    return run;
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    void this.#exclusive(async () => {
      const group = this.#queue.take();
      if (group.length > 0 && !this.#failure) await this.#commit(group);
      await this.#breathe?.(group.length);
      this.#scheduled = false;
      // Scheduled at the end of the line, so that waiting structural work runs between two commits.
      if (this.#queue.length > 0) this.#schedule();
    });
  }

  async #commit(group: readonly Pending[]): Promise<void> {
    this.#group = group;
    this.#writtenUpTo = 0;
    try {
      const [first, last] = [group[0]!, group.at(-1)!];
      assert(first.baseOffset === this.#store.logEndOffset, "offsets continue");
      await this.#store.append(group.map(({ batch }) => batch));
      const end = last.baseOffset + last.header.recordCount;
      assert(end === this.#store.logEndOffset, "offsets continue");
      this.#countWritten();
      this.reads.advanceProvisional(this.#store.logEndOffset);
      if (this.#handedOver.count > 0 || group.some(({ acks }) => acks === "written")) {
        await this.#store.handOver();
        this.#handedOver.advance(this.#store.logEndOffset);
        for (const pending of group) if (pending.acks === "written") this.#acknowledge(pending);
      }
      await this.#store.flush();
    } catch (thrown) {
      const error = TidemarkError.from(thrown, "STORAGE_FAILED");
      const { poisoned, earlier } = error.details;
      // The store may be poisoned by another log's work that failed between this group's append and its flush.
      if ((earlier || !poisoned) && this.#store.logEndOffset === group[0]!.baseOffset) this.#refuse(group, error);
      else this.#poison(error, group);
      return;
    }
    this.#raiseHighWatermark();
    this.onFlushed?.(group);
    for (const pending of group) if (pending.acks === "flushed") this.#acknowledge(pending);
  }

  #raiseHighWatermark(): void {
    const { flushedOffset } = this.#store;
    this.#handedOver.advance(flushedOffset);
    this.#flushed.advance(flushedOffset);
    this.reads.raiseHighWatermark(flushedOffset);
  }

  /** Brings the written producers' state up to the store's end. */
  #countWritten(): void {
    for (; this.#writtenUpTo < this.#group.length; this.#writtenUpTo++) {
      const { header, baseOffset } = this.#group[this.#writtenUpTo]!;
      if (baseOffset >= this.#store.logEndOffset) break;
      if (header.producerId >= 0) this.#written.record(header, baseOffset);
    }
  }

  /**
   * The store wrote nothing and still works (it got no slot). The group is refused for certain, and so is everything
   * queued behind it, whose offsets were given on top of the group's. The producers' states are undone newest first, so
   * that a re-send is in sequence again.
   */
  #refuse(group: readonly Pending[], error: TidemarkError): void {
    const refused = [...group, ...this.#queue.take()];
    this.#group = [];
    this.#end = this.#store.logEndOffset;
    this.#undo(refused);
    for (const { reject } of refused) reject(error);
    this.#handedOver.fail(error, this.#end);
    this.#flushed.fail(error, this.#end);
  }

  /** Undoes the producers' states, newest first, so that each producer is where it was before. */
  #undo(appends: readonly Pending[]): void {
    for (const { header, before } of [...appends].reverse())
      if (header.producerId >= 0) this.#producers.restore(header.producerId, before);
  }

  /** What is on disk is unknown now. Producers find out by re-sending to the log once it is opened again. */
  #poison(error: TidemarkError, group: readonly Pending[]): void {
    this.#failure = error;
    const unknown = new TidemarkError(
      "OUTCOME_UNKNOWN",
      `the store failed: ${error.message}`,
      { ...error.details, cause: error.code },
      { cause: error },
    );
    this.#abandon(group, unknown, failed(error));
  }

  /** Fails the commit under way and everything that waits here: appends, retries and reads. */
  #abandon(group: readonly Pending[], error: TidemarkError, readError: TidemarkError): void {
    for (const { reject } of [...group, ...this.#queue.take()]) reject(error);
    this.#handedOver.fail(error);
    this.#flushed.fail(error);
    this.reads.fail(readError);
  }

  /**
   * Ends the log by `work`, which takes it out of its store. Commits that are queued run first, so their acks are true.
   * Later calls, and what still waits, fail as `gone`. If `work` fails nothing has changed, unless it poisoned the
   * store.
   */
  async delete(work: () => Promise<void>, gone: TidemarkError): Promise<void> {
    await this.alone(async () => {
      await work();
      this.#gone = gone;
      this.#abandon([], gone, gone);
    });
  }

  #check(): void {
    if (this.#gone) throw this.#gone;
    if (this.#closed) throw closed();
    if (this.#failure) throw failed(this.#failure);
  }

  // --- read --------------------------------------------------------------------------------------------------------

  fetch(from: number, options?: FetchOptions): Promise<Fetched> {
    return this.reads.fetch(from, options);
  }

  resolve(position: StartPosition, isolation?: Isolation): Promise<number> {
    return this.reads.resolve(position, isolation);
  }

  // --- upkeep ------------------------------------------------------------------------------------------------------

  async trim(offset: number): Promise<void> {
    this.#check();
    if (!Number.isSafeInteger(offset) || offset > this.reads.highWatermark) {
      const { logStartOffset, highWatermark } = this;
      throw new TidemarkError("OFFSET_OUT_OF_RANGE", `can't trim to ${offset}`, {
        offset,
        logStartOffset,
        highWatermark,
      });
    }
    await this.alone(() => this.#store.trim(offset));
  }

  async roll(): Promise<void> {
    await this.alone(() => this.#store.roll());
  }

  /** Runs work of another part on this log's store: between two commits, and nothing beside it. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    this.#check();
    return this.#exclusive(() => this.#guarded(work));
  }

  async clean(): Promise<CleanResult> {
    this.#check();
    const rolled = await this.#exclusive(() =>
      this.#guarded(async () => {
        const due = isRollDue(this.#store.segments(), this.#clock.now(), this.settings);
        // Without a roll, the flush brings the durable mark up to the log's end.
        await (due ? this.#store.roll() : this.#store.flush());
        this.#raiseHighWatermark();
        return due;
      }),
    );
    // One run at a time, so that a pass under way is not begun twice.
    const upkept = this.#upkeeping.then(() => this.#upkeep());
    this.#upkeeping = upkept.catch(() => undefined);
    return { ...(await upkept), rolled };
  }

  async #upkeep(): Promise<Pick<CleanResult, "retired" | "compacted">> {
    const { retention, compaction } = this.settings;
    if (!compaction && Object.keys(retention).length === 0) return NOTHING_CLEANED;
    const { Upkeep } = await import("./upkeep.ts");
    this.#keeper ??= new Upkeep({
      store: this.#store,
      kernel: this.#kernel,
      clock: this.#clock,
      settings: this.settings,
      highWatermark: () => this.reads.highWatermark,
      alone: (work) => this.alone(work),
      breathe: () => this.#turnOfOthers(),
    });
    return this.#keeper.run();
  }

  /** Gives other work a turn during long work. Throws, and so ends that work, if the log was closed meanwhile. */
  async #turnOfOthers(): Promise<void> {
    await this.#breathe?.();
    this.#check();
  }

  /** Store work outside a commit. If it poisons the store, the log fails from here on. */
  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    this.#check();
    try {
      return await work();
    } catch (thrown) {
      const error = TidemarkError.from(thrown, "STORAGE_FAILED");
      if (error.details["poisoned"]) this.#poison(error, []);
      throw error;
    }
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    // Waits for commits that run or are queued. Nothing new is taken.
    for (let turn: Promise<unknown> | undefined; turn !== this.#turn;) await (turn = this.#turn);
    this.reads.fail(closed());
    if (!this.#failure && !this.#gone) await this.#store.close();
  }
}
