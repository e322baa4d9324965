/**
 * The public API of `tidemark/browser`.
 *
 *     const tide = await open("my-app");
 *     const orders = tide.topic("orders", { retention: { maxBytes: 512 * 1024 * 1024 } });
 *     const { offset } = await orders.append({ key: "o-17", value: { total: 42 }, headers: { trace: "…" } });
 *     for await (const record of orders.read({ from: "earliest" })) { … }
 */
// For Symbol.asyncDispose, which a consumer's own libraries may lack.
/// <reference lib="esnext.disposable" preserve="true" />
import type { TidemarkError } from "../errors.ts";
import type { Acks, CleanResult, CompactionSettings, RetentionSettings, StartPosition } from "../log/types.ts";
import type { TopicChange } from "../sync/change-reader.ts";
import type { RawHeaders, ShownRecord, TextHeaders } from "../delivery/read-record.ts";
import type { ProducerAck } from "../delivery/producer.ts";
import type { ReaderOptions as ReadOptions } from "../delivery/reader.ts";
import type { RecordInput } from "../topic/input.ts";
import type { SerializerChoice } from "../topic/serializer.ts";
import type { FoldOptions, View } from "../topic/shown-view.ts";
import type { ImportedFile } from "../topic/imported-files.ts";
import type { ImportDamage, ImportOptions, ImportResult } from "../store/import-segments.ts";
import type { KafkaFiles } from "../store/kafka-files.ts";
import type { GivenSettings, TopicSettings } from "../topic/settings.ts";
import type { LogRecovery, QuarantinedRange, SegmentInfo } from "../store/log-store.ts";
import type { Engine, VolumeInfo } from "../store/volume.ts";
import type { EventCalls, EventInput, EventMap, EventRecord, EventTypes } from "../typed/events.ts";
import type { Middleware } from "../typed/middleware.ts";
import type { InferInput, InferOutput, StandardSchema } from "../typed/standard-schema.ts";
import type { TypedOptions } from "../typed/typing.ts";
import type { Sync, SyncEvent, SyncOptions } from "./sync-api.ts";

export interface OpenOptions {
  /**
   * "auto" (default) tests OPFS, then IndexedDB. "memory" must be named; its data end with the tab that leads it. A
   * tide is in one engine: with another one open() is ENGINE_MISMATCH, in every tab.
   */
  readonly engine?: Engine | "auto" | undefined;
  /**
   * Bytes of a slot. It is fixed when a tide is made; an existing tide keeps its own (`storage.segmentBytes`). A power
   * of two, 64 KiB … 64 MiB. Default 8 MiB.
   */
  readonly segmentBytes?: number | undefined;
  /** Ask navigator.storage.persist(). Default false: the browser may show a prompt, so ask after a user's gesture. */
  readonly persist?: boolean | undefined;
  /** The folder of the package's files (`npx tidemark assets <folder>`), if the app's bundler does not copy them. */
  readonly assets?: string | URL | undefined;
  /** The kernel's URL or its bytes, if the bundler moved it. */
  readonly kernel?: string | URL | BufferSource | WebAssembly.Module | undefined;
  /** Makes the worker, if the bundler can't find it. */
  readonly worker?: (() => Worker) | undefined;
  /**
   * If it is aborted while the tide is being opened, open() rejects at once with the signal's reason and leaves nothing
   * open.
   */
  readonly signal?: AbortSignal | undefined;
  /** A leader that does not answer for this long is deposed. Default 2,500; 1,500 to a day. */
  readonly leaderTimeoutMs?: number | undefined;
  /** Keep topics in step with an edge: what `tide.sync()` takes, once the tide is open. */
  readonly sync?: SyncOptions | undefined;
}

/** What storage guarantees in this environment. */
export interface StorageReport {
  /** "files" in Node only. */
  readonly engine: VolumeInfo["engine"];
  /** What `flushed` means here: see VolumeInfo.durability. */
  readonly durability: "device" | "process" | "none";
  /** The size of this tide's slots, whatever open() asked for. */
  readonly segmentBytes: number;
  /** navigator.storage.persisted(): true means the browser will not evict this origin by itself. */
  readonly persisted: boolean | undefined;
  /** As navigator.storage.estimate() says; Chromium's quota figure is artificial. */
  readonly usageBytes: number | undefined;
  readonly quotaBytes: number | undefined;
  /** Engines that were probed and refused, with the reason. */
  readonly rejected: readonly { readonly engine: Engine; readonly reason: string }[];
}

