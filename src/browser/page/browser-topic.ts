/** A topic as the application sees it: values in, records out. Batches are made and checked here, in the page. */
import { TidemarkError } from "../../errors.ts";
import { Producer, type Sent } from "../../delivery/producer.ts";
import { BatchReading } from "../../delivery/reading.ts";
import type { Kernel } from "../../kernel/types.ts";
import { DEFAULT_SETTINGS } from "../../log/limits.ts";
import type { CleanResult, Fetched, FetchOptions, Isolation, StartPosition } from "../../log/types.ts";
import type { LogRecovery } from "../../store/log-store.ts";
import { callback, checkOptions } from "../../topic/check.ts";
import { type RecordInput, recordOf, recordsOf } from "../../topic/input.ts";
import { APPEND_ALL_OPTIONS, CHANGES_OPTIONS, TYPING, producerIdOf } from "../../topic/options.ts";
import { batchesOf, readingOf } from "../../topic/reading.ts";
import { type Serializer, serializerOf } from "../../topic/serializer.ts";
import { changedSettings, recordBytesMaxOf, settingsOf, type TopicSettings } from "../../topic/settings.ts";
import { shownView } from "../../topic/shown-view.ts";
import type { EventAppends, EventTypes } from "../../typed/events.ts";
import type { Middleware } from "../../typed/middleware.ts";
import type { AnyProducer } from "../../typed/typed-producer.ts";
import type { Acks } from "../../log/types.ts";
import type {
  Ack,
  AppendAcks,
  AppendAllOptions,
  AppendOptions,
  BatchAck,
  Change,
  ChangesOptions,
  ImportedFile,
  ReadOptions,
  RecordStatus,
  SeekExplanation,
  SegmentExport,
  SegmentImport,
  SegmentsImported,
  Tide,
  Topic,
  TopicBatch,
  TopicOptions,
  TopicRecord,
  TopicState,
  View,
  ViewOptions,
} from "../api.ts";
import { PROVISIONAL_FROM } from "../../log/provisional-layout.ts";
import { outboxName } from "../../sync/log-names.ts";
import { sleep } from "../platform/timing.ts";
import type { PageSync } from "../sync/page-sync.ts";
import { deleted } from "../worker/topics.ts";
import { placedAck } from "./placed-ack.ts";
import { retried } from "./retried.ts";
import { SlowAppends } from "./slow-appends.ts";
import type { ChangingTopic } from "./topic-changes.ts";
import { type AnyTopicOptions, type Own, ownOptions, PAGE_APPEND_OPTIONS } from "./topic-checks.ts";
import { kept, typedDoor } from "./typed-door.ts";
import type { Control } from "../port/envelope.ts";
import type { PortClient } from "../port/port-client.ts";
import type { FetchRequest, Opened, ResolveRequest } from "../port/protocol.ts";

/** The calls of topics, to the worker that leads; in Node straight to the logs. */
export type TopicCalls = Pick<PortClient, "append" | "call" | "control">;

/** What a topic needs of its open tide. */
export interface TopicHost extends Pick<Tide, "on" | "name" | "topic"> {
  readonly kernel: Kernel;
  /** Stored settings by topic, for topics that have some. */
  readonly settings: ReadonlyMap<string, TopicSettings>;
  /** Where calls go to, and what was found there when it opened. */
  readonly connection: TopicCalls | undefined;
  readonly opened: Pick<Opened, "batchBytesMax" | "recovery"> | undefined;
  readonly ended: TidemarkError | undefined;
  /** Resolves when the logs are open, here or in another tab. Rejects when they never will be. */
  ready(): Promise<void>;
  /** Checks whether the worker still answers. */
  gather(): Promise<void>;
  /** Loads what keeps topics in step with an edge. */
  withSync<T>(work: (sync: PageSync) => T | Promise<T>): Promise<T>;
  /** The topic was deleted: a later topic of its name is another one. */
  forget(topic: BrowserTopic<unknown>): void;
}

/** What the log of this device is asked for. */
const localAcks = (acks: AppendAcks): Acks => (acks === "replicated" ? "flushed" : acks);

