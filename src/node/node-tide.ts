/** An open tide in Node, as the application has it. Its topics are a browser's (src/browser/page/browser-topic.ts). */
import { TidemarkError } from "../errors.ts";
import type { StorageReport, Tide, TideEvent, Topic, TopicOptions } from "../browser/api.ts";
import { BrowserTopic, type TopicHost } from "../browser/page/browser-topic.ts";
import { checkTopic } from "../browser/page/topic-checks.ts";
import { retried } from "../browser/page/retried.ts";
import { sleep } from "../browser/platform/timing.ts";
import { deleteNamed } from "../browser/page/delete-topic.ts";
import { Listeners } from "../browser/page/listeners.ts";
import type { PageSync } from "../browser/sync/page-sync.ts";
import type { Kernel } from "../kernel/types.ts";
import type { LogRecovery } from "../store/log-store.ts";
import type { TopicSettings } from "../topic/settings.ts";
import { DirectCalls } from "./direct-calls.ts";
import { StoredTide, type StoredTideOptions } from "./stored-tide.ts";

export class NodeTide implements Tide, TopicHost {
  readonly name: string;
  readonly role = "leader";
  readonly syncing = undefined;
  readonly kernel: Kernel;
  readonly connection: DirectCalls;
  /** Stored settings by topic, for topics that have some. */
  settings = new Map<string, TopicSettings>();
  opened!: { readonly batchBytesMax: number; readonly recovery: readonly LogRecovery[] };
  storage!: StorageReport;
  recovery!: readonly LogRecovery[];
  ended: TidemarkError | undefined;
  readonly #stored: StoredTide;
  readonly #topics = new Map<string, BrowserTopic<unknown>>();
  readonly #listeners = new Listeners();
  #closing: Promise<void> | undefined;

  private constructor(options: Omit<StoredTideOptions, "tell">) {
    this.name = options.folder;
    this.kernel = options.kernel;
    this.#stored = new StoredTide({ ...options, tell: (event) => this.#hear(event) });
    this.connection = new DirectCalls(this.#stored);
  }

  static async open(options: Omit<StoredTideOptions, "tell">): Promise<NodeTide> {
    const tide = new NodeTide(options);
    const { segmentBytes, ...opened } = await tide.#stored.opened();
    tide.opened = opened;
    tide.recovery = opened.recovery;
    tide.settings = new Map(Object.entries(tide.#stored.topics.settings));
    tide.storage = {
      engine: "files",
      durability: "device",
      segmentBytes,
      // Nothing evicts files of a disk.
      persisted: true,
      usageBytes: undefined,
      quotaBytes: undefined,
      rejected: [],
    };
    return tide;
  }

  #hear(event: TideEvent): void {
    if (event.type === "settings") {
      this.settings.set(event.topic, event.settings);
      this.#topics.get(event.topic)?.stored();
    } else if (event.type === "deleted") {
      this.settings.delete(event.topic);
      this.opened = { ...this.opened, recovery: this.opened.recovery.filter(({ log }) => log !== event.topic) };
      this.#topics.get(event.topic)?.end();
    } else if (event.type === "closed") return this.#end(this.#stored.ended!);
    this.#listeners.tell(event);
  }

  ready(): Promise<void> {
    return this.#stored.ready();
  }

  /** There is no worker that could hang. */
  async gather(): Promise<void> {}

  async withSync(_: (sync: PageSync) => unknown): Promise<never> {
    throw new TidemarkError(
      "INVALID_ARGUMENT",
      'a tide in Node has no sync: acks are at most "flushed"; for an edge use tidemark/client',
      { reason: "sync" },
    );
  }

  sync(): Promise<never> {
    return this.withSync(() => undefined);
  }

  forget(topic: BrowserTopic<unknown>): void {
    if (this.#topics.get(topic.name) === topic) this.#topics.delete(topic.name);
  }

  readonly topic: Tide["topic"] = (<V>(name: string, options: TopicOptions<V> = {}): Topic<V> => {
    checkTopic(name, options);
    if (this.ended) throw this.ended;
    const known = this.#topics.get(name);
    if (known) {
      known.again(options as TopicOptions<never>);
      return known as Topic<V>;
    }
    const topic = new BrowserTopic<V>(name, options, this);
    this.#topics.set(name, topic);
    return topic;
  }) as Tide["topic"];

  topics(): Promise<readonly string[]> {
    return retried(this, () => this.connection.control("topics") as Promise<string[]>);
  }

  deleteTopic(name: string): Promise<void> {
    return deleteNamed(this, name, retried, this.#topics.get(name));
  }

  readonly on: Tide["on"] = (...args: unknown[]) => this.#listeners.add(args);

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    if (this.ended) return;
    try {
      await Promise.allSettled([...this.#topics.values()].map((topic) => topic.drained(sleep)));
      await this.#stored.close();
    } catch (thrown) {
      // Its store ended meanwhile. Everything acked is stored, and nothing is left to close.
      if (!(thrown instanceof TidemarkError && thrown.code === "CLOSED")) throw thrown;
    } finally {
      this.#end(new TidemarkError("CLOSED", "the tide is closed", { reason: "closed" }));
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #end(error: TidemarkError): void {
    if (this.ended) return;
    this.ended = error;
    this.#listeners.tell({ type: "closed", reason: error.message, error });
  }
}
