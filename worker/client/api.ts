/** What `openTopic` gives and takes (topic.ts). */
import type { ProducerAck, ProducerBatchAck } from "../../src/delivery/producer.ts";
import type { AnyBatch, PlainRecord } from "../../src/delivery/read-record.ts";
import type { ReaderOptions } from "../../src/delivery/reader.ts";
import type { CompactionSettings, RetentionSettings } from "../../src/log/types.ts";
import type { KafkaFiles } from "../../src/store/kafka-files.ts";
import type { ImportResult } from "../../src/store/segment-files.ts";
import type { ImportedFile } from "../../src/topic/imported-files.ts";
import type { RecordInput } from "../../src/topic/input.ts";
import type { SegmentUpload } from "../../src/topic/segment-upload.ts";
import type { SerializerChoice } from "../../src/topic/serializer.ts";
import type { EventCalls, EventInput, EventMap, EventRecord, EventTypes } from "../../src/typed/events.ts";
import type { Middleware } from "../../src/typed/middleware.ts";
import type { StandardSchema } from "../../src/typed/standard-schema.ts";
import type { TypedOptions } from "../../src/typed/typing.ts";
import type { Env } from "../env.ts";

/** The bindings that a topic needs. The rest of `Env` is for requests from outside. */
export type TopicEnv = Pick<Env, "LOGS" | "SEGMENTS">;

export interface EdgeTopicOptions<V> {
  /** The tenant that owns the log. Default: the tenant of requests without a token, "dev". */
  readonly tenant?: string | undefined;
  /**
   * "json" (default), "text", "bytes", or your own. A log that does not exist is made with the content type that fits.
   */
  readonly serializer?: SerializerChoice<V> | undefined;
  readonly codec?: "none" | "gzip" | undefined;
  readonly idempotent?: boolean | undefined;
  /** Retention of a log that is made by this handle. A log that exists keeps its own. */
  readonly retention?: RetentionSettings | undefined;
  readonly compaction?: CompactionSettings | undefined;
  /** Around appends and reads, the outermost first; `use()` adds more. docs/typed.md */
  readonly use?: readonly Middleware[] | undefined;
}

export interface EdgeAppendOptions {
  /**
   * Append only if the log's end is still this offset, else OFFSET_CONFLICT. A topic that does not exist yet ends at 0,
   * and no refused append makes it.
   */
  readonly ifEnd?: number | undefined;
}

/** A topic whose values fit a schema: docs/typed.md. */
export interface TypedEdgeTopicOptions<S extends StandardSchema | EventTypes>
  extends EdgeTopicOptions<unknown>, TypedOptions<S, PlainRecord<unknown>> {}

/** `I` is what may be appended and `R` a record as read; they differ in a topic with a schema. */
export interface EdgeTopic<V = unknown, I = RecordInput<V>, R = PlainRecord<V>> {
  readonly name: string;
  /**
   * Resolves when the record is durable. Un-awaited appends batch themselves, and are in the log in the order of the
   * calls. OUTCOME_UNKNOWN: the log's object was reset meanwhile. BACKPRESSURE: it has too much to do, or more than 16
   * MiB wait. Any call may be CLOSED: the object is away for a moment.
   */
  append(record: I, options?: EdgeAppendOptions): Promise<ProducerAck>;
  /**
   * Appends all records or none, in one batch with one ack. Its `offset` is the last record's, its `baseOffset` the
   * first one's. Calls that are made in one turn share batches; what the stream refuses, by its schema or because it is
   * no JSON, refuses the call that it is in alone.
   */
  appendBatch(records: readonly I[], options?: EdgeAppendOptions): Promise<ProducerBatchAck>;
  read(options?: ReaderOptions): AsyncIterableIterator<R>;
  readBatches(options?: ReaderOptions): AsyncIterableIterator<AnyBatch<V>>;
  /** Adds middleware, inside of what is there: for what this handle appends and reads from now on. */
  use(middleware: Middleware): this;
  /**
   * Takes Kafka's .log files, or what export() of another host's topic gives, into a log that is empty or new. Records
   * keep their offsets, and become visible at once when all are there; the same call again goes on where an earlier one
   * ended. INVALID_ARGUMENT (reason "filled": the log has had records; "fork"), INVALID_BATCH (damage: file, position,
   * from, to, reason), UNSUPPORTED_FORMAT (a codec but gzip, transactions, message format 0 or 1), BATCH_TOO_LARGE,
   * DECOMPRESSION_LIMIT, QUOTA_EXCEEDED: the log is as it was.
   * OFFSET_CONFLICT (reason "replaced"): another import of this log was begun. OUTCOME_UNKNOWN: the object was reset,
   * and the same call goes on.
   */
  importSegments(files: Iterable<ImportedFile>, options?: SegmentUpload): Promise<ImportResult>;
  /**
   * The whole log, as of the first next(), segment by segment, as Kafka's files: one of some 8 MiB is in memory at a
   * time. Batches come whole and as they are stored, without schema and middleware, so the first one may begin before
   * the log's start. What is trimmed meanwhile is left out. Batches get `leaderEpoch`, default 0. UNKNOWN_TOPIC: the
   * log was deleted meanwhile. A log that was never written has none.
   */
  export(options?: { readonly leaderEpoch?: number | undefined }): AsyncIterableIterator<KafkaFiles>;
  /**
   * Removes all records before `offset`, for good; readers before it get OFFSET_OUT_OF_RANGE, and devices in sync are
   * told. What is gone already is no error. OFFSET_OUT_OF_RANGE: beyond the end. INVALID_ARGUMENT (reason "held"):
   * forks read from the log. UNKNOWN_TOPIC: it was never written.
   */
  trim(offset: number): Promise<void>;
  /** Where the log begins and ends. Undefined for a log that was never written. */
  state(): Promise<
    { readonly logStartOffset: number; readonly logEndOffset: number; readonly closed: boolean } | undefined
  >;
}

/** A topic of `events({ … })`: `emit` appends an event, and a record that is read has its `type`. */
export type EdgeEventTopic<M extends EventMap> = EdgeTopic<
  unknown,
  EventInput<M>,
  EventRecord<M, PlainRecord<unknown>>
> &
  EventCalls<M, EdgeAppendOptions, ProducerAck>;
