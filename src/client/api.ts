/**
 * The public API of `tidemark/client`: topics of an edge, from a page, a service worker, Node, Deno or a Worker.
 *
 *     const edge = connect("https://logs.example.com", { token });
 *     const orders = edge.topic<Order>("orders");
 *     const { offset } = await orders.append({ key: "o-17", value: { total: 42 } });
 *     for await (const record of orders.read({ from: "earliest", follow: true })) { … }
 *
 * Nothing is stored on this side. An append counts once the edge has it; until then it is sent again across drops, and
 * is in the log once. `tidemark/browser` with sync is for apps that also work offline.
 */
// For Symbol.asyncDispose, which a consumer's own libraries may lack.
/// <reference lib="esnext.disposable" preserve="true" />
import type { TidemarkError } from "../errors.ts";
import type { PlainRecord } from "../delivery/read-record.ts";
import type { ReaderOptions } from "../delivery/reader.ts";
import type { CompactionSettings, RetentionSettings, StartPosition } from "../log/types.ts";
import type { TopicChange } from "../sync/change-reader.ts";
import type { TokenReason } from "../sync/sync-host.ts";
import type { RecordInput } from "../topic/input.ts";
import type { SerializerChoice } from "../topic/serializer.ts";
import type { FoldOptions, View } from "../topic/shown-view.ts";
import type { ImportDamage, ImportResult } from "../store/segment-files.ts";
import type { KafkaFiles } from "../store/kafka-files.ts";
import type { ImportedFile } from "../topic/imported-files.ts";
import type { SegmentUpload } from "../topic/segment-upload.ts";
import type { EventCalls, EventInput, EventMap, EventRecord, EventTypes } from "../typed/events.ts";
import type { Middleware } from "../typed/middleware.ts";
import type { InferInput, InferOutput, StandardSchema } from "../typed/standard-schema.ts";
import type { TypedOptions } from "../typed/typing.ts";

export type { FoldOptions, ImportDamage, ImportedFile, ImportResult, KafkaFiles, SegmentUpload, View };

export interface ConnectOptions {
  /**
   * The bearer token (a JWT), or a function that gives one. The function is called before the first request
   * ("connect"), after a 401 ("refused"), and when a socket's token has ended ("expired"); undefined means no token, as
   * for an edge with open access. It has failed if it does not answer within ten seconds, and is asked again.
   */
  readonly token?: string | ((reason: TokenReason) => string | undefined | Promise<string | undefined>) | undefined;
  /**
   * "auto" (default): a read that follows opens a WebSocket, and appends use it as long as it is open; requests and
   * long-polls do the same where none opens. "http": no WebSocket is tried.
   */
  readonly transport?: "auto" | "http" | undefined;
  /** Default: the platform's. Without one (Node 20), everything goes over HTTP. The class of the package ws fits. */
  readonly WebSocket?: WebSocketClass | undefined;
  /** Default: the platform's. */
  readonly fetch?: ((url: string, init: RequestInit) => Promise<Response>) | undefined;
  /**
   * How long a call tries: an append until it is acked, a read without progress, state(), create(), delete(). Only a
   * read that follows goes on trying. Default 30,000 milliseconds.
   */
  readonly timeoutMs?: number | undefined;
  /**
   * Bytes of each topic's appends that may be without an ack. Beyond it appendAll() waits; beyond twice this an append
   * is BACKPRESSURE. Default 8 MiB.
   */
  readonly inFlightBytesMax?: number | undefined;
  /** Called before each new try, with what went wrong and the pause until the try. For "connecting …" in a UI. */
  readonly onRetry?: ((error: TidemarkError, pauseMs: number) => void) | undefined;
  /** If it is aborted, everything ends at once, without waiting for acks. close() waits. */
  readonly signal?: AbortSignal | undefined;
}

/** A class that opens WebSockets as the platform's does. */
export type WebSocketClass = new (url: string, protocols: string[]) => WebSocketLike;
export interface WebSocketLike {
  binaryType: string;
  send(data: Uint8Array<ArrayBuffer> | string): void;
  close(code?: number, reason?: string): void;
  addEventListener(type: "open" | "error", listener: () => void): void;
  addEventListener(type: "message", listener: (event: { data: unknown }) => void): void;
  addEventListener(type: "close", listener: (event: { code: number; reason: string }) => void): void;
}

export interface ClientTopicOptions<V = unknown> {
  /**
   * "json" (default), "text", "bytes", or your own. A topic that an append makes has the content type that fits:
   * application/json, text/plain or application/octet-stream.
   */
  readonly serializer?: SerializerChoice<V> | undefined;
  /** Default true: the first append makes a topic that does not exist. false: it is UNKNOWN_TOPIC then. */
  readonly create?: boolean | undefined;
  /** Retention of a topic that is made by this handle. A topic that exists keeps its own. */
  readonly retention?: RetentionSettings | undefined;
  readonly compaction?: CompactionSettings | boolean | undefined;
  /** Around appends and reads, the outermost first; `topic.use()` adds more. docs/typed.md */
  readonly use?: readonly Middleware[] | undefined;
}

