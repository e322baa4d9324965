/**
 * The client inside a Worker: code of a Worker reads and writes a log in three lines, without HTTP of its own.
 *
 *     const orders = openTopic(env, "orders");
 *     await orders.append({ key: "o-17", value: { total: 42 }, headers: { trace: "a1" } });
 *     for await (const record of orders.read({ from: "earliest" })) { … }
 *
 * It uses the batches dialect over the object's `fetch`: the same checks, limits and errors as from outside, flow
 * control for bodies, and none of RPC's limit on arguments. Batches are made here, by the producer that browsers use.
 * Reads of records that have moved to object storage don't wake the object. No token is needed: code that runs here has
 * the bindings anyway.
 *
 * One handle belongs to one request, like all I/O of a Worker. If the object is reset during an append, the append is
 * OUTCOME_UNKNOWN. With `idempotent` it is sent again under the same sequence instead. That takes an entry in the log's
 * table of producers (the newest 1,000), so it suits handles that write much, not thousands of short requests. Reads
 * and state() are asked once more, and are CLOSED if the object is lost again (ask-object.ts).
 */
import { TidemarkError } from "../../src/errors.ts";
import { type ProducerAck, type ProducerBatchAck, Producer } from "../../src/delivery/producer.ts";
import type { AnyBatch, PlainRecord } from "../../src/delivery/read-record.ts";
import type { ReaderOptions } from "../../src/delivery/reader.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import type { LogAppendOptions, AppendResult } from "../../src/log/types.ts";
import { pauseMs } from "../../src/log/back-off.ts";
import { DEFAULT_SETTINGS } from "../../src/log/limits.ts";
import { offsetConflict } from "../../src/log/offset-conflict.ts";
import { callback, checkOptions, integer } from "../../src/topic/check.ts";
import { keptRecord, type RecordInput, recordOf, recordsOf } from "../../src/topic/input.ts";
import { APPEND_OPTIONS, producerIdOf, TYPING } from "../../src/topic/options.ts";
import { batchesOf, readingOf } from "../../src/topic/reading.ts";
import { type Serializer, serializerOf } from "../../src/topic/serializer.ts";
import type { EventAppends, EventMap, EventTypes } from "../../src/typed/events.ts";
import type { Middleware } from "../../src/typed/middleware.ts";
import type { InferInput, InferOutput, StandardSchema } from "../../src/typed/standard-schema.ts";
import { type TypedTopic, typedTopic } from "../../src/typed/typed-topic.ts";
import type { GivenTyping } from "../../src/typed/typing.ts";
import type { Sending } from "../../src/log/producer-state.ts";
import { viewOf } from "../../src/record/bytes.ts";
import { CRC_AT, CRC_FROM, PRODUCER_ID_AT, RECORD_COUNT_AT } from "../../src/record/format.ts";
import { type KafkaFiles, LEADER_EPOCH_MAX } from "../../src/store/kafka-files.ts";
import type { ImportResult } from "../../src/store/segment-files.ts";
import type { ImportedFile } from "../../src/topic/imported-files.ts";
import { type SegmentUpload, uploadSegments } from "../../src/topic/segment-upload.ts";
import { BATCHES_TYPE } from "../wire/accept.ts";
import { describeCompaction, describeRetention } from "../wire/policies.ts";
import { OPEN_TENANT } from "../rpc/stubs.ts";
import { IMPORT_HEADER } from "../rpc/internal-headers.ts";
import { edgeKernel } from "../kernel.ts";
import { H } from "../wire/durable-streams.ts";
import { formatOffset, offsetIn } from "../wire/offsets.ts";
import { forgetManifest } from "../front/archived-reads.ts";
import { AskedObject, errorOf, isClosedForGood } from "./ask-object.ts";
import { CallGroups, GROUP_BYTES } from "./call-groups.ts";
import { checkTopic } from "./topic-options.ts";
import { TopicReads } from "./topic-reads.ts";
import type {
  EdgeAppendOptions,
  EdgeEventTopic,
  EdgeTopic,
  EdgeTopicOptions,
  TopicEnv,
  TypedEdgeTopicOptions,
} from "./api.ts";

export function openTopic<M extends EventMap>(
  env: TopicEnv,
  name: string,
  options: TypedEdgeTopicOptions<EventTypes<M>>,
): EdgeEventTopic<M>;
export function openTopic<S extends StandardSchema>(
  env: TopicEnv,
  name: string,
  options: TypedEdgeTopicOptions<S>,
): EdgeTopic<InferOutput<S>, RecordInput<InferInput<S>>>;
export function openTopic<V = unknown>(env: TopicEnv, name: string, options?: EdgeTopicOptions<V>): EdgeTopic<V>;
export function openTopic(env: TopicEnv, name: string, options: object = {}): object {
  return new Topic(env, name, options);
}