/**
 * The first four are the topic's settings: they are stored with it and count for every tab. One that is left out stays
 * as it is. One that differs is changed for good, and every tab gets an event. All other options are this page's.
 */
export interface TopicOptions<V = unknown> extends GivenSettings {
  /** `{}`: no limits any more. */
  readonly retention?: RetentionSettings | undefined;
  /** Keep only the newest record of each key. `false`: no longer. */
  readonly compaction?: CompactionSettings | boolean | undefined;
  readonly segmentMaxAgeMs?: number | undefined;
  readonly recordBytesMax?: number | undefined;
  /**
   * "json" (default), "text", "bytes", or your own. JSON returns what JSON.parse makes (a Date comes back as a string);
   * V is not checked: give a `schema` for that.
   */
  readonly serializer?: SerializerChoice<V> | undefined;
  /** Compress batches. Default "none". */
  readonly codec?: "none" | "gzip" | undefined;
  /** Default for appends. Default "flushed". */
  readonly acks?: AppendAcks | undefined;
  /** A batch is sent when this many bytes wait, or at the next turn of the event loop. Default 256 KiB. */
  readonly batchBytes?: number | undefined;
  /**
   * Bytes without an ack for each topic in this page. Beyond this append() waits, beyond twice this it is BACKPRESSURE.
   * Default 16 MiB.
   */
  readonly inFlightBytesMax?: number | undefined;
  /** Around appends and reads, the outermost first; `topic.use()` adds more. docs/typed.md */
  readonly use?: readonly Middleware[] | undefined;
}

/** A topic whose values fit a schema: docs/typed.md. The schema's part of the package is loaded by such a topic. */
export interface TypedTopicOptions<S extends StandardSchema | EventTypes>
  extends TopicOptions<unknown>, TypedOptions<S, TopicRecord> {}

/** When an append counts; `replicated`: it is at the edge. In a topic that is not synced that is `flushed`. */
export type AppendAcks = Acks | "replicated";

export interface Ack extends Omit<ProducerAck, "acks"> {
  readonly acks: AppendAcks;
  /** The record's name: `record.id` before and after its commit. `statusOf(id)` asks for it after a reload. */
  readonly id: string;
  /**
   * Resolves with the edge's offset of the record; undefined where it is not known, because the record was at the edge
   * before this page asked. Rejects RETRACTED when the record was discarded, CLOSED when the tide has ended. Of a topic
   * that is not synced: with `offset`, at once. After a reload nothing waits any more. Never an unhandled rejection.
   */
  readonly committed: Promise<{ readonly offset: number | undefined }>;
}

/** The ack of a batch whose records succeed or fail together; `committed` and `id` are of the last one. */
export interface BatchAck extends Ack {
  /** Offset of the first record; `offset` is the last record's. */
  readonly baseOffset: number;
}

/**
 * A record as read. From `read()` it is plain: each field is an own property, so `{ ...record }` has them all. From
 * `readBatches()` fields are decoded each time they are read; `record.toJSON()` makes a plain object. Bytes are views
 * into the batch: copy what must outlive it.
 */
export interface TopicRecord<V = unknown> {
  /** From 2^52 on it is provisional, see isProvisional(). */
  readonly offset: number;
  /** Names the record, the same before and after its commit, and on every device. */
  readonly id: string;
  /** Written here, and without a place at the edge yet. */
  readonly provisional: boolean;
  readonly timestamp: number;
  readonly key: string | null;
  readonly keyBytes: Uint8Array | null;
  /** UNSUPPORTED_FORMAT if the serializer can't read it; other records are not affected. */
  readonly value: V | null;
  readonly valueBytes: Uint8Array | null;
  /** Header values as text, in an object without prototype. If a name is repeated, its last value counts. */
  readonly headers: TextHeaders;
  /** Every header in its order, with values as bytes. `append()` takes these unchanged. */
  readonly rawHeaders: RawHeaders;
  /** offset, timestamp, key, value and headers: what JSON.stringify shows. */
  toJSON(): ShownRecord<V>;
}

