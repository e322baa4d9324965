/**
 * One Durable Stream inside its object: its description, its log, and what it remembers of its writers.
 *
 *   append   appends.ts → Log's queue → one row per group commit → answer
 *   read     below the fork point from the source's object, above it from the log
 *   close    a flag in the description, in the transaction of the final append
 *
 * Description and flags are one row in `meta`, written when they change. An append writes its chunk and nothing else. A
 * TTL is extended in memory; its row follows in steps of a sixteenth of the TTL. An object that wakes adds one such
 * step, so a stream may expire late but never early.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { PackingKernel } from "../../src/kernel/types.ts";
import { saneRetention } from "../../src/log/limits.ts";
import { Log } from "../../src/log/log.ts";
import type { Sending } from "../../src/log/producer-state.ts";
import type { AppendResult, LogSettings } from "../../src/log/types.ts";
import { type AppendOutcome, type AppendRequest, Appends, QUEUE_APPENDS_MAX, QUEUE_BYTES_MAX } from "./appends.ts";
import type { Archive } from "../store/segment-archive.ts";
import { ChunkLog } from "../store/chunk-log.ts";
import { ChunkTables } from "../store/chunk-tables.ts";
import { ForkRows } from "../store/fork-rows.ts";
import { isFull, type Sql } from "../store/sql.ts";
import { cutAt } from "./fork-cut.ts";
import { EdgeError } from "../errors.ts";
import type { Fork, StreamConfig } from "./stream-config.ts";
import { mediaType } from "./media-type.ts";
import { type Parts, partsIn } from "./values.ts";
import { StreamState } from "./writer-state.ts";
import { replay } from "./writer-replay.ts";
import { OutboxTables } from "../store/outbox-tables.ts";
import { type OutboxBounds, Outboxes } from "./outboxes.ts";
import type { StreamJudge } from "./batch-check.ts";
import { Pushes } from "./push.ts";

/** What a stream needs of its object. */
export interface StreamHost {
  readonly sql: Sql;
  readonly kernel: PackingKernel;
  /** Reads segments in object storage. */
  readonly archive: Archive;
  now(): number;
  /** Returns 32 random bits. Default: the platform's. */
  random?(): number;
  readonly outboxes?: OutboxBounds;
  /** The schema of the stream at this path. Default: none has one. */
  judgeOf?(path: string): StreamJudge | undefined;
  /** Resolves in a later turn. Appends that arrive until then form the next group. */
  breathe(committed?: number): Promise<void>;
  /**
   * Batches of another stream of the same tenant, from that stream's object. Undefined if the stream is gone. `since`:
   * those before the first record that is not older are left out.
   */
  readSource(
    source: Fork,
    from: number,
    limit: number,
    maxBytes: number,
    since?: number,
  ): Promise<{ readonly bytes: Uint8Array; readonly nextOffset: number } | undefined>;
  /** The log's end has moved, or the stream was closed. */
  onChange(end: number, closed: boolean): void;
  /** A segment was sealed in this turn. */
  onSealed(nextOffset: number): void;
  /** Restarts the object, because its memory can no longer be trusted. */
  abort(reason: string): void;
  /** Opens the stream anew from its tables: a full database refused what memory counts as taken. Default: abort. */
  renew?(): void;
}

export interface ReadResult {
  readonly parts: Readonly<Parts>;
  readonly from: number;
  readonly nextOffset: number;
  readonly upToDate: boolean;
  /** True at the end of a closed stream. */
  readonly ended: boolean;
}

const CONFIG = "config";
const STATE = "stream";
const TOUCH_STEPS = 16;

const SETTINGS = {
  // Never reached: the stream's own limit is lower, so that an append of several batches is taken whole or not at all.
  queueBytesMax: 4 * QUEUE_BYTES_MAX,
  queueAppendsMax: 16 * QUEUE_APPENDS_MAX,
};

const unreadable = (reason: string, cause?: unknown): TidemarkError =>
  new TidemarkError(
    "CORRUPT_CATALOG",
    `the tables of the stream's object are damaged: ${reason}. Its records can't be read until the object's database ` +
      "is put back to an earlier time",
    { reason },
    { cause },
  );

/** Stored settings that would be refused today must neither remove records nor keep the stream from opening. */
function settingsOf({ retention }: StreamConfig): Partial<LogSettings> {
  return { ...SETTINGS, retention: saneRetention(retention) };
}