const TYPES = { json: "application/json", text: "text/plain", bytes: "application/octet-stream" } as const;
const IN_FLIGHT_BYTES_MAX = 8 * 1024 * 1024;
const TRIES_MAX = 5;
const BACK_OFF = { minMs: 100, maxMs: 1_000 };
const NOTHING = new Uint8Array(0);
/** Advice for OUTCOME_UNKNOWN, by the kind of call. */
const APPENDS_AGAIN = "read the log's end before you append it anew; { idempotent: true } sends it again by itself";
const IMPORTS_AGAIN = "the same call goes on";
const TRIMS_AGAIN = "the same call may be made again";
const { ifEnd } = APPEND_OPTIONS;
const anOffset = integer(0);
const EXPORT_OPTIONS = { leaderEpoch: integer(0, LEADER_EPOCH_MAX) };

class Topic<V> implements EdgeTopic<V> {
  readonly #object: AskedObject;
  readonly #reads: TopicReads;
  readonly #serializer: Serializer<V>;
  #producer: Promise<Producer> | undefined;
  readonly #calls = new CallGroups(() => this.#opened(), IN_FLIGHT_BYTES_MAX);
  /** Why the newest batch was not taken, if the log had too much to do or is closed for good. */
  #busy: TidemarkError | undefined;
  /** With a schema or middleware: what appends and reads go through. */
  #typed: TypedTopic | undefined;
  readonly #used: Middleware[] = [];
  #failures = 0;

  constructor(
    env: TopicEnv,
    readonly name: string,
    readonly options: EdgeTopicOptions<V>,
  ) {
    checkTopic(env, name, options);
    this.#object = new AskedObject(env, options.tenant ?? OPEN_TENANT, name);
    this.#reads = new TopicReads(this.#object, { state: () => this.state(), create: () => this.#create() });
    this.#serializer = serializerOf<V>(options.serializer);
    const { schema } = options as GivenTyping;
    if (TYPING.some((name) => (options as GivenTyping)[name] !== undefined)) this.#type(options);
    Object.assign(this, (schema as EventTypes | undefined)?.["~calls"]?.(this as EventAppends));
  }