/** A topic whose values fit a schema: docs/typed.md. A wrong option of it is reported by each append and read. */
export interface TypedClientTopicOptions<S extends StandardSchema | EventTypes>
  extends ClientTopicOptions<unknown>, TypedOptions<S, PlainRecord<unknown>> {}

/** If the signal is aborted, the call rejects with its reason. What was sent may have been done all the same. */
export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
}

export interface ClientAppendOptions extends CallOptions {
  /**
   * Append only if the log's end is still this offset, else OFFSET_CONFLICT. A topic that does not exist yet ends at 0,
   * and no refused append makes it.
   */
  readonly ifEnd?: number | undefined;
}

export interface ClientAck {
  readonly offset: number;
  readonly timestamp: number;
  /** The edge answers once a record is durable there. */
  readonly acks: "flushed";
  /** True if the edge had the record already, from an earlier try. */
  readonly duplicate: boolean;
  /** The record's name: `record.id` of whoever reads it. */
  readonly id: string;
  /** Resolves at once: an ack of the edge is a commit. Here so that code for a browser's topic runs unchanged. */
  readonly committed: Promise<{ readonly offset: number }>;
}

/** The ack of records that are appended whole or not at all; `offset` and `id` are the last one's. */
export interface ClientBatchAck extends ClientAck {
  /** Offset of the first record. */
  readonly baseOffset: number;
}

export interface ClientAppendAllOptions extends CallOptions {
  readonly onProgress?: ((progress: { readonly appended: number; readonly acked: number }) => void) | undefined;
}

export interface AppendedAll {
  readonly appended: number;
  readonly firstOffset: number | undefined;
  readonly lastOffset: number | undefined;
}

export interface ClientTopicState {
  readonly name: string;
  readonly logStartOffset: number;
  /** Exclusive. At the edge all records are committed, so it is also the log's end. */
  readonly highWatermark: number;
  readonly logEndOffset: number;
  /** True if nothing can be appended any more. */
  readonly closed: boolean;
  readonly contentType: string;
  readonly retention: RetentionSettings | undefined;
  readonly compaction: CompactionSettings | undefined;
  /** The topic ends by itself this many seconds after its last use. Undefined: it does not. */
  readonly ttlSeconds: number | undefined;
  /** The topic ends by itself at this time (RFC 3339). Undefined: it does not. */
  readonly expiresAt: string | undefined;
}

/** All records of one stored batch: iterate synchronously. Fields are decoded each time they are read. */
export interface ClientTopicBatch<V = unknown, R = PlainRecord<V>> extends Iterable<R> {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly count: number;
}

/** What a topic tells of its records, in the order of offsets. At the edge all are committed; `copy` is null. */
export type ClientChange<V = unknown, R = PlainRecord<V>> = TopicChange<R>;

export interface ClientChangesOptions {
  /**
   * Default "earliest". "latest" is the log's end as of the first next(). An offset that is not in the log is
   * OFFSET_OUT_OF_RANGE.
   */
  readonly from?: StartPosition | undefined;
  /** `abort()` ends the changes as if there were no more. Another reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

export interface ClientViewOptions<S, V = unknown, R = PlainRecord<V>> extends FoldOptions<S, R> {
  /** Nothing is stored on this side, so that there are no snapshots and no versions of them. */
  readonly snapshot?: false | undefined;
  readonly version?: number | undefined;
}