export class Stream {
  readonly log: Log;
  readonly store: ChunkLog;
  readonly outboxes: Outboxes;
  readonly pushes: Pushes;
  readonly forks: ForkRows;
  readonly #host: StreamHost;
  readonly #tables: ChunkTables;
  #config: StreamConfig;
  readonly #state: StreamState;
  readonly #appends: Appends;
  #touchedAt: number;
  readonly #slackMs: number;

  private constructor(
    host: StreamHost,
    tables: ChunkTables,
    config: StreamConfig,
    { log, store, outboxes }: { log: Log; store: ChunkLog; outboxes: Outboxes },
    state: StreamState,
    isNew: boolean,
  ) {
    this.#host = host;
    this.#tables = tables;
    this.#config = config;
    this.log = log;
    this.store = store;
    this.forks = new ForkRows(host.sql);
    this.#state = state;
    this.#appends = new Appends({
      stream: this,
      state,
      now: () => host.now(),
      closed: () => host.onChange(this.tail, true),
      failed: (thrown) => this.#failed(thrown),
    });
    this.outboxes = outboxes;
    const { kernel, isJson, judge } = this;
    this.pushes = new Pushes({
      kernel,
      log,
      isJson,
      judge,
      config,
      outboxes,
      appends: this.#appends,
      failed: (thrown) => this.#failed(thrown),
    });
    this.#touchedAt = config.touchedAt;
    this.#slackMs = isNew ? 0 : ((config.ttl ?? 0) * 1000) / TOUCH_STEPS;
  }

  /** The stream that the object's tables hold. */
  static async load(host: StreamHost): Promise<Stream | undefined> {
    const tables = new ChunkTables(host.sql);
    if (!tables.areThere) return undefined;
    const text = tables.meta(CONFIG);
    if (text === undefined)
      return tables.hasRows ? Promise.reject(unreadable("its description is missing")) : undefined;
    try {
      return await Stream.#open(host, JSON.parse(String(text)) as StreamConfig, false);
    } catch (thrown) {
      // What is in the tables was written by this program: it is not what was written.
      if ([SyntaxError, RangeError, TypeError].some((kind) => thrown instanceof kind))
        throw unreadable((thrown as Error).message, thrown);
      throw thrown;
    }
  }

  static async create(host: StreamHost, config: StreamConfig): Promise<Stream> {
    const tables = new ChunkTables(host.sql);
    tables.create();
    tables.saveMeta(CONFIG, JSON.stringify(config));
    return Stream.#open(host, config, true);
  }

  static async #open(host: StreamHost, config: StreamConfig, isNew: boolean): Promise<Stream> {
    let stream: Stream | undefined;
    const { sql, kernel } = host;
    const tables = new ChunkTables(sql);
    const now = () => host.now();
    const outboxes = new Outboxes({
      tables: new OutboxTables(tables),
      crc32c: (bytes) => kernel.crc32c(bytes),
      now,
      random: host.random?.bind(host) ?? (() => crypto.getRandomValues(new Uint32Array(1))[0]!),
      // Only the source knows who pushed the records that a fork inherits.
      forgottenAt: config.fork?.offset ?? 0,
      ...host.outboxes,
    });
    const store = new ChunkLog({
      sql,
      kernel,
      now,
      name: config.path,
      baseOffset: config.fork?.offset ?? 0,
      archive: host.archive,
      isHeld: () => stream?.isHeld !== false,
      onSealed: (offset) => {
        stream?.saveState(offset);
        host.onSealed(offset);
      },
      onAppended: (offset) => stream?.appended(offset),
      book: outboxes,
    });
    const log = await Log.open({
      store,
      kernel,
      clock: { now },
      settings: settingsOf(config),
      breathe: (committed) => host.breathe(committed),
    });
    const saved = tables.meta(STATE);
    const { offset, state: text } =
      saved === undefined ? { offset: 0 } : (JSON.parse(String(saved)) as { offset: number; state: string });
    const state = StreamState.from(text, offset);
    // A trim may have removed records behind the snapshot from the active segment. Their rows stay there.
    const unsealed = store.segments().at(-1)!.baseOffset;
    await replay(kernel, { log, store }, state, Math.max(offset, Math.min(unsealed, log.logStartOffset)));
    stream = new Stream(host, tables, config, { log, store, outboxes }, state, isNew);
    return stream;
  }

  get kernel(): PackingKernel {
    return this.#host.kernel;
  }
  get tables(): ChunkTables {
    return this.#tables;
  }
  get config(): StreamConfig {
    return this.#config;
  }
  get closed(): boolean {
    return this.#config.closed;
  }
  get tail(): number {
    return this.log.highWatermark;
  }
  now(): number {
    return this.#host.now();
  }
  get judge(): StreamJudge | undefined {
    return this.#host.judgeOf?.(this.config.path);
  }

  get isJson(): boolean {
    return mediaType(this.#config.contentType) === "application/json";
  }

  get isText(): boolean {
    return mediaType(this.#config.contentType).startsWith("text/");
  }

  // --- lifetime ----------------------------------------------------------------------------------------------------

  /** When the stream expires by its own settings; undefined means never. */
  get deadline(): number | undefined {
    const { ttl, expiresAt } = this.#config;
    if (expiresAt !== undefined) return Date.parse(expiresAt);
    return ttl === undefined ? undefined : this.#touchedAt + ttl * 1000 + this.#slackMs;
  }

  touch(): void {
    const { ttl, touchedAt } = this.#config;
    if (ttl === undefined) return;
    this.#touchedAt = this.#host.now();
    if (this.#touchedAt - touchedAt < (ttl * 1000) / TOUCH_STEPS) return;
    this.note({ touchedAt: this.#touchedAt });
  }

  /** Saves what may also be noted later: nothing fails because a full database refuses it. */
  note(change: Partial<StreamConfig>): void {
    try {
      this.save(change);
    } catch (thrown) {
      if (!isFull(thrown)) throw thrown;
    }
  }

  /** Memory counts as taken what the tables do not have. */
  #failed(thrown: unknown): void {
    if (this.store.isEnded) return;
    if (isFull(thrown) && this.#host.renew) this.#host.renew();
    else this.#host.abort(String(thrown));
  }

  save(change: Partial<StreamConfig>): void {
    // The tables may belong to another stream by now.
    if (this.store.isEnded) return;
    const config = { ...this.#config, ...change };
    // Stored first: if a full database refuses it, memory says what the tables say.
    this.#tables.saveMeta(CONFIG, JSON.stringify(config));
    this.#config = config;
  }

  /** True if forks read from this stream. */
  get isHeld(): boolean {
    return this.forks.paths.length > 0;
  }

  // --- append ------------------------------------------------------------------------------------------------------

  append(request: AppendRequest): Promise<AppendOutcome> {
    return this.#appends.append(request);
  }

  /** Appends record batches as a client encoded them. Bytes under the checksum are not changed. */
  appendBatches(batches: readonly Uint8Array[], ifEnd: number | undefined, sending?: Sending): Promise<AppendResult[]> {
    return this.#appends.appendBatches(batches, ifEnd, sending);
  }

  /**
   * The answer for a request that its producer has made before; undefined if it is new, or would be refused. It does
   * not depend on what the body says.
   */
  repeated(request: AppendRequest): Promise<AppendOutcome> | undefined {
    return this.#appends.repeated(request);
  }

  /** The offset at which the log has this batch already. Undefined if it is new, or can't be taken. */
  holds(batch: Uint8Array, sending: Sending): number | undefined {
    try {
      // No log ends there, so a batch that is new is refused. A repeat is recognised before that.
      const { baseOffset, done } = this.log.offer(batch, { ...sending, ifEnd: -1 });
      done.catch(() => undefined);
      return baseOffset;
    } catch {
      return undefined;
    }
  }

  /** The first records of a new stream, and whether they are its last. */
  begin(batches: readonly Uint8Array[], closed: boolean): Promise<void> {
    return this.#appends.begin(batches, closed);
  }

  /** Resolves once everything that is queued so far is in the log, or has failed. */
  settled(): Promise<void> {
    return this.#appends.settled();
  }

  /** Runs in the transaction of the append. */
  appended(offset: number): void {
    this.#state.reached(offset);
    this.#appends.reached(offset);
    this.#host.onChange(offset, this.closed);
  }

  saveState(offset: number): void {
    if (this.store.isEnded) return;
    this.#state.reached(offset);
    this.#tables.saveMeta(STATE, JSON.stringify({ offset, state: this.#state.snapshot() }));
  }

  // --- read --------------------------------------------------------------------------------------------------------

  /** Changes when compaction has changed what a range of offsets holds. Part of ETags. */
  get version(): string {
    const { swaps } = this.store;
    return swaps === 0 ? this.#config.id : `${this.#config.id}.${swaps}`;
  }

  get start(): number {
    const { fork } = this.#config;
    const { logStartOffset } = this.log;
    // A fork whose own first records are gone has none of its source's either: a log has no gap at its front.
    return fork && logStartOffset <= fork.offset ? (fork.start ?? 0) : logStartOffset;
  }

  /**
   * Removes the records before this offset. Those that a fork has from its source stay there, and are the fork's no
   * more.
   */
  async trim(offset: number): Promise<void> {
    const { fork } = this.#config;
    if (!fork || offset > fork.offset) return this.log.trim(offset);
    if (offset > this.start) this.save({ fork: { ...fork, start: offset } });
  }

  /** A read must begin at a record that is there, or at the end. */
  checkOffset(offset: number): void {
    const { start: logStartOffset, tail: logEndOffset } = this;
    if (offset < logStartOffset || offset > logEndOffset) throw this.#outOfRange(offset);
  }

  /** Records can be removed up to the end. What is gone already is no error. */
  checkTrim(offset: number): void {
    if (offset > this.tail) throw this.#outOfRange(offset);
  }

  #outOfRange(offset: number): EdgeError {
    const { start: logStartOffset, tail: logEndOffset } = this;
    const isBehind = offset > logEndOffset;
    return new EdgeError(
      "OFFSET_OUT_OF_RANGE",
      isBehind
        ? `the offset is beyond the stream's end, which is ${logEndOffset}`
        : `the records at this offset are gone: the stream begins at ${logStartOffset}`,
      { offset, logStartOffset, logEndOffset },
    );
  }

  /** Records below the fork's offset. If the source does not have them any more, the fork begins behind them. */
  async #readSource(fork: Fork, from: number, limit: number, maxBytes: number, since?: number) {
    const found = await this.#host.readSource(fork, from, limit, maxBytes, since).catch((thrown: unknown) => {
      const { code, details } = EdgeError.from(thrown);
      const start = Number(details["logStartOffset"]);
      if (code !== "OFFSET_OUT_OF_RANGE" || !(start > from)) throw thrown;
      // The source is a fork itself, and its own source is gone.
      return start;
    });
    if (typeof found === "object") {
      const bytes = await cutAt(this.kernel, found.bytes, fork.offset);
      return { bytes, nextOffset: Math.min(found.nextOffset, fork.offset) };
    }
    this.note({ fork: { ...fork, start: Math.min(found ?? fork.offset, fork.offset) } });
    throw this.#outOfRange(from);
  }

  /**
   * Raw batches that contain [from, limit), from the fork's source or from here. The first and the last may reach
   * beyond. A source leaves out what comes before the first record that is not older than `since`.
   */
  async readBatches(
    from: number,
    limit: number,
    maxBytes: number,
    since?: number,
  ): Promise<{ readonly bytes: Uint8Array; readonly nextOffset: number }> {
    const { fork } = this.#config;
    if (fork && from < fork.offset) return this.#readSource(fork, from, Math.min(limit, fork.offset), maxBytes, since);
    const end = this.log.highWatermark;
    const found = await this.log.fetch(from, { maxBytes });
    // Compaction has removed all records up to the end.
    const nextOffset = found.bytes.length > 0 ? found.nextOffset : end;
    return { bytes: found.bytes, nextOffset: Math.min(nextOffset, limit) };
  }

  /** `until`: where the answer ends at the latest, also where there is more. */
  async read(position: number | "start" | "now", maxBytes: number, until = Infinity): Promise<ReadResult> {
    this.touch();
    const from = position === "start" ? this.start : position === "now" ? this.tail : position;
    this.checkOffset(from);
    const parts: Parts = [];
    let nextOffset = from;
    let room = maxBytes;
    const limitOf = (): number => Math.min(this.tail, until);
    while (room > 0 && nextOffset < limitOf()) {
      const limit = limitOf();
      const found = await this.readBatches(nextOffset, limit, room).catch((thrown: unknown) => {
        const { code } = EdgeError.from(thrown);
        // Records before damage, or before a trim, are an answer. The next request gets the error.
        if (nextOffset > from && (code === "CORRUPT_RANGE" || code === "OFFSET_OUT_OF_RANGE")) return undefined;
        throw thrown;
      });
      if (!found || found.nextOffset === nextOffset) break;
      const part = await partsIn(this.#host.kernel, found.bytes, nextOffset, found.nextOffset, this.isJson);
      parts.push(...part.parts);
      room -= Math.max(found.bytes.length, 1);
      nextOffset = part.nextOffset;
      if (nextOffset < found.nextOffset) break;
    }
    const upToDate = nextOffset >= this.tail;
    return { parts, from, nextOffset, upToDate, ended: upToDate && this.closed };
  }
}