  #type(options: GivenTyping): void {
    if (this.#typed) return;
    this.#typed = typedTopic({
      name: this.name,
      options,
      serializer: this.#serializer as Serializer<never>,
      plain: this.#calls,
      used: this.#used,
      inFlightBytesMax: IN_FLIGHT_BYTES_MAX,
    });
    this.#reads.typed = this.#typed.batch;
  }

  use(middleware: Middleware): this {
    callback("use", middleware);
    this.#type({});
    this.#used.push(middleware);
    return this;
  }

  // --- the object --------------------------------------------------------------------------------------------------

  async #create(): Promise<void> {
    const { serializer = "json", retention, compaction } = this.options;
    const type = typeof serializer === "string" ? TYPES[serializer] : TYPES.bytes;
    const response = await this.#object.ask({
      method: "PUT",
      headers: { "content-type": type, ...describeRetention(retention), ...describeCompaction(compaction) },
    });
    // 409 means that the log exists with another type or other settings. It is used as it is.
    if (!response.ok && response.status !== 409) throw await errorOf(response);
    await response.body?.cancel();
  }

  async state() {
    const response = await this.#object.ask({ method: "HEAD" });
    if (response.status === 404) return undefined;
    if (!response.ok) throw await errorOf(response);
    return {
      logStartOffset: offsetIn(response, H.start),
      logEndOffset: offsetIn(response, H.next),
      closed: response.headers.get(H.closed) === "true",
    };
  }

  // --- append ------------------------------------------------------------------------------------------------------

  async append(record: RecordInput<V>, options: EdgeAppendOptions = {}): Promise<ProducerAck> {
    checkOptions("append()", options, { ifEnd });
    const encoded = keptRecord(recordOf(record, this.#serializer, Date.now));
    return (this.#typed ?? this.#calls).append(encoded, "flushed", options.ifEnd);
  }

  async appendBatch(records: readonly RecordInput<V>[], options: EdgeAppendOptions = {}): Promise<ProducerBatchAck> {
    checkOptions("appendBatch()", options, { ifEnd });
    const encoded = recordsOf(records, this.#serializer, Date.now, keptRecord);
    return (this.#typed ?? this.#calls).appendBatch(encoded, "flushed", options.ifEnd);
  }

  #opened(): Promise<Producer> {
    return (this.#producer ??= edgeKernel()
      .then(
        (kernel) =>
          new Producer({
            kernel,
            send: (batch, options) => this.#send(kernel, batch, options),
            reopened: () => this.#again(),
            schedule: (work) => queueMicrotask(work),
            newId: () => producerIdOf(crypto.getRandomValues(new BigUint64Array(1))),
            codec: this.options.codec ?? "none",
            batchBytes: GROUP_BYTES,
            recordBytesMax: DEFAULT_SETTINGS.recordBytesMax,
            batchBytesMax: DEFAULT_SETTINGS.batchBytesMax,
            inFlightBytesMax: 2 * IN_FLIGHT_BYTES_MAX,
          }),
      )
      .catch((thrown: unknown) => {
        this.#producer = undefined;
        throw thrown;
      }));
  }

  async #again(): Promise<void> {
    const isOver = this.#busy !== undefined && isClosedForGood(this.#busy);
    if (isOver || !this.options.idempotent || ++this.#failures >= TRIES_MAX)
      throw this.#busy ?? new TidemarkError("CLOSED", "the log's object does not answer: try again later");
    await new Promise((resolve) => setTimeout(resolve, pauseMs(BACK_OFF, this.#failures, Math.random())));
  }

  async #send(kernel: Kernel, batch: Uint8Array, { ifEnd, ...sending }: LogAppendOptions): Promise<AppendResult> {
    if (!this.options.idempotent) anonymous(kernel, batch);
    const headers = {
      "content-type": BATCHES_TYPE,
      ...(ifEnd !== undefined && { [H.expectedOffset]: formatOffset(ifEnd) }),
      ...sequencesOf(sending),
    };
    try {
      const response = await this.#posted(() => this.#post("", headers, batch, APPENDS_AGAIN), ifEnd);
      this.#failures = 0;
      const { appended } = (await response.json()) as { appended: [Omit<AppendResult, "acks">] };
      return { ...appended[0], acks: "flushed" };
    } catch (thrown) {
      const error = TidemarkError.from(thrown);
      this.#busy = error.code === "BACKPRESSURE" || isClosedForGood(error) ? error : undefined;
      throw error;
    }
  }

  // --- import ------------------------------------------------------------------------------------------------------

  importSegments(files: Iterable<ImportedFile>, options: SegmentUpload = {}): Promise<ImportResult> {
    return uploadSegments(files, options, async (type, query, body) => {
      const headers = { "content-type": type, [IMPORT_HEADER]: "1" };
      const response = await this.#posted(() => this.#post(query, headers, body, IMPORTS_AGAIN));
      forgetManifest(this.#object.tenant, this.name);
      return new Uint8Array(await response.arrayBuffer());
    });
  }

  // --- export and trim ---------------------------------------------------------------------------------------------

  export(options: { readonly leaderEpoch?: number | undefined } = {}): AsyncIterableIterator<KafkaFiles> {
    checkOptions("export()", options, EXPORT_OPTIONS);
    return this.#reads.segments(options.leaderEpoch);
  }

  async trim(offset: number): Promise<void> {
    anOffset("offset", offset);
    const response = await this.#post("", { [H.trim]: formatOffset(offset) }, NOTHING, TRIMS_AGAIN);
    if (response.status === 404)
      throw new TidemarkError("UNKNOWN_TOPIC", `there is no topic ${this.name}: the first append makes it`, {
        topic: this.name,
      });
    if (!response.ok) throw await errorOf(response);
    await response.body?.cancel();
    forgetManifest(this.#object.tenant, this.name);
  }

  #post(query: string, headers: Record<string, string>, body: Uint8Array, again: string): Promise<Response> {
    return this.#object.ask({ method: "POST", query, headers, body, again });
  }

  /**
   * The answer to `post`. If the log does not exist, it is made first, and `post` runs once more. OFFSET_CONFLICT if
   * only a log that has records meets the condition `ifEnd`.
   */
  async #posted(post: () => Promise<Response>, ifEnd?: number): Promise<Response> {
    let response = await post();
    if (response.status === 404) {
      if (ifEnd) throw offsetConflict(0, ifEnd);
      await this.#create();
      response = await post();
    }
    if (!response.ok) throw await errorOf(response);
    return response;
  }

  // --- read --------------------------------------------------------------------------------------------------------

  readBatches(options?: ReaderOptions): AsyncIterableIterator<AnyBatch<V>> {
    return batchesOf((checked) => this.#reads.source(checked), edgeKernel(), this.#serializer, options);
  }

  read(options?: ReaderOptions): AsyncIterableIterator<PlainRecord<V>> {
    return readingOf((checked) => this.#reads.source(checked), edgeKernel(), this.#serializer, options);
  }
}

const sequencesOf = ({ fromZero, resentSince }: Sending): Record<string, string> => ({
  ...(fromZero && { [H.sequences]: "from-zero" }),
  ...(resentSince !== undefined && { [H.resentSince]: formatOffset(resentSince) }),
});

/** Removes the producer from the batch, so that the log keeps no entry for it. */
function anonymous(kernel: Kernel, batch: Uint8Array): void {
  // Id, epoch and sequence are -1 each.
  batch.fill(0xff, PRODUCER_ID_AT, RECORD_COUNT_AT);
  viewOf(batch).setUint32(CRC_AT, kernel.crc32c(batch.subarray(CRC_FROM)));
}
