/** A topic of an edge: what a caller passes is checked here, and becomes batches and requests. */
import { TidemarkError } from "../errors.ts";
import type { ProducerRecord } from "../delivery/producer.ts";
import { type PlainRecord, ReadBatch } from "../delivery/read-record.ts";
import { type BatchReading, RecordReading } from "../delivery/reading.ts";
import type { CompactionSettings, RetentionSettings, StartPosition } from "../log/types.ts";
import { textDecoder } from "../record/bytes.ts";
import { recordId } from "../record/record-id.ts";
import { BATCHES_TYPE, formatOffset, offsetInHeader } from "../sync/http-words.ts";
import { callback, checkOptions, flag, integer, signal } from "../topic/check.ts";
import { type RecordInput, recordOf, recordsOf } from "../topic/input.ts";
import { CHANGES_OPTIONS, producerIdOf } from "../topic/options.ts";
import type { GivenUpload } from "../topic/segment-upload.ts";
import { type Serializer, serializerOf } from "../topic/serializer.ts";
import type {
  AppendedAll,
  CallOptions,
  ClientAck,
  ClientAppendAllOptions,
  ClientAppendOptions,
  ClientBatchAck,
  ClientReadOptions,
  ClientTopic,
  ClientTopicOptions,
  ClientTopicState,
  ImportResult,
} from "./api.ts";
import type { SocketWay } from "./live.ts";
import { type Page, type PageSource, readPages } from "./read-topic.ts";
import { type EdgeReply, type EdgeAsk, POLL_SILENT_MS, errorIn, type EdgeRequests } from "./requests.ts";
import { type Placed, type Posted, Sender } from "./sender.ts";

const TYPES = { json: "application/json", text: "text/plain", bytes: "application/octet-stream" } as const;
const NOTHING = new Uint8Array(0);
const NEXT = "stream-next-offset";
const START = "tidemark-start-offset";
const CLOSED = "stream-closed";
const RETENTION = "tidemark-retention-";
const COMPACTION = "tidemark-compaction";

const offset = integer(0);
const CALL = { signal };
const APPEND = { ifEnd: offset, signal };
const READ_OPTIONS = { ...CHANGES_OPTIONS, to: offset, follow: flag };
const APPEND_ALL = { signal, onProgress: callback };

export interface RemoteHost {
  readonly requests: EdgeRequests;
  readonly live: SocketWay;
  readonly inFlightBytesMax: number;
  /** Aborted once the client closes: reads end. */
  readonly closing: AbortSignal;
}

/** A copy, so that the caller may reuse its bytes as soon as append() has returned. */
const copyOf = <T extends Uint8Array | null>(bytes: T): T => (bytes && bytes.slice()) as T;
const kept = ({ key, value, headers, timestamp }: ProducerRecord): ProducerRecord => ({
  key: copyOf(key),
  value: copyOf(value),
  timestamp,
  ...(headers && { headers: headers.map(([name, bytes]) => [name, copyOf(bytes)] as const) }),
});

const idAt = ({ owner, at }: Placed, i: number): string => recordId(owner, at + i);
const isClosed = ({ headers }: EdgeReply): boolean => headers.get(CLOSED) === "true";
/** CLOSED: a success has no such header, so something between has answered in the edge's stead. */
function offsetOf(answer: EdgeReply, name: string): number {
  const text = answer.headers.get(name);
  if (text === null && answer.status < 300) throw notOfTheEdge(answer);
  return offsetInHeader(text);
}

export class RemoteTopic<V> implements ClientTopic<V> {
  readonly name: string;
  readonly sender: Sender;
  readonly #host: RemoteHost;
  readonly #options: ClientTopicOptions<V>;
  readonly #serializer: Serializer<V>;