/** `I` is what may be appended and `R` a record as read; they differ in a topic with a schema. */
export interface ClientTopic<V = unknown, I = RecordInput<V>, R = PlainRecord<V>> {
  readonly name: string;
  /**
   * Resolves when the record is durable at the edge. Calls that are not awaited share batches and keep their order.
   * Rejects with what the edge refused (then nothing was appended), BACKPRESSURE, TIMEOUT (not sent), or
   * OUTCOME_UNKNOWN: it was sent, and no answer came in time.
   */
  append(record: I, options?: ClientAppendOptions): Promise<ClientAck>;
  /** Appends all records or none, with one ack. They must fit one batch of 1,048,588 bytes. */
  appendBatch(records: readonly I[], options?: ClientAppendOptions): Promise<ClientBatchAck>;
  /**
   * Appends a whole (async) iterable with back-pressure; resolves when all is acked. Ends with the first append that
   * fails; those before it are in the log.
   */
  appendAll(records: Iterable<I> | AsyncIterable<I>, options?: ClientAppendAllOptions): Promise<AppendedAll>;
  /**
   * As in the browser. A read that follows goes on across drops, at the offset behind the last record that it gave, and
   * ends when the topic is closed. A topic that does not exist is empty; a read that follows waits for it.
   */
  read(options?: ClientReadOptions): AsyncIterableIterator<R>;
  readBatches(options?: ClientReadOptions): AsyncIterableIterator<ClientTopicBatch<V, R>>;
  /**
   * Records as they come; it ends only with the topic. After each `level` the reader has seen all that there was. What
   * retention removed before it was read is a `gap`; a `reset` means that another topic has the name now. It is told
   * only where that one ends before the reader's offset: another that has as many records is not noticed.
   */
  changes(options?: ClientChangesOptions): AsyncIterableIterator<ClientChange<V, R>>;
  /** Folds records into a state, and follows. It begins with the log's first record each time. */
  view<S>(options: ClientViewOptions<S, V, R>): View<S>;
  /** Adds middleware, inside of what is there: for what is appended and read from now on by this client. */
  use(middleware: Middleware): this;
  /** Undefined for a topic that does not exist, and below an address where there is no edge: create() tells that. */
  state(options?: CallOptions): Promise<ClientTopicState | undefined>;
  /** Makes the topic. False if it exists with these settings; INVALID_ARGUMENT if it has others. */
  create(options?: CallOptions): Promise<boolean>;
  /**
   * Takes Kafka's .log files, or what export() of a browser's or Node's topic gives, into a topic that is empty or new.
   * Records keep their offsets. The files go up piece by piece (4 MiB each), and become visible at once when all are
   * there; the same call again goes on where an earlier one ended, and takes nothing twice. Needs the right `admin`.
   * INVALID_ARGUMENT (reason "filled": the topic has had records; "fork"), INVALID_BATCH (damage: file, position, from,
   * to, reason), UNSUPPORTED_FORMAT (a codec but gzip, transactions, message format 0 or 1), BATCH_TOO_LARGE,
   * DECOMPRESSION_LIMIT, QUOTA_EXCEEDED: the topic is as it was.
   * OFFSET_CONFLICT (reason "replaced"): another import of this topic was begun meanwhile.
   */
  importSegments(files: Iterable<ImportedFile>, options?: SegmentUpload): Promise<ImportResult>;
  /**
   * The whole topic as of the first next(), as Kafka's files of some 8 MiB each, one in memory at a time: what
   * importSegments() takes. Each batch gets `leaderEpoch`, default 0. CORRUPT_RANGE, and UNKNOWN_TOPIC if the topic is
   * deleted meanwhile; a topic that does not exist gives none.
   */
  export(options?: { readonly leaderEpoch?: number | undefined }): AsyncIterableIterator<KafkaFiles>;
  /** Closes the topic for good: nothing can be appended any more, and readers end behind the last record. */
  end(options?: CallOptions): Promise<void>;
  /**
   * Removes all records before `offset`, for good; readers before it get OFFSET_OUT_OF_RANGE. What is gone already is
   * no error. Needs the right `admin`. OFFSET_OUT_OF_RANGE: beyond the end. INVALID_ARGUMENT, `details.edge` CONFLICT:
   * forks read from the topic. UNKNOWN_TOPIC.
   */
  trim(offset: number, options?: CallOptions): Promise<void>;
  /** Removes the topic with its records. False if there was none. Needs the right `admin`. */
  delete(options?: CallOptions): Promise<boolean>;
}

/** A topic of `events({ … })`: `emit` appends an event, and a record that is read has its `type`. */
export type ClientEventTopic<M extends EventMap> = ClientTopic<
  unknown,
  EventInput<M>,
  EventRecord<M, PlainRecord<unknown>>
> &
  EventCalls<M, ClientAppendOptions, ClientAck>;

/** Without `isolation` and `maxBytes` of other hosts: all is committed, and the edge pages by itself. */
export type ClientReadOptions = Pick<ReaderOptions, "from" | "to" | "follow" | "signal">;

export interface EdgeClient {
  /** The edge's address, without a slash at its end. */
  readonly url: string;
  /**
   * Returns the same object for the same name. INVALID_ARGUMENT if this client has the topic with another serializer,
   * schema or `use`. With a schema, append takes what the schema takes, and reads give what it gives.
   */
  topic<M extends EventMap>(name: string, options: TypedClientTopicOptions<EventTypes<M>>): ClientEventTopic<M>;
  topic<S extends StandardSchema>(
    name: string,
    options: TypedClientTopicOptions<S>,
  ): ClientTopic<InferOutput<S>, RecordInput<InferInput<S>>>;
  topic<V = unknown>(name: string, options?: ClientTopicOptions<V>): ClientTopic<V>;
  /**
   * Waits for unanswered appends, each at most `timeoutMs`. Reads end with CLOSED. Further calls return the same
   * promise, which never rejects.
   */
  close(): Promise<void>;
  /** close(), for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
