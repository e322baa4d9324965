/** A topic of an edge: what a caller passes is checked here, and becomes batches and requests. */
import { TidemarkError } from "../errors.ts";
import type { ProducerAck } from "../delivery/producer.ts";
import type { AnyBatch, PlainRecord } from "../delivery/read-record.ts";
import { BatchReading, type Endable, RecordReading } from "../delivery/reading.ts";
import type { StartPosition } from "../log/types.ts";
import type { KafkaFiles } from "../store/kafka-files.ts";
import type { TopicChange } from "../sync/change-reader.ts";
import { textDecoder } from "../record/bytes.ts";
import { recordId } from "../record/record-id.ts";
import { BATCHES_TYPE, formatOffset } from "../sync/http-words.ts";
import { callback, checkOptions, flag, integer, signal } from "../topic/check.ts";
import { keptRecord, type RecordInput, recordOf, recordsOf } from "../topic/input.ts";
import { CHANGES_OPTIONS, producerIdOf, TYPING } from "../topic/options.ts";
import type { GivenUpload } from "../topic/segment-upload.ts";
import { type Serializer, serializerOf } from "../topic/serializer.ts";
import { shownView, type View } from "../topic/shown-view.ts";
import type { EventAppends, EventTypes } from "../typed/events.ts";
import type { Middleware } from "../typed/middleware.ts";
import type { AnyProducer } from "../typed/typed-producer.ts";
import type { TypedTopic } from "../typed/typed-topic.ts";
import type { GivenTyping } from "../typed/typing.ts";
import { CLOSED, isClosed, NEXT, notOfTheEdge, offsetOf, START } from "./answers.ts";
import type {
  AppendedAll,
  CallOptions,
  ClientAck,
  ClientAppendAllOptions,
  ClientAppendOptions,
  ClientBatchAck,
  ClientChangesOptions,
  ClientReadOptions,
  ClientTopic,
  ClientTopicOptions,
  ClientTopicState,
  ClientViewOptions,
  ImportResult,
} from "./api.ts";
import { loaded } from "./later.ts";
import type { SocketWay } from "./live.ts";
import type { ReadTopic } from "./read-topic.ts";
import { type EdgeReply, type EdgeAsk, errorIn, type EdgeRequests } from "./requests.ts";
import { type Placed, type Posted, Sender } from "./sender.ts";
import { compactionIn, retentionIn, settingsHeaders } from "./settings-headers.ts";
import { anyOf, unlessAborted, within } from "./waiting.ts";

const TYPES = { json: "application/json", text: "text/plain", bytes: "application/octet-stream" } as const;

const offset = integer(0);
const CALL = { signal };
const APPEND = { ifEnd: offset, signal };
const CHANGES = { from: CHANGES_OPTIONS.from, signal };
const READ_OPTIONS = { ...CHANGES, to: offset, follow: flag };
const APPEND_ALL = { signal, onProgress: callback };

export interface RemoteHost {
  readonly requests: EdgeRequests;
  readonly live: SocketWay;
  readonly inFlightBytesMax: number;
  /** Aborted once the client closes: reads end, and nothing is appended any more. */
  readonly closing: AbortSignal;
}

type Given<V> = ClientTopicOptions<V> & GivenTyping;
type Typed = TypedTopic<Sending>;
/** `ms`: how long without success. Default: `timeoutMs`. */
type Tries = CallOptions & { readonly ms?: number | undefined };

/** `passed` is called once the sender has the records. */
type Sending = ClientAppendOptions & { readonly passed?: () => void };
type Senders = Pick<AnyProducer<Sending>, "append" | "appendBatch">;

function ackOf({ baseOffset, at, owner, duplicate }: Placed, timestamp: number, i: number): ClientAck {
  const offset = baseOffset + at + i;
  const committed = Promise.resolve({ offset });
  return { offset, timestamp, acks: "flushed", duplicate, id: recordId(owner, at + i), committed };
}

/** The sender, as what judges records before it sees it. */
const plainProducer = (sender: Sender): AnyProducer<Sending> => ({
  get pendingBytes() {
    return sender.pendingBytes;
  },
  async append(record, _, options = {}) {
    options.passed?.();
    return ackOf(await sender.add([record], options), record.timestamp, 0);
  },
  async appendBatch(records, _, options = {}) {
    options.passed?.();
    const placed = await sender.add(records, options);
    const ack = ackOf(placed, records.at(-1)!.timestamp, records.length - 1);
    return { ...ack, baseOffset: ack.offset - records.length + 1 };
  },
  drained: (bytes) => sender.drained(bytes),
});

