/**
 * One Durable Stream inside its object: its description, its log, and what it remembers of writers.
 *
 *   append   checks, batches, sequence and offset in one turn → Log's queue → one row per group commit → answer
 *   read     below the fork point from the source's object, above it from the log
 *   close    a flag in the description, in the very transaction of the final append
 *
 * Description and flags are one row in `meta`, written when they change. An append writes its chunk and nothing else. A TTL
 * slides in memory; its row follows in steps of a sixteenth, and a woken object adds that step, so it may expire
 * late but never early.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel, PackingKernel } from "../../src/kernel/types.ts";
import { saneRetention } from "../../src/log/limits.ts";
import { Log } from "../../src/log/log.ts";
import type { Sending } from "../../src/log/producer-state.ts";
import type { AppendResult, CompactionSettings, LogSettings, RetentionSettings } from "../../src/log/types.ts";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import type { Archive } from "../store/segment-archive.ts";
import { ChunkLog } from "../store/chunk-log.ts";
import { encodeBody, encodeInSlices, SLICE_BYTES, turn } from "./body-encoder.ts";
import { ChunkTables } from "../store/chunk-tables.ts";
import type { Sql } from "../store/sql.ts";
import { EncodeQueue } from "./encode-queue.ts";
import { cutAt } from "./fork-cut.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { mediaType } from "./media-type.ts";
import { type Parts, partsIn } from "./values.ts";
import { type Producer, stateHeaders, StreamState } from "./writer-state.ts";

export interface StreamConfig {
  /** Of this creation: a stream made anew under the same path has another, and so other ETags. */
  readonly id: string;
  readonly path: string;
  /** Alarms come without a request to say whose stream this is. */
  readonly tenant: string;
  /** Somebody subscribes to this stream. */
  readonly watched: boolean;
  readonly contentType: string;
  readonly ttl: number | undefined;
  readonly expiresAt: string | undefined;
  readonly fork:
    | {
        readonly path: string;
        readonly id?: string | undefined;
        readonly offset: number;
        readonly requested: string | undefined;
        readonly subOffset: number;
        readonly start?: number;
      }
    | undefined;
  readonly closed: boolean;
  readonly closedBy: Producer | undefined;
  /** Deleted, and kept for its forks. */
  readonly deleted: boolean;
  /** Deleted for good, but the source has not been told yet. */
  readonly releasing: boolean;
  readonly touchedAt: number;
  /** What may go from the front; absent: nothing does. */
  readonly retention?: RetentionSettings;
  /** Of each key only the newest record has to stay; absent: all do. */
  readonly compaction?: CompactionSettings;
  /** When the forks are asked whether they are, and the pause before that (forks.ts). */
  readonly forkCheck?: { readonly at: number; readonly pauseMs: number } | undefined;
}

/** What a stream needs of its object. */
export interface StreamHost {
  readonly sql: Sql;
  readonly kernel: PackingKernel;
  /** Reads segments in object storage. */
  readonly archive: Archive;
  now(): number;
  /** Resolves in a later turn: appends that arrive meanwhile form the next group. */
  breathe(): Promise<void>;
  /** Batches of another stream of the same tenant, from its own object. */
  readSource(
    source: { readonly path: string; readonly id?: string | undefined; readonly offset: number },
    from: number,
    limit: number,
    maxBytes: number,
  ): Promise<{ readonly bytes: Uint8Array; readonly nextOffset: number }>;
  /** The log's end has moved, or the stream was closed. */
  onChange(end: number, closed: boolean): void;
  /** A segment was sealed, in this very turn. */
  onSealed(nextOffset: number): void;
  /** What is in memory can no longer be trusted: start anew. */
  abort(reason: string): void;
}

export interface AppendRequest {
  readonly body: Uint8Array;
  readonly contentType: string | undefined;
  readonly closing: boolean;
  readonly producer: Producer | undefined;
  readonly seq: string | undefined;
  readonly ifEnd: number | undefined;
  readonly sending?: Sending;
  /** traceparent of the request; goes into the first record's headers. */
  readonly trace?: string | undefined;
}