export class BrowserTopic<V> implements Topic<V> {
  readonly name: string;
  readonly #tide: TopicHost;
  readonly #own: Own;
  /** Settings that were given here and may not be stored yet. */
  #given: TopicSettings | undefined;
  /** True if the worker has these settings, and stores them when the topic is made. */
  #told = false;
  /** When the topic was made; see topics.ts. */
  #born: number | undefined;
  /** The error of every call once the topic was deleted. */
  #gone: TidemarkError | undefined;
  readonly #serializer: Serializer<V>;
  #producer: Producer | ReturnType<typeof typedDoor>;
  /** Middleware of use(). Undefined until the topic has any, or a schema. */
  #used: Middleware[] | undefined;
  readonly #source: ChangingTopic<V> & { typed?: ChangingTopic<V>["typed"] };
  /** The connection on which the topic is open. */
  #port: TopicCalls | undefined;
  #opened!: Promise<void>;
  readonly #slow: SlowAppends;

  constructor(name: string, options: TopicOptions<V>, tide: TopicHost) {
    this.name = name;
    this.#tide = tide;
    this.#own = ownOptions(options as TopicOptions<never>);
    this.#serializer = serializerOf<V>(options.serializer);
    this.#source = {
      name,
      tide,
      kernel: tide.kernel,
      serializer: this.#serializer,
      born: () => this.#born,
      fetch: (from, { signal, ...options }) => this.#call({ op: "fetch", topic: name, from, ...options }, signal),
      resolve: async (position, isolation) => {
        const { timestamp, last } = position as { timestamp?: number; last?: number };
        // A plain object: one of a framework's own, such as a reactive one, can't be sent to a worker.
        if (timestamp !== undefined) position = { timestamp };
        if (last !== undefined) position = { last };
        return (await this.#call<{ readonly offset: number }>({ op: "resolve", topic: name, position, isolation }))
          .offset;
      },
    };
    const { codec, batchBytes, inFlightBytesMax } = this.#own;
    const topic = this;
    this.#slow = new SlowAppends(() => void tide.gather());
    this.#producer = new Producer({
      kernel: tide.kernel,
      send: (batch, options) => this.#send(batch, options),
      reopened: () => tide.ready(),
      pause: sleep,
      schedule: (work) => queueMicrotask(work),
      newId: () => producerIdOf(crypto.getRandomValues(new BigUint64Array(1))),
      acked: (ack, owner, at) => placedAck(ack, tide, name, owner, at),
      logEnd: () => knownEnd(tide.opened?.recovery ?? [], name),
      codec,
      get batchBytes() {
        return Math.min(batchBytes, this.batchBytesMax);
      },
      get recordBytesMax() {
        return recordBytesMaxOf(tide.settings.get(name), topic.#given);
      },
      // The limit of the volume at the other end. After a change of the leader that may be another one.
      get batchBytesMax() {
        return Math.min(DEFAULT_SETTINGS.batchBytesMax, tide.opened!.batchBytesMax);
      },
      inFlightBytesMax,
    });
    this.#give(options);
    if (TYPING.some((name) => this.#own[name] !== undefined)) this.#type(options);
    Object.assign(this, (this.#own.schema as EventTypes | undefined)?.["~calls"]?.(this as EventAppends));
  }

  /** From now on appends and reads go through schema and middleware. */
  #type(options: object): Middleware[] {
    if (!this.#used) {
      this.#used = [];
      const door = typedDoor({
        ...this.#own,
        name: this.name,
        options,
        serializer: this.#serializer as Serializer<never>,
        plain: this.#producer as Producer,
        used: this.#used,
      });
      this.#producer = door;
      this.#source.typed = door.typed;
    }
    return this.#used;
  }

  use(middleware: Middleware): this {
    callback("use", middleware);
    this.#type({}).push(middleware);
    return this;
  }

  /** As the page has the topic. */
  get serializer(): Own["serializer"] {
    return this.#own.serializer;
  }

  /** The page calls topic() again. INVALID_ARGUMENT if it has the topic with other options. Its functions stay. */
  again(options: AnyTopicOptions): void {
    for (const [name, mine] of Object.entries(this.#own)) {
      const given = options[name as keyof Own];
      if (given === undefined || given === mine) continue;
      const isMade = Object(mine) === mine;
      // Written in place they are made anew by each call, and nobody can tell whether they do the same.
      if (isMade && typeof given === typeof mine && (name === "upcast" || name === "onInvalid")) continue;
      const has = isMade ? "another object" : (JSON.stringify(mine) ?? "none");
      throw new TidemarkError(
        "INVALID_ARGUMENT",
        `${name} of topic ${this.name} is ${has} in this page: leave it out, or give that`,
        { field: name, topic: this.name },
      );
    }
    this.#give(options);
  }

  /** Sends settings to the worker without waiting. A call that needs them comes after them. */
  #give(options: TopicOptions<V>): void {
    const given = settingsOf(options);
    if (!given || !changedSettings({ ...this.#tide.settings.get(this.name), ...this.#given }, given)) return;
    this.#given = { ...this.#given, ...given };
    this.#told = false;
    this.#port = undefined;
    retried(this.#tide, () => (this.#open(), this.#opened)).catch(() => undefined);
  }

  /** The settings that the worker had of this page are now stored, or were changed since. */
  stored(): void {
    if (this.#told) this.#given = undefined;
  }

  /** `kept`: where its records are, if its sync was ended. */
  end(kept?: string, error = deleted(this.name, kept)): void {
    this.#gone ??= error;
    this.#tide.forget(this);
  }

  /** An answer that says that the topic was deleted ends this object: every further call gets that error. */
  #judge(thrown: unknown): never {
    if (thrown instanceof TidemarkError && thrown.code === "UNKNOWN_TOPIC" && thrown.details["deleted"])
      this.end(undefined, thrown);
    throw thrown;
  }

  async #send(batch: Uint8Array, options: object): Promise<Sent> {
    this.#slow.sent();
    try {
      const result = await this.#open().append({ topic: this.name, batch, born: this.#born, ...options });
      this.#born ??= result.born;
      return result;
    } catch (thrown) {
      return this.#judge(thrown);
    } finally {
      this.#slow.answered();
    }
  }

  /**
   * Opens the topic once for each leader, and again after a failure, which may pass (a full disk). Messages that are
   * sent next arrive after it and need not wait.
   */
  #open(): TopicCalls {
    if (this.#gone) throw this.#gone;
    const port = this.#tide.connection!;
    if (this.#port !== port) {
      this.#port = port;
      this.#opened = this.#ask(port);
      this.#opened.catch(() => this.#port === port && (this.#port = undefined));
    }
    return port;
  }

  async #ask(port: TopicCalls): Promise<void> {
    const given = this.#given;
    try {
      const { born } = await port.call<{ readonly born: number | undefined }>({
        op: "topic",
        topic: this.name,
        settings: given,
        born: this.#born,
      });
      this.#born ??= born;
      if (this.#given !== given) return;
      if (born === undefined) this.#told = true;
      else this.#given = undefined;
    } catch (thrown) {
      // The settings were refused for good.
      if ((thrown as TidemarkError).kind === "fix" && this.#given === given) this.#given = undefined;
      this.#judge(thrown);
    }
  }

  append(record: RecordInput<V>, options?: AppendOptions): Promise<Ack> {
    try {
      if (options !== undefined) checkOptions("append()", options, PAGE_APPEND_OPTIONS);
      return this.#append(record, options);
    } catch (thrown) {
      return Promise.reject(thrown);
    }
  }

  #append(record: RecordInput<V>, { acks = this.#own.acks, ifEnd }: AppendOptions = {}): Promise<Ack> {
    const acked = this.#producer.append(recordOf(record, this.#serializer, Date.now), localAcks(acks), ifEnd);
    return this.#reached(acks, acked as Promise<Ack>);
  }

  async appendBatch(records: readonly RecordInput<V>[], options: AppendOptions = {}): Promise<BatchAck> {
    checkOptions("appendBatch()", options, PAGE_APPEND_OPTIONS);
    const { acks = this.#own.acks, ifEnd } = options;
    const acked = this.#producer.appendBatch(
      recordsOf(
        records,
        this.#serializer,
        Date.now,
        // Our own serializers make new bytes for each value, and a million records should not be copied.
        Array.isArray(records) && typeof this.#own.serializer === "string" ? undefined : kept,
      ),
      localAcks(acks),
      ifEnd,
    ) as Promise<BatchAck>;
    return this.#reached(acks, acked);
  }

  #reached<T extends Ack>(acks: AppendAcks, acked: Promise<T>): Promise<T> {
    return acks === "replicated" ? this.#tide.withSync((sync) => sync.replicated(acked)) : acked;
  }

  async appendAll(records: Iterable<RecordInput<V>> | AsyncIterable<RecordInput<V>>, options: AppendAllOptions = {}) {
    checkOptions("appendAll()", options, APPEND_ALL_OPTIONS);
    const { appendAll } = await import("./append-all.ts");
    const { acks = this.#own.acks, ...more } = options;
    return appendAll({
      records,
      append: (record: RecordInput<V>) => this.#append(record, { acks }),
      producer: this.#producer,
      inFlightBytesMax: this.#own.inFlightBytesMax,
      tide: this.#tide,
      options: more,
    });
  }

  /**
   * Resolves when everything appended so far is acked or has failed. `pause` is given by close(), which waits 30 s for
   * schemas and middleware: what they have not let pass by then is CLOSED.
   */
  drained(pause?: typeof sleep): Promise<void> {
    return (this.#producer as Pick<AnyProducer, "drained">).drained(1, pause);
  }

  // --- reading -----------------------------------------------------------------------------------------------------

  #call<T = Fetched>(request: FetchRequest | ResolveRequest, signal?: AbortSignal): Promise<T> {
    const call = async (): Promise<T> => {
      const found = await this.#open().call<T & { readonly born?: number }>({ ...request, born: this.#born }, signal);
      this.#born ??= found.born;
      return found;
    };
    return this.#retried(call, signal);
  }

  #retried<T>(call: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    return retried(this.#tide, () => call().catch((thrown: unknown) => this.#judge(thrown)), signal);
  }

  readBatches(options?: ReadOptions): AsyncIterableIterator<TopicBatch<V>> {
    return batchesOf(() => this.#source, this.#tide.kernel, this.#serializer, options);
  }

  read(options?: ReadOptions): AsyncIterableIterator<TopicRecord<V>> {
    return readingOf(() => this.#source, this.#tide.kernel, this.#serializer, options);
  }

  changes(options: ChangesOptions = {}): AsyncIterableIterator<Change<V>> {
    checkOptions("changes()", options, CHANGES_OPTIONS);
    const given = { ...options, follow: true };
    const topic = this.#source;
    const ended = new AbortController();
    const source = (async function* () {
      const { changesOf } = await import("./topic-changes.ts");
      yield* changesOf(topic, given, ended.signal);
    })();
    return new BatchReading(source, ended, given);
  }

  view<S>(options: ViewOptions<S, V>): View<S> {
    return shownView(options, async (view) => (await import("./topic-view.ts")).runView(view, this.#source, options));
  }

  // --- upkeep and tools --------------------------------------------------------------------------------------------

  #control<Result>(method: keyof Control, ...args: unknown[]): Promise<Result> {
    const call = async (): Promise<Result> => {
      const port = this.#open();
      // Trim, roll and clean go over another port, so they wait until the topic is open.
      await this.#opened;
      // The topic may have been made after it was opened here, so its birth is asked for first: the tool must show this
      // topic and no later one.
      if (this.#born === undefined) await this.#ask(port);
      return port.control(method, this.name, this.#born, ...args) as Promise<Result>;
    };
    return this.#retried(call);
  }
  state(): Promise<TopicState> {
    return this.#control("state");
  }
  statusOf(id: string): Promise<RecordStatus> {
    return this.#control("look", "statusOf", id);
  }
  trim(offset: number): Promise<void> {
    return this.#control("upkeep", "trim", offset);
  }
  roll(): Promise<void> {
    return this.#control("upkeep", "roll");
  }
  clean(): Promise<CleanResult> {
    return this.#control("upkeep", "clean");
  }
  explainSeek(
    target: { readonly offset: number } | { readonly timestamp: number },
  ): Promise<SeekExplanation | undefined> {
    return this.#control("look", "explainSeek", target);
  }
  exportSegment(baseOffset: number, options?: { readonly leaderEpoch?: number | undefined }): Promise<SegmentExport> {
    return this.#control("look", "exportSegment", { baseOffset, options });
  }
  async *export(options?: { readonly leaderEpoch?: number | undefined }): AsyncGenerator<SegmentExport> {
    yield* (await import("./whole-topic.ts")).exportAll(this, options);
  }
  async importSegments(files: Iterable<ImportedFile>, options?: SegmentImport): Promise<SegmentsImported> {
    const { importOnce } = await import("./whole-topic.ts");
    return importOnce((asked) => this.#control("look", "importSegments", asked), files, options);
  }
}

/**
 * An offset that the log had reached when it was opened last, as appends count it: of a synced topic a position of its
 * outbox, never an offset of its replica.
 */
function knownEnd(recovery: readonly LogRecovery[], topic: string): number {
  const endOf = (name: string): number | undefined => recovery.find(({ log }) => log === name)?.logEndOffset;
  const position = endOf(outboxName(topic));
  return position === undefined ? (endOf(topic) ?? 0) : PROVISIONAL_FROM + position;
}
