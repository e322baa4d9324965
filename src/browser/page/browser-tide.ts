/**
 * An open tide, as its page has it: the topics, the connection to the worker that leads, and that worker itself if this
 * page holds the lead. Once there are other tabs, the code of tabs/ decides which tab leads (membership.ts).
 */
import { TidemarkError } from "../../errors.ts";
import type { Kernel } from "../../kernel/types.ts";
import { gone } from "../../store/gone.ts";
import type { LogRecovery } from "../../store/log-store.ts";
import { refused } from "../../topic/check.ts";
import type { TopicSettings } from "../../topic/settings.ts";
import type { RecordInput } from "../../topic/input.ts";
import type { EventMap, EventTypes } from "../../typed/events.ts";
import type { InferInput, InferOutput, StandardSchema } from "../../typed/standard-schema.ts";
import type {
  EventTopic,
  OpenOptions,
  StorageReport,
  Tide,
  TideEvent,
  Topic,
  TopicOptions,
  TypedTopicOptions,
} from "../api.ts";
import type { Sync, SyncEvent, SyncOptions } from "../sync-api.ts";
import type { PageSync } from "../sync/page-sync.ts";
import { report } from "../platform/errors.ts";
import { Listeners } from "./listeners.ts";
import { parts } from "../platform/parts.ts";
import { newWorkerLock, takeLock, tideLock } from "../platform/locks.ts";
import { sleep } from "../platform/timing.ts";
import { refuseOther } from "../volume/same-engine.ts";
import { PortClient } from "../port/port-client.ts";
import type { Tabs } from "../tabs/membership.ts";
import { BrowserTopic, type TopicHost } from "./browser-topic.ts";
import { checkTopic } from "./topic-checks.ts";
import { retried } from "./retried.ts";
import type { HostOptions, Opened } from "../port/protocol.ts";
import type { Member, WorkerSource } from "../tabs/member.ts";
import { makeWorker } from "./start-worker.ts";
import { storageReport } from "./storage-report.ts";

/** The worker's script is loaded already, so only a very busy machine needs this long. */
const START_MS = 10_000;
/**
 * The first pause before a file of the package that could not be loaded is tried again. It doubles each time, up to
 * LOAD_PAUSE_MS_MAX.
 */
const LOAD_PAUSE_MS = 200;
const LOAD_PAUSE_MS_MAX = 30_000;

type TideOptions = Omit<OpenOptions, "kernel"> & {
  readonly segmentBytes: number;
  readonly leaderTimeoutMs: number;
  readonly kernel: Promise<WebAssembly.Module>;
};

/** The error for a worker that failed. Without a message it never ran. */
function workerFailed(message: string | undefined): TidemarkError {
  if (message !== undefined) return new TidemarkError("CLOSED", `the worker failed: ${message}`, { reason: "worker" });
  const text =
    "the worker's script can't be loaded: no network, no file, a policy, or no Cross-Origin-Embedder-Policy on it";
  return new TidemarkError("LOAD_FAILED", text, { file: "the worker's script" });
}