export interface AppendOutcome {
  readonly nextOffset: number;
  readonly closed: boolean;
  readonly duplicate: boolean;
  /** Highest request taken from the producer. */
  readonly producer: Producer | undefined;
}

export interface ReadResult {
  readonly parts: Readonly<Parts>;
  readonly from: number;
  readonly nextOffset: number;
  readonly upToDate: boolean;
  /** At the end of a closed stream. */
  readonly ended: boolean;
}

const CONFIG = "config";
const STATE = "stream";
const TOUCH_STEPS = 16;
/** Bytes on their way to the disk; one more append is 429. */
const QUEUE_BYTES_MAX = 16 * 1024 * 1024;
const QUEUE_APPENDS_MAX = 5_000;

const SETTINGS = {
  // Never met: the stream's own bound comes first, so that an append of several batches is taken whole or not at all.
  queueBytesMax: 4 * QUEUE_BYTES_MAX,
  queueAppendsMax: 16 * QUEUE_APPENDS_MAX,
};

/** What an earlier version stored and today is refused must neither remove records nor keep the stream from opening. */
function settingsOf({ retention }: StreamConfig): Partial<LogSettings> {
  return { ...SETTINGS, retention: saneRetention(retention) };
}

export class Stream {
  readonly log: Log;
  readonly store: ChunkLog;
  readonly #host: StreamHost;
  readonly #tables: ChunkTables;
  #config: StreamConfig;
  readonly #state: StreamState;
  #closing = false;
  /** Written with the chunk that ends at this offset. */
  #closeAt: number | undefined;
  #closingBy: Producer | undefined;
  readonly #encodings = new EncodeQueue();
  #pending = new Set<Promise<unknown>>();
  #pendingBytes = 0;
  #touchedAt: number;
  readonly #slackMs: number;

  private constructor(
    host: StreamHost,
    tables: ChunkTables,
    config: StreamConfig,
    { log, store }: { log: Log; store: ChunkLog },
    state: StreamState,
    isNew: boolean,
  ) {
    this.#host = host;
    this.#tables = tables;
    this.#config = config;
    this.log = log;
    this.store = store;
    this.#state = state;
    this.#touchedAt = config.touchedAt;
    this.#slackMs = isNew ? 0 : ((config.ttl ?? 0) * 1000) / TOUCH_STEPS;
  }