  constructor(host: RemoteHost, name: string, options: ClientTopicOptions<V>) {
    this.name = name;
    this.#host = host;
    this.#options = options;
    this.#serializer = serializerOf<V>(options.serializer);
    const { requests, inFlightBytesMax } = host;
    this.sender = new Sender({
      timeoutMs: requests.timeoutMs,
      inFlightBytesMax,
      begin: (over, isMissing) => this.#begin(over, isMissing),
      post: (batch, asked, over) => this.#post(batch, asked, over),
      pause: (error, failures, over) => requests.pause(error, failures, over),
      newId: () => producerIdOf(crypto.getRandomValues(new BigUint64Array(1))),
    });
  }

  // --- requests ----------------------------------------------------------------------------------------------------

  #ask(ask: Omit<EdgeAsk, "path">): Promise<EdgeReply> {
    return this.#host.requests.ask({ ...ask, path: this.name });
  }

  /**
   * The answer if it is a success or the edge's with one of these statuses, else the error that it says. A 404 of a
   * proxy, or of another site, says nothing about a topic.
   */
  async #asked(ask: Omit<EdgeAsk, "path">, ...allowed: readonly number[]): Promise<EdgeReply> {
    const answer = await this.#ask(ask);
    if (answer.status < 300) return answer;
    const error = errorIn(answer);
    if (!allowed.includes(answer.status) || error.details["edge"] === undefined) throw error;
    return answer;
  }

  /** The same, as a call of its own: tried again until its time is over. */
  async #call(options: CallOptions, ask: Omit<EdgeAsk, "path">, ...allowed: readonly number[]): Promise<EdgeReply> {
    checkOptions("a call", options, CALL);
    const { signal } = options;
    return this.#host.requests.again((over) => this.#asked({ ...ask, signal: over }, ...allowed), { signal });
  }

  // --- append ------------------------------------------------------------------------------------------------------

  async append(record: RecordInput<V>, options: ClientAppendOptions = {}): Promise<ClientAck> {
    checkOptions("append()", options, APPEND);
    this.#checkOpen();
    const encoded = kept(recordOf(record, this.#serializer, Date.now));
    return this.#ack(await this.sender.add([encoded], options), encoded.timestamp, 0);
  }

  async appendBatch(records: readonly RecordInput<V>[], options: ClientAppendOptions = {}): Promise<ClientBatchAck> {
    checkOptions("appendBatch()", options, APPEND);
    this.#checkOpen();
    const encoded = recordsOf(records, this.#serializer, Date.now).map(kept);
    const last = encoded.at(-1);
    if (!last) throw new TidemarkError("INVALID_ARGUMENT", "a batch has at least one record", { field: "records" });
    const placed = await this.sender.add(encoded, options);
    const ack = this.#ack(placed, last.timestamp, encoded.length - 1);
    return { ...ack, baseOffset: ack.offset - encoded.length + 1 };
  }

  #ack(placed: Placed, timestamp: number, i: number): ClientAck {
    const offset = placed.baseOffset + placed.at + i;
    const committed = Promise.resolve({ offset });
    return { offset, timestamp, acks: "flushed", duplicate: placed.duplicate, id: idAt(placed, i), committed };
  }

  async appendAll(
    records: Iterable<RecordInput<V>> | AsyncIterable<RecordInput<V>>,
    options: ClientAppendAllOptions = {},
  ): Promise<AppendedAll> {
    checkOptions("appendAll()", options, APPEND_ALL);
    this.#checkOpen();
    // Like an import, it is not downloaded with the rest.
    const { appendSource } = await loaded(import("../topic/append-all.ts"));
    const { closing, inFlightBytesMax } = this.#host;
    return appendSource({
      records,
      append: (record) => this.append(record, { signal: options.signal }),
      producer: this.sender,
      inFlightBytesMax,
      tide: {
        ended: closing.aborted ? (closing.reason as TidemarkError) : undefined,
        on(_, heard) {
          const close = (): void => heard({ reason: (closing.reason as Error).message });
          closing.addEventListener("abort", close);
          return () => closing.removeEventListener("abort", close);
        },
      },
      options,
      tellsAcks: true,
      laterTurn: () => new Promise((resolve) => setTimeout(resolve)),
    });
  }

  #checkOpen(): void {
    if (this.#host.closing.aborted) throw this.#host.closing.reason as Error;
  }

  /**
   * A token that may only append is not told where the log ends, nor whether there is one: offset 0 is the only end
   * that is known then, and the first append shows the rest.
   */
  async #begin(over: AbortSignal, isMissing: boolean): Promise<number> {
    const answer = await this.#asked({ method: "HEAD", signal: over }, 404, 403);
    if (answer.status === 403 && !isMissing) return 0;
    if (answer.status < 300) return offsetOf(answer, NEXT);
    if (this.#options.create === false) throw missing(this.name);
    return offsetOf(await this.#create(over), NEXT);
  }

  #creation(): Omit<EdgeAsk, "path"> {
    const { serializer = "json", retention, compaction } = this.#options;
    const type = typeof serializer === "string" ? TYPES[serializer] : TYPES.bytes;
    const headers = { "content-type": type, ...retentionHeaders(retention), ...compactionHeaders(compaction) };
    return { method: "PUT", headers };
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
    // What was sent before needs to say since when, which only a request can.
    const told = since === undefined ? await this.#host.live.append(this.name, batch, ifEnd, over) : undefined;
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
      // Something between has answered in the edge's stead.
    }
    throw notOfTheEdge(answer);
  }

  // --- read --------------------------------------------------------------------------------------------------------

  readonly #pages: PageSource = {
    resolve: (position, over) => this.#resolve(position, over),
    page: (from, over) => this.#page(`?offset=${formatOffset(from)}`, from, over),
    live: (from, over) => this.#live(from, over),
  };

  async #page(query: string, from: number, over: AbortSignal, silentMs?: number): Promise<Page> {
    const headers = { accept: BATCHES_TYPE };
    const ask = { method: "GET", query, headers, ...(silentMs !== undefined && { silentMs }) };
    const answer = await this.#host.requests.again((signal) => this.#asked({ ...ask, signal }, 404), {
      signal: over,
      ms: silentMs === undefined ? this.#host.requests.timeoutMs : Infinity,
    });
    if (answer.status === 404)
      return { bytes: NOTHING, nextOffset: from, isLevel: true, ended: false, isMissing: true };
    const nextOffset = offsetOf(answer, NEXT);
    const isLevel = answer.headers.get("stream-up-to-date") === "true";
    return { bytes: answer.bytes, nextOffset, isLevel, ended: isLevel && isClosed(answer) };
  }

  /** Over the socket, or by long-polls while there is none. */
  async *#live(from: number, over: AbortSignal): AsyncGenerator<Page> {
    for (let at = from; ;) {
      const follow = this.#host.live.follow(this.name, at, over);
      // How it ended shows with the next page.
      if (follow) return yield* follow;
      const page = await this.#page(`?offset=${formatOffset(at)}&live=long-poll`, at, over, POLL_SILENT_MS);
      if (page.nextOffset > at || page.ended || page.isMissing) yield page;
      if (page.isMissing) return;
      at = page.nextOffset;
    }
  }

  async #resolve(position: StartPosition, over: AbortSignal): Promise<number> {
    if (typeof position === "number") return position;
    if (typeof position === "object" && "timestamp" in position) {
      const query = `?timestamp=${Math.ceil(position.timestamp)}`;
      const answer = await this.#call(
        { signal: over },
        { method: "GET", query, headers: { accept: BATCHES_TYPE } },
        404,
      );
      return offsetOf(answer, "tidemark-from-offset");
    }
    const { logStartOffset = 0, logEndOffset = 0 } = (await this.state({ signal: over })) ?? {};
    if (position === "earliest") return logStartOffset;
    return position === "latest" ? logEndOffset : Math.max(logStartOffset, logEndOffset - position.last);
  }

  readBatches(options: ClientReadOptions = {}): BatchReading<ReadBatch<V>> {
    let [source, asked] = [this.#pages, options];
    try {
      checkOptions("read()", options, READ_OPTIONS);
      this.#checkOpen();
    } catch (thrown) {
      // Reported by the first next(), like every other error of a read.
      source = { ...source, resolve: () => Promise.reject(thrown as Error) };
      asked = {};
    }
    return readPages(source, this.#serializer, asked, this.#host.closing);
  }

  read(options?: ClientReadOptions): AsyncIterableIterator<PlainRecord<V>> {
    return new RecordReading(this.readBatches(options));
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
    return (await this.#call(options, this.#creation())).status === 201;
  }

  async importSegments(...given: GivenUpload): Promise<ImportResult> {
    // Few pages import: what it takes is not downloaded with the rest.
    const part = await loaded(import("../topic/segment-upload.ts"));
    return part.uploadBy(given, this.#host, (ask) => (ask ? this.#asked(ask) : this.#create()), this.#options);
  }

  async end(options: CallOptions = {}): Promise<void> {
    await this.#call(options, { method: "POST", headers: { [CLOSED]: "true" } });
  }

  async trim(offset: number, options: CallOptions = {}): Promise<void> {
    READ_OPTIONS.to("offset", offset);
    await this.#call(options, { method: "POST", headers: { "tidemark-trim-before": formatOffset(offset) } });
  }

  async delete(options: CallOptions = {}): Promise<boolean> {
    return (await this.#call(options, { method: "DELETE" }, 404, 410)).status < 300;
  }
}

const loaded = <T>(part: Promise<T>): Promise<T> =>
  part.catch((cause: unknown) => {
    const text = "a file of tidemark/client can't be loaded: no network, or a service worker, which loads none";
    throw new TidemarkError("LOAD_FAILED", text, {}, { cause });
  });

const missing = (name: string): TidemarkError =>
  new TidemarkError("UNKNOWN_TOPIC", `there is no topic ${name} at this edge; create() makes it`, { topic: name });

const notOfTheEdge = ({ status }: EdgeReply): TidemarkError =>
  new TidemarkError("CLOSED", `status ${status}, and not from an edge: check the address`, {
    reason: "network",
    status,
  });

// --- settings as headers ---------------------------------------------------------------------------------------------

const BOUNDS = [
  ["bytes", "maxBytes", 1],
  ["records", "maxRecords", 1],
  ["seconds", "maxAgeMs", 1000],
] as const;
const TIMES = [
  ["-lag-seconds", "minLagMs"],
  ["-tombstone-seconds", "tombstoneRetentionMs"],
] as const;

function retentionHeaders(retention: RetentionSettings = {}): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, field, unit] of BOUNDS) {
    const value = retention[field];
    if (value !== undefined) headers[RETENTION + name] = String(Math.ceil(value / unit));
  }
  return headers;
}

function retentionIn(headers: Headers): RetentionSettings | undefined {
  const found = BOUNDS.flatMap(([name, field, unit]) => {
    const text = headers.get(RETENTION + name);
    return text === null ? [] : [[field, Number(text) * unit]];
  });
  return found.length > 0 ? Object.fromEntries(found) : undefined;
}

function compactionHeaders(compaction: CompactionSettings | boolean | undefined): Record<string, string> {
  if (!compaction) return {};
  const headers: Record<string, string> = { [COMPACTION]: "key" };
  for (const [name, field] of TIMES) {
    const value = compaction === true ? undefined : compaction[field];
    if (value !== undefined) headers[COMPACTION + name] = String(Math.ceil(value / 1000));
  }
  return headers;
}

function compactionIn(headers: Headers): CompactionSettings | undefined {
  if (headers.get(COMPACTION) === null) return undefined;
  return Object.fromEntries(
    TIMES.flatMap(([name, field]) => {
      const text = headers.get(COMPACTION + name);
      return text === null ? [] : [[field, Number(text) * 1000]];
    }),
  );
}
