/** A topic as the application sees it: values in, records out. Batches are made and checked here, in the page. */
import { TidemarkError } from "../errors.ts";
import { Producer, type ProducerRecord } from "../delivery/producer.ts";
import { type ReadSource, readBatches } from "../delivery/reader.ts";
import { serializerOf } from "../delivery/serializer.ts";
import type { Kernel } from "../kernel/types.ts";
import { DEFAULT_SETTINGS } from "../log/limits.ts";
import type { Acks, CleanResult, FetchOptions, Isolation, LogSettings, StartPosition } from "../log/types.ts";
import type {
  Ack, AppendAllOptions, ReadOptions, RecordInput, SeekExplanation, SegmentExport, Serializer, Topic, TopicBatch, TopicOptions, TopicRecord, TopicState,
} from "./api.ts";
import type { ControlCall } from "./client.ts";
import type { PortClient } from "./port-client.ts";

const encoder = new TextEncoder();
const BATCH_BYTES = 256 * 1024;
const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024;
/** Room that a batch has beyond its largest record. */
const BATCH_ROOM_BYTES = DEFAULT_SETTINGS.batchBytesMax - DEFAULT_SETTINGS.recordBytesMax;

function settingsOf({ retention, compaction, segmentMaxAgeMs, recordBytesMax }: TopicOptions<never>): Partial<LogSettings> {
  return {
    ...(retention && { retention }),
    ...(compaction && { compaction: compaction === true ? {} : compaction }),
    ...(segmentMaxAgeMs !== undefined && { segmentMaxAgeMs }),
    ...(recordBytesMax !== undefined && { recordBytesMax, batchBytesMax: recordBytesMax + BATCH_ROOM_BYTES }),
  };
}

const bytesOf = (text: string | Uint8Array | null | undefined): Uint8Array | null => (text == null ? null : typeof text === "string" ? encoder.encode(text) : text);

/** 53 random bits: two tabs that ever draw the same would need some 10^8 draws. */
function newProducerId(): number {
  const [high, low] = crypto.getRandomValues(new Uint32Array(2));
  return (high! & 0x1fffff) * 2 ** 32 + low!;
}

export class BrowserTopic<V> implements Topic<V> {
  readonly name: string;
  readonly #kernel: Kernel;
  readonly #port: PortClient;
  readonly #control: ControlCall;
  readonly #settings: Partial<LogSettings>;
  readonly #serializer: Serializer<V>;
  readonly #producer: Producer;
  readonly #acks: Acks;
  readonly #inFlightBytesMax: number;
  #opened: Promise<void> | undefined;

