/** A topic as the application sees it: values in, records out. Batches are made and checked here, in the page. */
import { TidemarkError } from "../errors.ts";
import { Producer } from "../delivery/producer.ts";
import type { ReadSource } from "../delivery/reader.ts";
import { DEFAULT_SETTINGS, withDefaults } from "../log/limits.ts";
import type { Acks, CleanResult, Fetched, FetchOptions, Isolation, LogSettings, StartPosition } from "../log/types.ts";
import { checkOptions, integer, refused } from "../topic/check.ts";
import { type RecordInput, recordOf, recordsOf } from "../topic/input.ts";
import { APPEND_ALL_OPTIONS, APPEND_OPTIONS, BATCH_BYTES, checkTarget, PRODUCER_OPTIONS } from "../topic/options.ts";
import { batchesOf, readingOf } from "../topic/reading.ts";
import { checkSerializer, type Serializer, serializerOf } from "../topic/serializer.ts";
import type {
  Ack, AppendAllOptions, AppendOptions, BatchAck, ReadOptions, SeekExplanation, SegmentExport, Topic, TopicBatch, TopicOptions, TopicRecord, TopicState,
} from "./api.ts";
import type { BrowserTide } from "./client.ts";
import type { Control } from "./control.ts";
import type { PortClient } from "./port-client.ts";
import type { Request } from "./protocol.ts";

/** An append that waits longer makes the tab look whether its worker still answers. */
const SLOW_MS = 3_000;
const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024;

const anOffset = integer(0);
const EXPORT_OPTIONS = { leaderEpoch: integer(0, 2 ** 31 - 1) };
const TOPIC_NAME = /^(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}$/;
const TOPIC_OPTIONS = { ...PRODUCER_OPTIONS, serializer: checkSerializer };

/** A topic of this name may be made or asked for, with these options. What the log is told is checked by settingsOf. */
export function checkTopic(name: unknown, options: unknown): void {
  if (typeof name !== "string" || !TOPIC_NAME.test(name)) {
    throw refused("a topic's name", name, "1 to 249 of A-Z a-z 0-9 . _ - (and neither . nor ..)");
  }
  checkOptions("topic()", options, TOPIC_OPTIONS);
}

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
    const { recordBytesMax } = this.#settings;
    const { batchBytes = BATCH_BYTES } = options;
    // As the volume at the other end has it, which may be another one after a change of the leader.
    const batchBytesMax = (): number => Math.min(this.#settings.batchBytesMax, tide.opened!.batchBytesMax);
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
      logEnd: () => tide.opened?.recovery.find(({ log }) => log === name)?.logEndOffset ?? 0,
      codec: options.codec ?? "none",
      get batchBytes() {
        return Math.min(batchBytes, batchBytesMax());
      },
      recordBytesMax,
      get batchBytesMax() {
        return batchBytesMax();
      },
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

  append(record: RecordInput<V>, options?: AppendOptions): Promise<Ack> {
    try {
      if (options !== undefined) checkOptions("append()", options, APPEND_OPTIONS);
      return this.#producer.append(recordOf(record, this.#serializer, Date.now), options?.acks ?? this.#acks, options?.ifEnd);
    } catch (thrown) {
      return Promise.reject(thrown);
    }
  }

  async appendBatch(records: readonly RecordInput<V>[], options: AppendOptions = {}): Promise<BatchAck> {
    checkOptions("appendBatch()", options, APPEND_OPTIONS);
    return this.#producer.appendBatch(recordsOf(records, this.#serializer, Date.now), options.acks ?? this.#acks, options.ifEnd);
  }

  async appendAll(records: Iterable<RecordInput<V>> | AsyncIterable<RecordInput<V>>, options: AppendAllOptions = {}) {
    checkOptions("appendAll()", options, APPEND_ALL_OPTIONS);
    const { appendAll } = await import("./append-all.ts");
    const { acks = this.#acks, ...more } = options;
    return appendAll({
      records,
      append: (record: RecordInput<V>) => this.#producer.append(recordOf(record, this.#serializer, Date.now), acks),
      producer: this.#producer,
      inFlightBytesMax: this.#inFlightBytesMax,
      onClosed: (closed) => this.#onClosed(closed),
      options: more,
    });
  }

  #onClosed(closed: (reason: unknown) => void): () => void {
    const { ended } = this.#tide;
    if (ended) closed(ended);
    return this.#tide.on((event) => event.type === "closed" && closed(this.#tide.ended ?? new TidemarkError("CLOSED", event.reason, { reason: "closed" })));
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

  readBatches(options?: ReadOptions): AsyncIterableIterator<TopicBatch<V>> {
    return batchesOf(() => this.#source, this.#tide.kernel, this.#serializer, options);
  }

  read(options?: ReadOptions): AsyncIterableIterator<TopicRecord<V>> {
    return readingOf(() => this.#source, this.#tide.kernel, this.#serializer, options);
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
  async trim(offset: number): Promise<void> {
    anOffset("offset", offset);
    return this.#ask("upkeep", "trim", offset);
  }
  roll(): Promise<void> {
    return this.#ask("upkeep", "roll");
  }
  clean(): Promise<CleanResult> {
    return this.#ask("upkeep", "clean");
  }
  async explainSeek(target: { readonly offset: number } | { readonly timestamp: number }): Promise<SeekExplanation | undefined> {
    checkTarget("target", target);
    return this.#ask("look", "explainSeek", target);
  }
  async exportSegment(baseOffset: number, options: { readonly leaderEpoch?: number | undefined } = {}): Promise<SegmentExport> {
    anOffset("baseOffset", baseOffset);
    checkOptions("exportSegment()", options, EXPORT_OPTIONS);
    return this.#ask("look", "exportSegment", { baseOffset, leaderEpoch: options.leaderEpoch });
  }
}