export type { ReadOptions };

/** All records of one stored batch: iterate synchronously, the fast way to replay. */
export interface TopicBatch<V = unknown, R = TopicRecord<V>> extends Iterable<R> {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly count: number;
}

export interface AppendOptions {
  readonly acks?: AppendAcks | undefined;
  /**
   * Append only if the log's end is still this offset, else OFFSET_CONFLICT. A topic that does not exist yet ends at 0,
   * and no refused append makes it.
   */
  readonly ifEnd?: number | undefined;
}

export interface AppendAllOptions {
  readonly acks?: Acks | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: { readonly appended: number; readonly acked: number }) => void) | undefined;
}

export interface SeekStep {
  readonly entry: number;
  readonly key: number;
  readonly position: number;
}

/** How a seek proceeded, for tools and the playground. */
export interface SeekExplanation {
  readonly offset: number;
  readonly segment: SegmentInfo;
  readonly index: "offset" | "time";
  readonly steps: readonly SeekStep[];
  /** Position inside the body where the scan began, bytes it walked, and the batch it found. */
  readonly scanFrom: number;
  readonly scannedBytes: number;
  readonly batchPosition: number;
  readonly batch: Uint8Array;
}

export interface TopicState {
  readonly name: string;
  /** The settings that are stored with the topic. Others have their defaults. */
  readonly settings: TopicSettings;
  readonly logStartOffset: number;
  readonly highWatermark: number;
  readonly logEndOffset: number;
  readonly leaderEpoch: number;
  readonly segments: readonly SegmentInfo[];
  readonly quarantined: readonly QuarantinedRange[];
  readonly recovery: LogRecovery;
}

/** Kafka's own files of one segment. */
export type SegmentExport = KafkaFiles;

export type { ImportedFile };
export type SegmentImport = ImportOptions;
export type SegmentsImported = ImportResult;
export type { ImportDamage };

/**
 * What a topic tells of its records: committed ones in the order of offsets, own ones without a place in the order in
 * which they were appended. In a topic that is not synced all are committed.
 */
export type Change<V = unknown, R = TopicRecord<V>> = TopicChange<R>;

export interface ChangesOptions {
  /**
   * Default "earliest". "latest" is the end of what is committed as of the first next(). Own records without a place
   * are told all the same.
   */
  readonly from?: StartPosition | undefined;
  /**
   * To continue at a stored offset: the `copy` of the change `level` beside which you stored it. If another log stands
   * here now, or the copy was made anew, `reset` comes first. An offset that was removed meanwhile is told as a `gap`.
   * Default null: copies are not compared, and an offset that is not in the log rejects.
   */
  readonly copy?: string | null | undefined;
  /** `abort()` ends the changes as if there were no more. Another reason is thrown. */
  readonly signal?: AbortSignal | undefined;
}

export interface ViewOptions<S, V = unknown, R = TopicRecord<V>> extends FoldOptions<S, R> {
  /** Raise it when `apply` or the state's shape changes: snapshots of other versions do not count. Default 1. */
  readonly version?: number | undefined;
  /** Keeps the committed state, so that the next opening resumes there. Default false: it folds from the start. */
  readonly snapshot?: false | SnapshotOptions<S> | undefined;
}

/** When snapshots of a view are written: by one tab, when that tab is idle. save() writes at once. */
export interface SnapshotOptions<S> {
  /** A snapshot is due after this many committed records. Default 10,000. */
  readonly everyRecords?: number | undefined;
  /** It is also due after this many ms with new records, or after a try that failed. Default 60,000. */
  readonly everyMs?: number | undefined;
  /** Default: JSON. */
  readonly serialize?: ((state: S) => Uint8Array | Promise<Uint8Array>) | undefined;
  readonly deserialize?: ((bytes: Uint8Array) => S | Promise<S>) | undefined;
}

export type { FoldOptions, View };

/**
 * What became of a record. "committed": it is at `offset`; without one the edge has it, and compaction took it before
 * it came here. "unknown": this device never had it, or has it no more.
 */
export interface RecordStatus {
  readonly state: "provisional" | "committed" | "retracted" | "unknown";
  readonly offset?: number | undefined;
}