export class BrowserTide implements Tide, Member, TopicHost {
  readonly lock: string;
  declare storage: StorageReport;
  declare recovery: readonly LogRecovery[];
  role: Tide["role"] = "follower";
  connection: PortClient | undefined;
  /** The connection to its own worker, before that leads. */
  coming: PortClient | undefined;
  opened: Opened | undefined;
  /** Stored settings by topic, for topics that have some. */
  settings = new Map<string, TopicSettings>();
  readonly #topics = new Map<string, BrowserTopic<unknown>>();
  /** Its part of sync says so itself, once something is synced. */
  syncing: PageSync | undefined;
  #sync: Promise<PageSync | undefined> = Promise.resolve(undefined);
  readonly #listeners = new Listeners();
  /** The channel on which the tabs of this tide meet. A tab that sends something here has company. */
  lobby: BroadcastChannel;
  /** Set once there are other tabs. */
  tabs: Tabs | undefined;
  /** True once another tab has sent something. */
  #hasCompany = false;
  /** The loading of tabs.js, while it lasts. */
  #gathering: Promise<void> | undefined;
  /** True after this tab has lost its worker while tabs.js was not loaded, until it is known how the tab goes on. */
  #regrouping = false;
  #loads = 0;
  readonly #waiting: (() => void)[] = [];
  #closing: Promise<void> | undefined;
  ended: TidemarkError | undefined;
  readonly makeWorker: () => Worker;
  readonly #fresh: WorkerSource = {
    take: () => this.makeWorker(),
    order: (worker, options) => worker.postMessage(options, [options.port]),
  };
  /** Set if the last leader hangs and keeps its files locked. */
  takeover: true | undefined;

  /** The kernel of the page itself. */
  declare kernel: Kernel;

  constructor(
    readonly name: string,
    readonly options: TideOptions,
  ) {
    this.makeWorker = () => {
      const worker = (options.worker ?? makeWorker)();
      // A Promise of one, for example.
      if (!(worker as Partial<Worker> | undefined)?.terminate)
        throw refused("worker", worker, "a function that gives a Worker");
      return worker;
    };
    this.lock = tideLock(name);
    this.lobby = new BroadcastChannel(this.lock);
    this.lobby.onmessage = ({ data }) => {
      if (data === "destroyed") return this.destroyed();
      this.#hasCompany = true;
      void this.gather();
    };
  }

  /** LOAD_FAILED if tabs.js can't be loaded now. */
  async meet(): Promise<Tabs> {
    const { Tabs } = await import("../tabs/membership.ts");
    if (this.ended) throw this.ended;
    return (this.tabs ??= new Tabs(this));
  }

  /**
   * Resolves once tabs.js is loaded, or the tide has ended. Until then this tab can't follow, but it can lead as long
   * as nobody else does.
   */
  gather(): Promise<void> {
    return (this.#gathering ??= this.#gather().finally(() => (this.#gathering = undefined)));
  }

  async #gather(): Promise<void> {
    while (!this.tabs && !this.ended) {
      try {
        await this.meet();
        this.#loads = 0;
      } catch (thrown) {
        if (this.ended) break;
        await this.later(TidemarkError.from(thrown));
        if (this.#regrouping) await this.#leadAgain();
      }
    }
    this.#changed();
  }

  /** A file of the package can't be loaded: sends the event and waits before the next try. */
  async later({ message }: TidemarkError): Promise<void> {
    this.tell({ type: "loadfailed", reason: message });
    await sleep(Math.min(LOAD_PAUSE_MS * 2 ** this.#loads++, LOAD_PAUSE_MS_MAX));
  }

  /** A page that is going may not ask for a lock; then it gets none. */
  #lockIfFree(): Promise<(() => void) | undefined> {
    return takeLock(this.lock, { ifAvailable: true }).catch(() => undefined);
  }

  /** Leads without tabs.js, if nobody else leads by now. */
  async #leadAgain(): Promise<void> {
    const unlock = await this.#lockIfFree();
    if (!unlock || this.tabs || this.ended) return unlock?.();
    await this.lead(unlock).then(
      () => this.tell({ type: "leaderchange", role: "leader", epoch: this.opened!.epoch, via: "worker" }),
      () => undefined,
    );
  }

  /**
   * A connection has ended. If the tab is alone, the tide ends with its worker. Otherwise it goes on with the tab that
   * leads now.
   */
  #lost(error: TidemarkError): void {
    if (this.tabs) return this.tabs.end(error);
    if (this.ended) return;
    this.role = "follower";
    this.#regrouping = true;
    void this.#regroup(error);
  }

  async #regroup(error: TidemarkError): Promise<void> {
    if (!this.#hasCompany && error.details["reason"] !== "deposed") {
      // The tab that took the lead away holds this lock or waits for it. This tab gives its own back in this turn.
      await sleep(0);
      const unlock = await this.#lockIfFree();
      unlock?.();
      // Another tab may have spoken meanwhile, and waits for this one.
      if (unlock && !this.#hasCompany) return this.end(error);
    }
    const lost = this.connection;
    this.tell({ type: "leaderlost", reason: error.message });
    await this.gather();
    if (this.tabs && this.connection === lost) this.tabs.end(error);
    this.#regrouping = false;
    this.#changed();
  }

  #changed(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves when calls go to another connection than `connection`, which threw this. Rejects when they never will. */
  async #after(connection: PortClient, thrown: TidemarkError): Promise<void> {
    while (!this.tabs && this.#regrouping && this.connection === connection && !this.ended)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.tabs) return this.tabs.after(connection, thrown);
    if (this.ended || this.connection === connection) throw thrown;
  }

  /** Starts the worker that leads from now on. `unlock` ends the term. */
  async lead(unlock: () => void, source: WorkerSource = this.#fresh): Promise<void> {
    if (this.ended) {
      unlock();
      throw this.ended;
    }
    const { port1, port2: port } = new MessageChannel();
    let worker: Worker | undefined;
    const lifeLock = newWorkerLock(this.name);
    const connection = (this.coming = new PortClient(port1, lifeLock, () => {
      clearTimeout(starting);
      worker?.terminate();
      unlock();
    }));
    // Its first message says that it holds its lock. If it dies before that, only this timer notices.
    const starting = setTimeout(
      () => connection.fail(new TidemarkError("TIMEOUT", "the worker does not start")),
      START_MS,
    );
    connection.onEvent = () => {
      clearTimeout(starting);
      connection.watch();
    };
    try {
      const { segmentBytes, sync } = this.options;
      const { engine = this.options.engine ?? "auto", id } = this.opened ?? {};
      worker = source.take();
      worker.onerror = ({ message }) => connection.fail(workerFailed(message));
      const kernel = await this.options.kernel;
      source.order(worker, {
        name: this.name,
        engine,
        segmentBytes,
        kernel,
        parts,
        port,
        lifeLock,
        takeover: this.takeover,
        id,
        syncs: !!sync,
      });
      await this.use(connection, "leader");
    } catch (thrown) {
      connection.fail(TidemarkError.from(thrown));
      throw thrown;
    }
  }

  /** Waits until the worker at the other end is ready. From then on all calls go there. */
  async use(connection: PortClient, role: Tide["role"]): Promise<void> {
    const [opened, report] = (await Promise.all([
      connection.ready,
      this.storage ?? storageReport(this.options.persist),
    ])) as [Opened, StorageReport];
    const { engine, durability, segmentBytes, rejected, recovery } = opened;
    this.#judge(opened);
    this.storage ??= { ...report, engine, durability, segmentBytes, rejected };
    this.recovery ??= recovery;
    const ended = connection.ended ?? this.ended;
    if (ended) throw ended;
    this.settings = new Map(Object.entries(opened.settings));
    connection.onEvent = (event) => this.hear(event);
    connection.onEnd = (error) => this.#lost(error);
    this.connection = connection;
    this.opened = opened;
    this.role = role;
    this.#regrouping = false;
    this.#loads = 0;
    this.#changed();
    this.tabs?.connected();
    this.syncing?.connected();
  }

  /**
   * If this tab can't go on with what was opened, the tide ends for good: calls must not reach another tide than they
   * were meant for.
   */
  #judge({ engine, id }: Opened): void {
    try {
      refuseOther(this.name, engine, this.options.engine ?? "auto");
      if (this.opened && this.opened.id !== id) throw gone();
    } catch (thrown) {
      this.end(thrown as TidemarkError);
      throw thrown;
    }
  }

  /** Another tab removes the whole tide. */
  destroyed(): void {
    this.end(new TidemarkError("CLOSED", "the tide was destroyed by a tab", { reason: "destroyed" }));
  }

  /** An event of the worker. */
  hear(event: TideEvent): void {
    if (event.type === "settings") {
      this.settings.set(event.topic, event.settings);
      this.#topics.get(event.topic)?.stored();
    } else if (event.type === "deleted") {
      this.settings.delete(event.topic);
      // A topic that is made again under the name has no such report.
      this.opened = { ...this.opened!, recovery: this.opened!.recovery.filter(({ log }) => log !== event.topic) };
      this.#topics.get(event.topic)?.end(event.kept);
    } else if (event.type === "closed") return void this.#resign(this.connection!);
    else if (event.type === "sync") {
      this.withSync((sync) => sync.hear(event.event)).catch(report);
      return;
    }
    this.tell(event);
  }

  /**
   * The worker's store failed for good. If data are gone, they are gone for every tab; otherwise another tab's store
   * may work.
   */
  async #resign(connection: PortClient): Promise<void> {
    const error = await connection.call<undefined>({ op: "ready" }).catch((thrown: TidemarkError) => thrown);
    if (!error) return;
    if (!this.tabs || error.details["reason"] === "cleared") this.end(error);
    else if (this.role === "leader") connection.fail(error);
  }

  /** The topic was deleted: a later topic of its name is another one. */
  forget(topic: BrowserTopic<unknown>): void {
    if (this.#topics.get(topic.name) === topic) this.#topics.delete(topic.name);
  }

  tell(event: TideEvent): void {
    this.#listeners.tell(event);
  }

  /** Resolves when the logs are open, here or in another tab. Rejects when they never will be. */
  ready(): Promise<void> {
    const connection = this.connection!;
    return connection.call<void>({ op: "ready" }).catch((thrown: TidemarkError) => this.#after(connection, thrown));
  }

  // --- sync --------------------------------------------------------------------------------------------------------

  /** Its part of the package, and this page's side of it. One after the other, so that news keep their order. */
  withSync<T>(work: (sync: PageSync) => T | Promise<T>): Promise<T> {
    const ask = (asked: object, signal?: AbortSignal): Promise<unknown> =>
      retried(this, () => this.connection!.call<unknown>({ op: "sync", ask: asked }, signal), signal);
    const sync = this.#sync
      .catch(() => undefined)
      .then(
        async (made) =>
          made ?? (await import("../sync/page-sync.ts")).pageSync({ ask, tide: this, topics: this.#topics }),
      );
    this.#sync = sync;
    return sync.then(work);
  }

  sync(options: SyncOptions): Promise<Sync> {
    return this.withSync((sync) => sync.start(options));
  }

  topic<M extends EventMap>(name: string, options: TypedTopicOptions<EventTypes<M>>): EventTopic<M>;
  topic<S extends StandardSchema>(
    name: string,
    options: TypedTopicOptions<S>,
  ): Topic<InferOutput<S>, RecordInput<InferInput<S>>>;
  topic<V = unknown>(name: string, options?: TopicOptions<V>): Topic<V>;
  topic(name: string, options: object = {}): object {
    checkTopic(name, options);
    this.syncing?.checkTopic(name, (options as TopicOptions<never>).serializer);
    const known = this.#topics.get(name);
    if (known) {
      known.again(options);
      return known;
    }
    const topic = new BrowserTopic(name, options, this);
    this.#topics.set(name, topic);
    return topic;
  }

  topics(): Promise<readonly string[]> {
    return retried(this, () => this.connection!.control("topics") as Promise<string[]>);
  }

  async deleteTopic(name: string): Promise<void> {
    const { deleteNamed } = await import("./delete-topic.ts");
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
      if (this.role === "leader") await this.connection!.call({ op: "close" });
    } catch (thrown) {
      // Its worker ended meanwhile, or gave up the lead. Everything acked is stored, and nothing is left to close.
      if (!(thrown instanceof TidemarkError && thrown.code === "CLOSED")) throw thrown;
    } finally {
      this.end(new TidemarkError("CLOSED", "the tide is closed", { reason: "closed" }));
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Ends the tide for good. */
  end(error: TidemarkError): void {
    if (this.ended) return;
    this.ended = error;
    this.lobby.close();
    this.connection?.fail(error);
    // Its worker has not opened the tide yet, and need not any more.
    this.coming?.fail(error);
    this.tabs?.end(error);
    this.syncing?.end(error);
    this.#changed();
    this.tell({ type: "closed", reason: error.message, error });
  }
}