  constructor(name: string, options: TopicOptions<V>, parts: { readonly kernel: Kernel; readonly port: PortClient; readonly control: ControlCall }) {
    this.name = name;
    this.#kernel = parts.kernel;
    this.#port = parts.port;
    this.#control = parts.control;
    this.#settings = settingsOf(options as TopicOptions<never>);
    this.#serializer = serializerOf<V>(options.serializer);
    this.#acks = options.acks ?? "flushed";
    this.#inFlightBytesMax = options.inFlightBytesMax ?? IN_FLIGHT_BYTES_MAX;
    const { recordBytesMax = DEFAULT_SETTINGS.recordBytesMax, batchBytesMax = DEFAULT_SETTINGS.batchBytesMax } = this.#settings;
    this.#producer = new Producer({
      kernel: parts.kernel,
      send: async (batch, options) => {
        await this.#open();
        return this.#port.append({ topic: name, batch, ...options });
      },
      reopened: () => this.#reopened(),
      schedule: (work) => queueMicrotask(work),
      newId: newProducerId,
      codec: options.codec ?? "none",
      batchBytes: Math.min(options.batchBytes ?? BATCH_BYTES, batchBytesMax),
      recordBytesMax,
      batchBytesMax,
      inFlightBytesMax: this.#inFlightBytesMax,
    });
  }

  /** Once per page; again after a failure, which may pass (a full disk). */
  #open(): Promise<void> {
    this.#opened ??= this.#port.call<void>({ op: "topic", topic: this.name, settings: this.#settings }).catch((thrown: unknown) => {
      this.#opened = undefined;
      throw thrown;
    });
    return this.#opened;
  }

  #reopened(): Promise<void> {
    return this.#port.call<void>({ op: "ready" });
  }

  #record({ key, value, headers, timestamp = Date.now() }: RecordInput<V>): ProducerRecord {
    const record = { key: bytesOf(key), value: value == null ? null : this.#serializer.serialize(value), timestamp };
    return headers ? { ...record, headers: Object.entries(headers).map(([name, text]) => [name, bytesOf(text)] as const) } : record;
  }

  append(record: RecordInput<V>, options: { readonly acks?: Acks; readonly ifEnd?: number } = {}): Promise<Ack> {
    try {
      return this.#producer.append(this.#record(record), options.acks ?? this.#acks, options.ifEnd);
    } catch (thrown) {
      return Promise.reject(thrown);
    }
  }

  async appendBatch(records: readonly RecordInput<V>[], options: { readonly acks?: Acks; readonly ifEnd?: number } = {}): Promise<Ack> {
    return this.#producer.appendBatch(records.map((record) => this.#record(record)), options.acks ?? this.#acks, options.ifEnd);
  }

  async appendAll(records: Iterable<RecordInput<V>> | AsyncIterable<RecordInput<V>>, { acks = this.#acks, ...options }: AppendAllOptions = {}) {
    const { appendAll } = await import("./append-all.ts");
    const append = (record: RecordInput<V>) => this.#producer.append(this.#record(record), acks);
    return appendAll(records, append, this.#producer, this.#inFlightBytesMax, options);
  }

  /** Everything appended so far is acked or has failed. */
  drained(): Promise<void> {
    return this.#producer.drained();
  }

  // --- reading -----------------------------------------------------------------------------------------------------

  readonly #source: ReadSource = {
    fetch: (from, { signal, ...options }: FetchOptions) => this.#retried(() => this.#port.call({ op: "fetch", topic: this.name, from, ...options }, signal), signal),
    resolve: (position: StartPosition, isolation?: Isolation) =>
      this.#retried(() => this.#port.call<number>({ op: "resolve", topic: this.name, position, ...(isolation && { isolation }) })),
  };

  /** A read that met a failing store goes on in the one opened anew; `ready` rejects when there will be none. */
  async #retried<T>(read: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    await this.#open();
    for (;;) {
      try {
        return await read();
      } catch (thrown) {
        // A read that its reader has left ends with the reader's reason, whatever that is.
        if (signal?.aborted || !(thrown instanceof TidemarkError) || thrown.kind !== "reopen") throw thrown;
        await this.#reopened();
      }
    }
  }

  readBatches(options: ReadOptions = {}): AsyncIterableIterator<TopicBatch<V>> {
    return readBatches(this.#source, this.#kernel, this.#serializer, options);
  }

  async *read(options: ReadOptions = {}): AsyncIterableIterator<TopicRecord<V>> {
    for await (const batch of this.readBatches(options)) yield* batch;
  }

  // --- upkeep and tools --------------------------------------------------------------------------------------------

  async #ask<Result>(...[method, ...args]: Parameters<ControlCall>): Promise<Result> {
    await this.#open();
    return this.#control(method, ...args) as Promise<Result>;
  }
  state(): Promise<TopicState> {
    return this.#ask("state", this.name);
  }
  trim(offset: number): Promise<void> {
    return this.#ask("upkeep", this.name, "trim", offset);
  }
  roll(): Promise<void> {
    return this.#ask("upkeep", this.name, "roll");
  }
  clean(): Promise<CleanResult> {
    return this.#ask("upkeep", this.name, "clean");
  }
  explainSeek(target: { readonly offset: number } | { readonly timestamp: number }): Promise<SeekExplanation | undefined> {
    return this.#ask("look", this.name, "explainSeek", target);
  }
  exportSegment(baseOffset: number): Promise<SegmentExport> {
    return this.#ask("look", this.name, "exportSegment", baseOffset);
  }
}