/** `I` is what may be appended and `R` a record as read; they differ in a topic with a schema. */
export interface Topic<V = unknown, I = RecordInput<V>, R = TopicRecord<V>> {
  readonly name: string;
  // Only an append makes a topic: other calls see a topic that does not exist as empty. Once the topic was deleted all
  // calls of this object are UNKNOWN_TOPIC, and tide.topic() returns another one.
  /**
   * Calls that are not awaited share batches. For errors see TidemarkError; a record that failed was not appended,
   * except for OUTCOME_UNKNOWN.
   */
  append(record: I, options?: AppendOptions): Promise<Ack>;
  /**
   * Appends all records or none, with one ack, whose offset is the last record's (`baseOffset` is the first one's). The
   * records must fit one batch. Calls of one turn, and calls that wait because five batches are unanswered, share
   * batches of up to twice `batchBytes`.
   */
  appendBatch(records: readonly I[], options?: AppendOptions): Promise<BatchAck>;
  /** Appends a whole (async) iterable with back-pressure; resolves when all is acked. */
  appendAll(
    records: Iterable<I> | AsyncIterable<I>,
    options?: AppendAllOptions,
  ): Promise<{
    readonly appended: number;
    readonly firstOffset: number | undefined;
    readonly lastOffset: number | undefined;
  }>;
  read(options?: ReadOptions): AsyncIterableIterator<R>;
  readBatches(options?: ReadOptions): AsyncIterableIterator<TopicBatch<V, R>>;
  /**
   * Records as they come and as they get their places, without an end. After each `level` the reader has seen one state
   * of the topic.
   */
  changes(options?: ChangesOptions): AsyncIterableIterator<Change<V, R>>;
  /** Folds records into a state that always shows this device's own records, and follows. */
  view<S>(options: ViewOptions<S, V, R>): View<S>;
  /**
   * Adds middleware, inside of what is there: for what is appended and read from now on. Counts for this page only.
   * INVALID_ARGUMENT if it is not a function.
   */
  use(middleware: Middleware): this;
  /**
   * What became of a record, by its `id`. For after a reload, when no promise waits for it any more. Reads the headers
   * of the whole log where the record is not in the outbox.
   */
  statusOf(id: string): Promise<RecordStatus>;
  state(): Promise<TopicState>;
  trim(offset: number): Promise<void>;
  roll(): Promise<void>;
  /** Retention and compaction now (they also run by themselves after appends). */
  clean(): Promise<CleanResult>;
  explainSeek(
    target: { readonly offset: number } | { readonly timestamp: number },
  ): Promise<SeekExplanation | undefined>;
  /**
   * The segment that begins at `baseOffset`, as Kafka's files. Its batches get `leaderEpoch`, default 0: a broker
   * accepts no epoch above its partition's.
   */
  exportSegment(baseOffset: number, options?: { readonly leaderEpoch?: number | undefined }): Promise<SegmentExport>;
  /**
   * The whole topic, as of the first next(), segment by segment: one is in memory at a time. Segments that retention or
   * compaction removes meanwhile are left out or come as what took their place.
   */
  export(options?: { readonly leaderEpoch?: number | undefined }): AsyncIterableIterator<SegmentExport>;
  /**
   * Takes Kafka's .log files, or what export() gave, into a topic that is empty or new. Records keep their offsets.
   * Every batch is checked before anything is written, and all become visible at once; after a crash the topic is
   * empty, or has them all. INVALID_ARGUMENT (reason "filled": the topic has had records; reason "synced"),
   * INVALID_BATCH (damage: file, position, from, to, reason), UNSUPPORTED_FORMAT (a codec but gzip, transactions,
   * message format 0 or 1), BATCH_TOO_LARGE, DECOMPRESSION_LIMIT, QUOTA_EXCEEDED: the topic is as it was.
   * OUTCOME_UNKNOWN: the tab that wrote has ended, and the topic has records now.
   */
  importSegments(files: Iterable<ImportedFile>, options?: SegmentImport): Promise<SegmentsImported>;
}

/** A topic of `events({ … })`: `emit` appends an event, and a record that is read has its `type`. */
export type EventTopic<M extends EventMap> = Topic<unknown, EventInput<M>, EventRecord<M, TopicRecord>> &
  EventCalls<M, AppendOptions, Ack>;

