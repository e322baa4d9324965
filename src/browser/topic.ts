/** A topic as the application sees it: values in, records out. Batches are made and checked here, in the page. */
import { TidemarkError } from "../errors.ts";
import { Producer, type ProducerRecord } from "../delivery/producer.ts";
import { type ReadSource, readBatches } from "../delivery/reader.ts";
import { serializerOf } from "../delivery/serializer.ts";
import { DEFAULT_SETTINGS, withDefaults } from "../log/limits.ts";
import type { Acks, CleanResult, Fetched, FetchOptions, Isolation, LogSettings, StartPosition } from "../log/types.ts";
import type {
  Ack, AppendAllOptions, ReadOptions, RecordInput, SeekExplanation, SegmentExport, Serializer, Topic, TopicBatch, TopicOptions, TopicRecord, TopicState,
} from "./api.ts";
import type { BrowserTide } from "./client.ts";
import type { Control } from "./control.ts";
import type { PortClient } from "./port-client.ts";
import type { Request } from "./protocol.ts";

const encoder = new TextEncoder();
const BATCH_BYTES = 256 * 1024;
/** An append that waits longer makes the tab look whether its worker still answers. */
const SLOW_MS = 3_000;
const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024;
/** What the log is told. INVALID_ARGUMENT for what it would refuse, before anything is opened. */
function settingsOf(options: TopicOptions<never>) {
  const { retention = {}, compaction, segmentMaxAgeMs = DEFAULT_SETTINGS.segmentMaxAgeMs, recordBytesMax = DEFAULT_SETTINGS.recordBytesMax } = options;
  const settings = {
    retention,
    compaction: compaction === true ? {} : compaction === false ? undefined : compaction,
    segmentMaxAgeMs,
    recordBytesMax,
    batchBytesMax: DEFAULT_SETTINGS.batchBytesMax,
  } satisfies Partial<LogSettings>;
  withDefaults(settings);
  return settings;
}

const bytesOf = (text: string | Uint8Array | null | undefined): Uint8Array | null => (text == null ? null : typeof text === "string" ? encoder.encode(text) : text);

/** 53 random bits: two tabs that ever draw the same would need some 10^8 draws. */
function newProducerId(): number {
  return Number(crypto.getRandomValues(new BigUint64Array(1))[0]! >> 11n);
}

/** A call that met a failing store, or a leader that went, is made again where the logs are open anew; `ready` rejects when they never will be. */
export async function retried<T>(tide: BrowserTide, call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  for (;;) {
    try {
      return await call();
    } catch (thrown) {
      // A read that its reader has left ends with the reader's reason, whatever that is.
      if (signal?.aborted || !(thrown instanceof TidemarkError) || thrown.kind !== "reopen") throw thrown;
      await tide.ready();
    }
  }
}

export class BrowserTopic<V> implements Topic<V> {
  readonly name: string;
  readonly #tide: BrowserTide;
  readonly #settings: ReturnType<typeof settingsOf>;
  readonly #serializer: Serializer<V>;
  readonly #producer: Producer;
  readonly #acks: Acks;
  readonly #inFlightBytesMax: number;
  /** Where it is open. */
  #port: PortClient | undefined;
  #opened!: Promise<void>;

  constructor(name: string, options: TopicOptions<V>, tide: BrowserTide) {
    this.name = name;
    this.#tide = tide;
    this.#settings = settingsOf(options as TopicOptions<never>);
    this.#serializer = serializerOf<V>(options.serializer);
    this.#acks = options.acks ?? "flushed";
    this.#inFlightBytesMax = options.inFlightBytesMax ?? IN_FLIGHT_BYTES_MAX;
    const { recordBytesMax, batchBytesMax } = this.#settings;
    this.#producer = new Producer({
      kernel: tide.kernel,
      send: (batch, options) => {
        // A tab that is alone has nobody who would notice that its worker hangs.
        const slow = setTimeout(() => void tide.meet().catch(() => undefined), SLOW_MS);
        return this.#open().append({ topic: name, batch, ...options }).finally(() => clearTimeout(slow));
      },
      reopened: () => tide.ready(),
      schedule: (work) => queueMicrotask(work),
      newId: newProducerId,
      codec: options.codec ?? "none",
      batchBytes: Math.min(options.batchBytes ?? BATCH_BYTES, batchBytesMax),
      recordBytesMax,
      batchBytesMax,
      inFlightBytesMax: this.#inFlightBytesMax,
    });
  }

  /** Once per leader; again after a failure, which may pass (a full disk). What is sent next comes in behind it, and need not wait. */
  #open(): PortClient {
    const port = this.#tide.connection!;
    if (this.#port !== port) {
      this.#port = port;
      this.#opened = port.call({ op: "topic", topic: this.name, settings: this.#settings });
      this.#opened.catch(() => (this.#port = undefined));
    }
    return port;
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
    fetch: (from, { signal, ...options }: FetchOptions) => this.#call({ op: "fetch", topic: this.name, from, ...options }, signal),
    resolve: (position: StartPosition, isolation?: Isolation) => this.#call<number>({ op: "resolve", topic: this.name, position, ...(isolation && { isolation }) }),
  };

  #call<T = Fetched>(request: Request, signal?: AbortSignal): Promise<T> {
    return retried(this.#tide, () => this.#open().call<T>(request, signal), signal);
  }

  readBatches(options: ReadOptions = {}): AsyncIterableIterator<TopicBatch<V>> {
    return readBatches(this.#source, this.#tide.kernel, this.#serializer, options);
  }

  async *read(options: ReadOptions = {}): AsyncIterableIterator<TopicRecord<V>> {
    for await (const batch of this.readBatches(options)) yield* batch;
  }

  // --- upkeep and tools --------------------------------------------------------------------------------------------

  #ask<Result>(method: keyof Control, ...args: unknown[]): Promise<Result> {
    return retried(this.#tide, async () => {
      const port = this.#open();
      // Those go over a port of their own.
      await this.#opened;
      return port.control(method, this.name, ...args) as Promise<Result>;
    });
  }
  state(): Promise<TopicState> {
    return this.#ask("state");
  }
  trim(offset: number): Promise<void> {
    return this.#ask("upkeep", "trim", offset);
  }
  roll(): Promise<void> {
    return this.#ask("upkeep", "roll");
  }
  clean(): Promise<CleanResult> {
    return this.#ask("upkeep", "clean");
  }
  explainSeek(target: { readonly offset: number } | { readonly timestamp: number }): Promise<SeekExplanation | undefined> {
    return this.#ask("look", "explainSeek", target);
  }
  exportSegment(baseOffset: number): Promise<SegmentExport> {
    return this.#ask("look", "exportSegment", baseOffset);
  }
}