async function* flat<T>(lists: AsyncIterable<readonly T[]>): AsyncGenerator<T, void> {
  for await (const list of lists) yield* list;
}

export class RemoteTopic<V> implements ClientTopic<V> {
  readonly name: string;
  readonly sender: Sender;
  readonly #host: RemoteHost;
  readonly #options: Given<V>;
  readonly #serializer: Serializer<V>;
  readonly #plain: AnyProducer<Sending>;
  /** What the files that are loaded later see of this. */
  readonly #pages: ReadTopic<V>;
  /** Middleware of use(). Undefined until the topic has any, or a schema. */
  #used: Middleware[] | undefined;
  #typed: Promise<Typed> | undefined;
  /** Calls whose records are not with the sender yet. */
  readonly #judged = new Set<(error: TidemarkError) => void>();

  constructor(host: RemoteHost, name: string, options: Given<V>) {
    this.name = name;
    this.#host = host;
    this.#options = options;
    this.#serializer = serializerOf<V>(options.serializer);
    const { requests, inFlightBytesMax } = host;
    this.sender = new Sender({
      timeoutMs: requests.timeoutMs,
      inFlightBytesMax,
      begin: (...given) => this.#begin(...given),
      post: (...given) => this.#post(...given),
      pause: (...given) => requests.pause(...given),
      newId: () => producerIdOf(crypto.getRandomValues(new BigUint64Array(1))),
    });
    this.#plain = plainProducer(this.sender);
    this.#pages = {
      name,
      live: host.live,
      serializer: this.#serializer,
      asked: (...given) => this.#asked(...given),
      typed: (batch) => this.#used && this.#typing().then((typed) => typed.batch(batch)),
    };
    if (TYPING.some((name) => options[name] !== undefined)) this.#used = [];
    Object.assign(this, (options.schema as EventTypes | undefined)?.["~calls"]?.(this as EventAppends));
  }

  /** The client asks for it again. INVALID_ARGUMENT if it was made with others of these options. */
  again(options: { readonly [name in "serializer" | keyof GivenTyping]?: unknown }): void {
    for (const name of ["serializer", ...TYPING] as const) {
      const [mine = name === "serializer" ? "json" : undefined, given] = [this.#options[name], options[name]];
      if (given === undefined || given === mine) continue;
      // Functions that are written in place are new objects in each call. Whether they do the same can't be compared.
      if (mine && typeof Object(mine) === typeof given && /^(upcast|onInvalid)$/.test(name)) continue;
      throw new TidemarkError(
        "INVALID_ARGUMENT",
        `topic ${this.name} has another ${name} here: leave it out, or give that`,
        { field: name, topic: this.name },
      );
    }
  }

  // --- requests ----------------------------------------------------------------------------------------------------

  /**
   * The answer if it is a success or the edge's with one of these statuses, else the error that it says. A 404 of a
   * proxy, or of another site, says nothing about a topic.
   */
  async #asked(ask: Omit<EdgeAsk, "path">, ...allowed: readonly number[]): Promise<EdgeReply> {
    const answer = await this.#host.requests.ask({ ...ask, path: this.name });
    if (answer.status < 300) return answer;
    const error = errorIn(answer);
    if (!allowed.includes(answer.status) || error.details["edge"] === undefined) throw error;
    return answer;
  }

  /** The same, as a call of its own: tried again until its time is over. */
  async #call(options: CallOptions, ask: Omit<EdgeAsk, "path">, ...allowed: readonly number[]): Promise<EdgeReply> {
    checkOptions("a call", options, CALL);
    return this.#tried(options, ask, ...allowed);
  }

  #tried(tries: Tries, ask: Omit<EdgeAsk, "path">, ...allowed: readonly number[]): Promise<EdgeReply> {
    return this.#host.requests.again((signal) => this.#asked({ ...ask, signal }, ...allowed), tries);
  }

  // --- append ------------------------------------------------------------------------------------------------------

  async append(record: RecordInput<V>, options: ClientAppendOptions = {}): Promise<ClientAck> {
    checkOptions("append()", options, APPEND);
    this.#checkOpen();
    return this.#append(record, options);
  }

  #append(record: RecordInput<V>, options: ClientAppendOptions): Promise<ClientAck> {
    const encoded = keptRecord(recordOf(record, this.#serializer, Date.now));
    const acked = this.#through((producer, more) => producer.append(encoded, "flushed", more), options);
    return acked as Promise<ClientAck>;
  }

  async appendBatch(records: readonly RecordInput<V>[], options: ClientAppendOptions = {}): Promise<ClientBatchAck> {
    checkOptions("appendBatch()", options, APPEND);
    this.#checkOpen();
    const encoded = recordsOf(records, this.#serializer, Date.now, keptRecord);
    const acked = this.#through((producer, more) => producer.appendBatch(encoded, "flushed", more), options);
    return acked as Promise<ClientBatchAck>;
  }

  /** To the log; first through schema and middleware, if the topic has such. */
  #through(
    send: (producer: Senders, more: Sending) => Promise<ProducerAck>,
    options: ClientAppendOptions,
  ): Promise<ProducerAck> {
    if (!this.#used) return send(this.#plain, options);
    return new Promise((resolve, reject) => {
      this.#judged.add(reject);
      const passed = (): void => void this.#judged.delete(reject);
      // All wait for one promise, and so keep their order.
      const work = this.#typing().then((typed) => send(typed, { ...options, passed }));
      const { signal } = options;
      (signal ? unlessAborted(work, signal) : work).then(resolve, reject).finally(passed);
    });
  }

  /** Ends all appends with this error; those that were sent are OUTCOME_UNKNOWN. */
  fail(error: TidemarkError): void {
    this.sender.fail(error);
    for (const reject of this.#judged) reject(error);
  }

  use(middleware: Middleware): this {
    callback("use", middleware);
    (this.#used ??= []).push(middleware);
    return this;
  }

  /** The part with schema and middleware. INVALID_ARGUMENT names a wrong option of them. The next call tries again. */
  #typing(): Promise<Typed> {
    const made = (this.#typed ??= loaded(import("../typed/typed-topic.ts")).then(({ typedTopic }) =>
      typedTopic<Sending>({
        name: this.name,
        options: this.#options,
        serializer: this.#serializer as Serializer<never>,
        plain: this.#plain,
        used: this.#used!,
        inFlightBytesMax: this.#host.inFlightBytesMax,
      }),
    ));
    made.catch(() => {
      if (this.#typed === made) this.#typed = undefined;
    });
    return made;
  }

  /** Resolves when everything appended so far is acked or has failed, or after the time that a call tries. */
  async drained(): Promise<void> {
    const judged = this.#typed?.then((typed) => typed.drained());
    if (judged) await within(this.#host.requests.timeoutMs, [], () => judged).catch(() => undefined);
    await this.sender.drained();
  }

  async appendAll(
    records: Iterable<RecordInput<V>> | AsyncIterable<RecordInput<V>>,
    options: ClientAppendAllOptions = {},
  ): Promise<AppendedAll> {
    checkOptions("appendAll()", options, APPEND_ALL);
    this.#checkOpen();
    // Like an import, it is not downloaded with the rest.
    const { appendAllBy } = await loaded(import("./append-all.ts"));
    const { signal } = options;
    const append = (record: RecordInput<V>): Promise<ClientAck> => this.#append(record, { signal });
    const producer = this.#used ? { producer: async () => (await this.#typing()).producer() } : this.sender;
    return appendAllBy({ records, append, producer, options }, this.#host);
  }

  #checkOpen(): void {
    this.#host.closing.throwIfAborted();
  }

  /**
   * A token that may only append is not told where the log ends, nor whether there is one: offset 0 is the only end
   * that is known then, and the first append shows the rest.
   */
  async #begin(over: AbortSignal, isMissing: boolean, ifEnd: number | undefined): Promise<number> {
    const answer = await this.#asked({ method: "HEAD", signal: over }, 404, 403);
    if (answer.status === 403 && !isMissing) return 0;
    if (answer.status < 300) return offsetOf(answer, NEXT);
    if (ifEnd || this.#options.create === false) throw missing(this.name, ifEnd);
    return offsetOf(await this.#create(over), NEXT);
  }

  #creation(): Omit<EdgeAsk, "path"> {
    const { serializer = "json", retention, compaction } = this.#options;
    const type = typeof serializer === "string" ? TYPES[serializer] : TYPES.bytes;
    return { method: "PUT", headers: { "content-type": type, ...settingsHeaders(retention, compaction) } };
  }

  /** An answer of 409 means that the topic exists with another type or other settings. */
  #create(signal?: AbortSignal): Promise<EdgeReply> {
    return this.#asked({ ...this.#creation(), signal }, 409);
  }

  async #post(
    batch: Uint8Array<ArrayBuffer>,
    { ifEnd, since }: { readonly ifEnd: number | undefined; readonly since: number | undefined },
    over: AbortSignal,
  ): Promise<Posted> {
    // A batch that was sent before must name `since`. A frame of the socket has no place for it, so it goes by a
    // request.
    const told = since === undefined ? await this.#host.live.socket?.append(this.name, batch, ifEnd, over) : undefined;
    if (told) return told;
    const headers = {
      "content-type": BATCHES_TYPE,
      "tidemark-sequences": "from-zero",
      ...(ifEnd !== undefined && { "stream-expected-offset": formatOffset(ifEnd) }),
      ...(since !== undefined && { "tidemark-resent-since": formatOffset(since) }),
    };
    const answer = await this.#asked({ method: "POST", headers, body: batch, signal: over });
    try {
      const { appended } = JSON.parse(textDecoder.decode(answer.bytes)) as { appended: readonly Posted[] };
      if (Number.isSafeInteger(appended[0]!.baseOffset)) return appended[0]!;
    } catch {
      // The body is not the edge's: a proxy has answered in its place.
    }
    throw notOfTheEdge(answer);
  }

  // --- read --------------------------------------------------------------------------------------------------------

  /** Where the log begins and ends. */
  async #range(tries: Tries): Promise<readonly [start: number, end: number]> {
    const answer = await this.#tried(tries, { method: "HEAD" }, 404);
    return answer.status === 404 ? [0, 0] : [offsetOf(answer, START), offsetOf(answer, NEXT)];
  }

  /** The offset that a position means now. */
  async #resolve(position: StartPosition, tries: Tries): Promise<number> {
    if (typeof position === "number") return position;
    if (typeof position === "object" && "timestamp" in position) {
      const query = `?timestamp=${Math.ceil(position.timestamp)}`;
      const answer = await this.#tried(tries, { method: "GET", query, headers: { accept: BATCHES_TYPE } }, 404);
      return offsetOf(answer, "tidemark-from-offset");
    }
    const [start, end] = await this.#range(tries);
    if (position === "earliest") return start;
    return position === "latest" ? end : Math.max(start, end - position.last);
  }

  /**
   * A read whose code is loaded by the first one. `begin` is called at once, so that positions are those of this call;
   * what it throws is reported by the first next().
   */
  #reading<T>(by: Endable, begin: (over: AbortSignal) => Promise<AsyncGenerator<T, void>>): BatchReading<T> {
    const ended = new AbortController();
    const { controller, free } = anyOf(ended.signal, this.#host.closing);
    const begun = begin(controller.signal);
    begun.catch(() => undefined);
    // A read that is left before its first next() never runs.
    ended.signal.addEventListener("abort", free);
    async function* run(): AsyncGenerator<T, void> {
      yield* await unlessAborted(begun, controller.signal);
    }
    return new BatchReading(run(), ended, by);
  }

  readBatches(options: ClientReadOptions = {}): BatchReading<AnyBatch<V>> {
    let by: ClientReadOptions = {};
    try {
      checkOptions("read()", options, READ_OPTIONS);
      this.#checkOpen();
      by = options;
    } catch (thrown) {
      return this.#reading(by, () => Promise.reject(thrown as Error));
    }
    const { from = "earliest", to, follow = false } = by;
    return this.#reading(by, async (over) => {
      const tries = { signal: over, ms: follow ? Infinity : undefined };
      const end = to ?? (follow ? Infinity : this.#resolve("latest", tries));
      const found = [this.#resolve(from, tries), end, loaded(import("./read-topic.ts"))] as const;
      const [first, last, { edgeBatches }] = await Promise.all(found);
      return edgeBatches(this.#pages, { from, first, last, follow, over, isWithin: to === undefined });
    });
  }

  read(options?: ClientReadOptions): AsyncIterableIterator<PlainRecord<V>> {
    return new RecordReading(this.readBatches(options));
  }

  changes(options: ClientChangesOptions = {}): AsyncIterableIterator<TopicChange<PlainRecord<V>>> {
    checkOptions("changes()", options, CHANGES);
    const { from = "earliest", signal } = options;
    return this.#reading({ follow: true, signal }, async (over) => flat(await this.#changes(from, over)));
  }

  /** Changes from `from` on. Each list holds the changes of one answer. */
  async #changes(from: StartPosition, over: AbortSignal) {
    const begin = this.#resolve(from, { signal: over, ms: Infinity });
    const parts = [begin, loaded(import("./read-topic.ts")), loaded(import("./views.ts"))] as const;
    const [first, { stepsOf }, { edgeChanges }] = await Promise.all(parts);
    return edgeChanges(this.#pages, stepsOf, from, first, over);
  }

  view<S>(options: ClientViewOptions<S, V>): View<S> {
    const changes = (over: AbortSignal) => this.#changes("earliest", over);
    return shownView(options, (view) =>
      loaded(import("./views.ts")).then((views) => views.runEdgeView(view, options, changes, this.#host.closing)),
    );
  }

  async *export(options?: { readonly leaderEpoch?: number | undefined }): AsyncGenerator<KafkaFiles> {
    this.#checkOpen();
    const { closing: signal } = this.#host;
    const range = this.#range({ signal });
    range.catch(() => undefined);
    const parts = [loaded(import("./read-topic.ts")), loaded(import("./export-topic.ts"))] as const;
    const [{ EdgePages }, { exportPages }] = await Promise.all(parts);
    yield* exportPages(range, new EdgePages(this.#pages), options, signal);
  }

  // --- admin -------------------------------------------------------------------------------------------------------

  async state(options: CallOptions = {}): Promise<ClientTopicState | undefined> {
    const answer = await this.#call(options, { method: "HEAD" }, 404);
    if (answer.status === 404) return undefined;
    const { headers } = answer;
    const logEndOffset = offsetOf(answer, NEXT);
    const ttl = headers.get("stream-ttl");
    return {
      name: this.name,
      logStartOffset: offsetOf(answer, START),
      highWatermark: logEndOffset,
      logEndOffset,
      closed: isClosed(answer),
      contentType: headers.get("content-type") ?? "",
      retention: retentionIn(headers),
      compaction: compactionIn(headers),
      ttlSeconds: ttl === null ? undefined : Number(ttl),
      expiresAt: headers.get("stream-expires-at") ?? undefined,
    };
  }

  async create(options: CallOptions = {}): Promise<boolean> {
    const answer = await this.#call(options, this.#creation());
    offsetOf(answer, NEXT);
    return answer.status === 201;
  }

  async importSegments(...given: GivenUpload): Promise<ImportResult> {
    // Few pages import: what it takes is not downloaded with the rest.
    const part = await loaded(import("../topic/segment-upload.ts"));
    return part.uploadBy(given, this.#host, (ask) => (ask ? this.#asked(ask) : this.#create()), this.#options);
  }

  async end(options: CallOptions = {}): Promise<void> {
    const answer = await this.#call(options, { method: "POST", headers: { [CLOSED]: "true" } });
    // A redirect that has made a GET of the request has closed nothing.
    if (!isClosed(answer)) throw notOfTheEdge(answer);
  }

  async trim(offset: number, options: CallOptions = {}): Promise<void> {
    READ_OPTIONS.to("offset", offset);
    const headers = { "tidemark-trim-before": formatOffset(offset) };
    offsetOf(await this.#call(options, { method: "POST", headers }), START);
  }

  async delete(options: CallOptions = {}): Promise<boolean> {
    const answer = await this.#call(options, { method: "DELETE" }, 404, 410);
    if (answer.status === 200) throw notOfTheEdge(answer);
    return answer.status < 300;
  }
}

/** A condition that an append has is not met by a topic without records, which so is not made. */
const missing = (topic: string, ifEnd?: number): TidemarkError =>
  new TidemarkError(
    ifEnd ? "OFFSET_CONFLICT" : "UNKNOWN_TOPIC",
    `there is no topic ${topic} at this edge; create() makes it`,
    ifEnd ? { topic, logEndOffset: 0, ifEnd } : { topic },
  );