export type TideEvent =
  | { readonly type: "recovery"; readonly report: readonly LogRecovery[] }
  | { readonly type: "quota"; readonly topic: string; readonly message: string }
  | { readonly type: "reopened"; readonly reason: string }
  /** A tab has set or changed the topic's settings. These are all that are stored now. */
  | { readonly type: "settings"; readonly topic: string; readonly settings: TopicSettings }
  /** A tab has deleted this topic, or has ended its sync: then its records are in the topic `kept`. */
  | { readonly type: "deleted"; readonly topic: string; readonly kept?: string | undefined }
  /** This tab's calls now go to this leader: its own worker, or another tab's over a port or a BroadcastChannel. */
  | {
      readonly type: "leaderchange";
      readonly role: "leader" | "follower";
      readonly epoch: number;
      readonly via: "worker" | "port" | "broadcast";
    }
  /** The leader is gone, or gave up the lead. Calls wait for the next one. */
  | { readonly type: "leaderlost"; readonly reason: string }
  /**
   * A file of the package that this tab needs can't be loaded (there is no network, or a deploy has removed it). The
   * tab tries again by itself, with growing pauses.
   */
  | { readonly type: "loadfailed"; readonly reason: string }
  /** An event of sync. `tide.syncing.on()` hears only these. */
  | { readonly type: "sync"; readonly event: SyncEvent }
  /** Another tab runs another version of this library. */
  | { readonly type: "version"; readonly ours: number; readonly theirs: number }
  /** The tide has ended for this page. `error` is what its calls reject with from now on; `reason` is its message. */
  | { readonly type: "closed"; readonly reason: string; readonly error?: TidemarkError | undefined };

export interface Tide {
  readonly name: string;
  /** Whether this tab's worker writes, or another tab's. Both roles can do the same. */
  readonly role: "leader" | "follower";
  readonly storage: StorageReport;
  /** One report for each topic in the volume, from this open. */
  readonly recovery: readonly LogRecovery[];
  /**
   * Returns the same object for the same name, until that topic is deleted. INVALID_ARGUMENT if this page has the topic
   * with another serializer, codec, acks, batchBytes, inFlightBytesMax, schema or `use`. With a schema, append takes
   * what the schema takes, and reads give what it gives. A wrong option of its own is reported by each append and read.
   */
  topic<M extends EventMap>(name: string, options: TypedTopicOptions<EventTypes<M>>): EventTopic<M>;
  topic<S extends StandardSchema>(
    name: string,
    options: TypedTopicOptions<S>,
  ): Topic<InferOutput<S>, RecordInput<InferInput<S>>>;
  topic<V = unknown>(name: string, options?: TopicOptions<V>): Topic<V>;
  topics(): Promise<readonly string[]>;
  /**
   * Removes a topic with its records and settings for good, and frees its space. Appends under way, here and in other
   * tabs, fail with UNKNOWN_TOPIC. A topic that is made again under the name begins at offset 0. Does nothing if there
   * is no such topic.
   */
  deleteTopic(name: string): Promise<void>;
  /**
   * Keeps topics in step with an edge, or adds topics. Records that a topic has here already go to the edge. The volume
   * remembers it: a later opening goes on by itself, and is only given the token again.
   */
  sync(options: SyncOptions): Promise<Sync>;
  /** Undefined until something is synced. */
  readonly syncing: Sync | undefined;
  /**
   * An error that a listener throws is reported as uncaught and affects nothing else. Returns a function that removes
   * the listener.
   */
  on(listener: (event: TideEvent) => void): () => void;
  /** Events of one type only. */
  on<Type extends TideEvent["type"]>(
    type: Type,
    listener: (event: Extract<TideEvent, { readonly type: Type }>) => void,
  ): () => void;
  /**
   * Waits for unanswered appends; 30 s for those that a schema or middleware has not let pass, which are CLOSED then,
   * and not in the log. The leader flushes and leaves the lead to another tab. Further calls return the same promise.
   */
  close(): Promise<void>;
  /** close(), for `await using`. */
  [Symbol.asyncDispose](): Promise<void>;
}