  /** The stream that the object's tables hold. */
  static async load(host: StreamHost): Promise<Stream | undefined> {
    const isThere = [...host.sql.exec("SELECT name FROM sqlite_master WHERE name = 'meta'")].length > 0;
    if (!isThere) return undefined;
    const text = new ChunkTables(host.sql).meta(CONFIG);
    return text === undefined ? undefined : Stream.#open(host, JSON.parse(String(text)) as StreamConfig, false);
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
    });
    const log = await Log.open({
      store,
      kernel,
      clock: { now },
      settings: settingsOf(config),
      breathe: () => host.breathe(),
    });
    const saved = tables.meta(STATE);
    const { offset, state: text } =
      saved === undefined
        ? { offset: log.logStartOffset }
        : (JSON.parse(String(saved)) as { offset: number; state: string });
    const state = StreamState.from(text, offset);
    await replay(kernel, log, state, Math.max(offset, log.logStartOffset));
    stream = new Stream(host, tables, config, { log, store }, state, isNew);
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
  get isJson(): boolean {
    return mediaType(this.#config.contentType) === "application/json";
  }

  get isText(): boolean {
    return mediaType(this.#config.contentType).startsWith("text/");
  }

  // --- lifetime ----------------------------------------------------------------------------------------------------

  /** When the stream expires by its own rules, undefined for never. */
  get deadline(): number | undefined {
    const { ttl, expiresAt } = this.#config;
    if (expiresAt !== undefined) return Date.parse(expiresAt);
    return ttl === undefined ? undefined : this.#touchedAt + ttl * 1000 + this.#slackMs;
  }

  touch(): void {
    const { ttl, touchedAt } = this.#config;
    if (ttl === undefined) return;
    this.#touchedAt = this.#host.now();
    if (this.#touchedAt - touchedAt >= (ttl * 1000) / TOUCH_STEPS) this.save({ touchedAt: this.#touchedAt });
  }

  save(change: Partial<StreamConfig>): void {
    // The tables may be another stream's by now.
    if (this.store.isEnded) return;
    this.#config = { ...this.#config, ...change };
    this.#tables.saveMeta(CONFIG, JSON.stringify(this.#config));
  }

  /** Forks that read from this stream. */
  get forks(): string[] {
    return [...this.#host.sql.exec("SELECT key FROM meta WHERE key >= 'fork:' AND key < 'fork;'")].map((row) =>
      String(row["key"]).slice(5),
    );
  }
  get isHeld(): boolean {
    return this.forks.length > 0;
  }
  addFork(path: string, id: string): void {
    this.#tables.saveMeta(`fork:${path}`, id);
  }
  /** Without an id whichever it is; with one, not another fork that is there by now. */
  removeFork(path: string, id?: string): void {
    void [
      ...this.#host.sql.exec(
        "DELETE FROM meta WHERE key = ?1 AND (value = '' OR ?2 IS NULL OR value = ?2)",
        `fork:${path}`,
        id ?? null,
      ),
    ];
  }

  // --- append ------------------------------------------------------------------------------------------------------

  append(request: AppendRequest): Promise<AppendOutcome> {
    const { length } = request.body;
    if (length <= SLICE_BYTES && this.#encodings.isIdle) return this.#take(request);
    this.#checkRoom(length);
    return this.#encodings.run(
      length,
      () => this.#encodeLarge(request),
      (encoded) => this.#take(request, encoded),
    );
  }

  async #encodeLarge(request: AppendRequest): Promise<Uint8Array[] | undefined> {
    // What is refused anyhow is not encoded before.
    if (request.body.length <= SLICE_BYTES || this.closed || this.#isOther(request.contentType)) return undefined;
    return encodeInSlices(this.#host.kernel, this.#asked(request), turn);
  }

  #asked({ body, producer, seq, trace }: AppendRequest) {
    const type = mediaType(this.#config.contentType);
    return { body, mediaType: type, headers: stateHeaders(producer, seq, trace), timestamp: this.#host.now() };
  }

  #isOther(contentType: string | undefined): boolean {
    return contentType === undefined || mediaType(contentType) !== mediaType(this.#config.contentType);
  }

  async #take(request: AppendRequest, encoded?: Uint8Array[]): Promise<AppendOutcome> {
    const { body, producer, closing, seq } = request;
    if (this.#closing) await this.settled();
    this.#checkThere();
    if (this.closed) return this.#appendToClosed(request);
    if (body.length === 0) {
      if (!closing) throw badRequest("the body is empty; an append brings records, or closes the stream");
      return this.#closeOnly(producer);
    }
    const wanted = `this stream takes ${this.#config.contentType}`;
    if (request.contentType === undefined) throw badRequest(`the append has no content type; ${wanted}`);
    if (this.#isOther(request.contentType))
      throw new EdgeError("CONFLICT", `the append is ${request.contentType}; ${wanted}`);
    const repeated = producer && this.#state.admit(producer, request.sending);
    if (repeated !== undefined)
      return {
        nextOffset: await this.#settledTail(),
        closed: false,
        duplicate: true,
        producer: { ...producer!, seq: repeated },
      };
    this.#state.checkSeq(seq);
    const batches = encoded ?? encodeBody(this.#host.kernel, this.#asked(request));
    if (batches.length === 0) throw badRequest("the array is empty; an append has at least one message");
    const results = this.#enqueue(batches, request.ifEnd, (offset) => {
      this.#state.record(producer, seq, offset);
      if (closing) this.#closing = true;
      this.#closingBy = producer;
    });
    const nextOffset = await results;
    this.touch();
    return { nextOffset, closed: closing, duplicate: false, producer };
  }

  /** What a new stream begins with: its first records, its end. */
  async begin(batches: readonly Uint8Array[], closed: boolean): Promise<void> {
    if (batches.length > 0) await this.#enqueue(batches, undefined, () => (this.#closing = closed));
    else if (closed) this.save({ closed: true });
  }

  /**
   * Queues batches that belong together, all in this turn. `taken` runs in the same turn, once the log has given the first
   * its offset: nothing can be refused behind it but by a store that fails, and then the object starts anew.
   */
  async #enqueue(
    batches: readonly Uint8Array[],
    ifEnd: number | undefined,
    taken: (offset: number) => void,
  ): Promise<number> {
    const bytes = batches.reduce((sum, batch) => sum + batch.length, 0);
    this.#checkRoom(bytes);
    const [first, ...rest] = batches as [Uint8Array, ...Uint8Array[]];
    const { baseOffset, done } = this.log.offer(first, ifEnd === undefined ? {} : { ifEnd });
    taken(baseOffset);
    const results = [done, ...rest.map((batch) => this.log.append(batch))];
    if (this.#closing) this.#closeAt = nextOffsetOf(readHeader(batches.at(-1)!));
    return this.#track(
      Promise.all(results).then((all) => all.at(-1)!.lastOffset + 1),
      bytes,
    );
  }

  /** Deleted while a request was on its way through its checks: who asks again meets what stands there now. */
  #checkThere(): void {
    if (this.store.isEnded) throw new EdgeError("CLOSED", "the stream was deleted meanwhile", { reason: "deleted" });
  }

  #checkRoom(bytes: number): void {
    const waiting = this.#pendingBytes + this.#encodings.bytes;
    if (this.#pending.size >= QUEUE_APPENDS_MAX || (waiting > 0 && waiting + bytes > QUEUE_BYTES_MAX)) {
      throw new EdgeError("BACKPRESSURE", "too many appends are waiting", { queueBytes: waiting });
    }
  }

  async #track(work: Promise<number>, bytes: number): Promise<number> {
    this.#pending.add(work);
    this.#pendingBytes += bytes;
    try {
      return await work;
    } catch (thrown) {
      // Taken and then refused: sequence numbers in memory are ahead of the log.
      this.#host.abort(String(thrown));
      throw thrown;
    } finally {
      this.#pending.delete(work);
      this.#pendingBytes -= bytes;
    }
  }

  /** Record batches as a client encoded them. Bytes under the checksum stay as they are. */
  async appendBatches(
    batches: readonly Uint8Array[],
    ifEnd: number | undefined,
    sending: Sending = {},
  ): Promise<AppendResult[]> {
    if (this.#closing) await this.settled();
    this.#checkThere();
    if (this.closed) throw this.#closedConflict();
    const bytes = batches.reduce((sum, batch) => sum + batch.length, 0);
    this.#checkRoom(bytes);
    this.#pendingBytes += bytes;
    // All or nothing: what any of them is refused for is found before the first is queued, and they are one commit.
    const work = this.log.appendAll(batches, { ...sending, ...(ifEnd !== undefined && { ifEnd }) });
    const pending = Promise.allSettled([work]);
    this.#pending.add(pending);
    try {
      const results = await work;
      this.touch();
      return results;
    } finally {
      await pending;
      this.#pending.delete(pending);
      this.#pendingBytes -= bytes;
    }
  }

  /** Everything queued so far is in the log, or has failed. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#pending]);
  }

  async #settledTail(): Promise<number> {
    await this.settled();
    return this.tail;
  }

  async #closeOnly(producer: Producer | undefined): Promise<AppendOutcome> {
    const repeated = producer && this.#state.admit(producer);
    if (repeated !== undefined)
      return {
        nextOffset: await this.#settledTail(),
        closed: false,
        duplicate: true,
        producer: { ...producer!, seq: repeated },
      };
    this.#state.record(producer, undefined, this.log.logEndOffset);
    this.#closing = true;
    await this.settled();
    this.touch();
    this.save({ closed: true, closedBy: producer });
    this.saveState(this.tail);
    this.#host.onChange(this.tail, true);
    return { nextOffset: this.tail, closed: true, duplicate: false, producer };
  }

  #appendToClosed({ body, closing, producer }: AppendRequest): AppendOutcome {
    const { closedBy } = this.#config;
    const answer = { nextOffset: this.tail, closed: true, duplicate: true, producer };
    const isSame =
      producer &&
      closedBy &&
      producer.id === closedBy.id &&
      producer.epoch === closedBy.epoch &&
      producer.seq === closedBy.seq;
    if (closing && (isSame || (body.length === 0 && !producer))) return answer;
    throw this.#closedConflict();
  }

  #closedConflict(): EdgeError {
    return new EdgeError("STREAM_CLOSED", "the stream is closed", { nextOffset: this.tail });
  }

  /** In the append's own transaction. */
  appended(offset: number): void {
    if (this.#closeAt !== undefined && offset >= this.#closeAt) {
      this.save({ closed: true, closedBy: this.#closingBy });
      this.#closeAt = undefined;
    }
    this.#host.onChange(offset, this.closed);
  }

  saveState(offset: number): void {
    if (this.store.isEnded) return;
    this.#tables.saveMeta(STATE, JSON.stringify({ offset, state: this.#state.snapshot() }));
  }

  // --- read --------------------------------------------------------------------------------------------------------

  /** Changes when what a range of offsets holds has changed: part of ETags. */
  get version(): string {
    const { swaps } = this.store;
    return swaps === 0 ? this.#config.id : `${this.#config.id}.${swaps}`;
  }

  get start(): number {
    const { fork } = this.#config;
    return fork ? (fork.start ?? 0) : this.log.logStartOffset;
  }

  /** A read begins at a record that is there, or at the end. */
  checkOffset(offset: number): void {
    const { start: logStartOffset, tail: logEndOffset } = this;
    if (offset >= logStartOffset && offset <= logEndOffset) return;
    const isBehind = offset > logEndOffset;
    throw new EdgeError(
      "OFFSET_OUT_OF_RANGE",
      isBehind ? "the offset is beyond the stream's end" : "the records at this offset are gone",
      { offset, logStartOffset, logEndOffset },
    );
  }

  /** Raw batches that hold [from, limit), from whoever has them; the first and the last may reach beyond. */
  async readBatches(
    from: number,
    limit: number,
    maxBytes: number,
  ): Promise<{ readonly bytes: Uint8Array; readonly nextOffset: number }> {
    const { fork } = this.#config;
    if (fork && from < fork.offset) {
      const found = await this.#host.readSource(fork, from, Math.min(limit, fork.offset), maxBytes);
      return {
        bytes: await cutAt(this.kernel, found.bytes, fork.offset),
        nextOffset: Math.min(found.nextOffset, fork.offset),
      };
    }
    const end = this.log.highWatermark;
    const found = await this.log.fetch(from, { maxBytes });
    // Nothing up to the end: compaction took it all.
    const nextOffset = found.bytes.length > 0 ? found.nextOffset : end;
    return { bytes: found.bytes, nextOffset: Math.min(nextOffset, limit) };
  }

  async read(position: number | "start" | "now", maxBytes: number): Promise<ReadResult> {
    this.touch();
    const from = position === "start" ? this.start : position === "now" ? this.tail : position;
    this.checkOffset(from);
    const parts: Parts = [];
    let nextOffset = from;
    let room = maxBytes;
    while (room > 0 && nextOffset < this.tail) {
      const limit = this.tail;
      const found = await this.readBatches(nextOffset, limit, room).catch((thrown: unknown) => {
        // What stands before damage is an answer; the next request hears of it.
        if (nextOffset > from && EdgeError.from(thrown).code === "CORRUPT_RANGE") return undefined;
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

/** Producers and sequence from the records behind the snapshot. Damage is stepped over: its producers are unknown anyway. */
async function replay(kernel: Kernel, log: Log, state: StreamState, from: number): Promise<void> {
  for (let offset = from; offset < log.highWatermark;) {
    try {
      const { bytes, nextOffset } = await log.fetch(offset);
      if (bytes.length === 0) return;
      for (const batch of splitBatches(bytes)) state.replay(await decodeBatch(kernel, batch, { checkCrc: false }));
      offset = nextOffset;
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError) || thrown.code !== "CORRUPT_RANGE") throw thrown;
      offset = Math.max(offset + 1, Number(thrown.details["to"]));
    }
  }
}
