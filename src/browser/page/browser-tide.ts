/**
 * An open tide, as its page has it: the topics, the connection to the worker that leads, and that worker itself where
 * this page holds the lead. Which tab leads is for the tabs to say (membership.ts), once there are others.
 */
import { TidemarkError } from "../../errors.ts";
import type { Kernel } from "../../kernel/types.ts";
import { gone } from "../../store/gone.ts";
import type { LogRecovery } from "../../store/log-store.ts";
import type { TopicSettings } from "../../topic/settings.ts";
import type { OpenOptions, StorageReport, Tide, TideEvent, Topic, TopicOptions } from "../api.ts";
import { Listeners } from "./listeners.ts";
import { parts } from "../platform/parts.ts";
import { newWorkerLock, takeLock, tideLock } from "../platform/locks.ts";
import { sleep } from "../platform/timing.ts";
import { refuseOther } from "../volume/same-engine.ts";
import { PortClient } from "../port/port-client.ts";
import type { Tabs } from "../tabs/membership.ts";
import { BrowserTopic, checkTopic, retried, type TopicHost } from "./browser-topic.ts";
import type { HostOptions, Opened } from "../port/protocol.ts";
import type { Member, WorkerSource } from "../tabs/member.ts";
import { makeWorker } from "./start-worker.ts";
import { storageReport } from "./storage-report.ts";

/** Its script is loaded already: this is for a very busy machine. */
const START_MS = 10_000;
/**
 * Before a file of the package that could not be loaded is tried again: twice as long each time, up to the second
 * figure.
 */
const LOAD_PAUSE_MS = 200;
const LOAD_PAUSE_MS_MAX = 30_000;

type TideOptions = Omit<OpenOptions, "kernel"> & {
  readonly segmentBytes: number;
  readonly leaderTimeoutMs: number;
  readonly kernel: Promise<WebAssembly.Module>;
};

/** Without a message it never ran: a script that can't be loaded, or that a content security policy forbids. */
function workerFailed(message: string | undefined): TidemarkError {
  if (message !== undefined) return new TidemarkError("CLOSED", `the worker failed: ${message}`, { reason: "worker" });
  const text =
    "the worker's script can't be loaded: there is no network, it is not there, or the page's " +
    "content security policy (worker-src, script-src) forbids it";
  return new TidemarkError("LOAD_FAILED", text, { file: "the worker's script" });
}

export class BrowserTide implements Tide, Member, TopicHost {
  readonly lock: string;
  declare storage: StorageReport;
  declare recovery: readonly LogRecovery[];
  role: Tide["role"] = "follower";
  connection: PortClient | undefined;
  /** To its own worker, from before that leads. */
  coming: PortClient | undefined;
  opened: Opened | undefined;
  /** Of the topics that have some, as they are stored. */
  settings = new Map<string, TopicSettings>();
  readonly #topics = new Map<string, BrowserTopic<never>>();
  readonly #listeners = new Listeners();
  /** Where the tabs of this tide meet: whoever says a word here is not alone. */
  lobby: BroadcastChannel;
  /** Once there are others. */
  tabs: Tabs | undefined;
  /** Some other tab has said a word. */
  #hasCompany = false;
  /** The loading of tabs.js, for as long as it takes. */
  #gathering: Promise<void> | undefined;
  /** From when this tab has lost its worker, and tabs.js is not there yet, until it is known how it goes on. */
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
  /** The last leader hangs, and keeps its files locked. */
  takeover: true | undefined;

  /** The page's own. */
  declare kernel: Kernel;

  constructor(
    readonly name: string,
    readonly options: TideOptions,
  ) {
    this.makeWorker = options.worker ?? makeWorker;
    this.lock = tideLock(name);
    this.lobby = new BroadcastChannel(this.lock);
    this.lobby.onmessage = ({ data }) => {
      if (data === "destroyed") return this.destroyed();
      this.#hasCompany = true;
      void this.gather();
    };
  }

  /** LOAD_FAILED when tabs.js can't be loaded now. */
  async meet(): Promise<Tabs> {
    const { Tabs } = await import("../tabs/membership.ts");
    if (this.ended) throw this.ended;
    return (this.tabs ??= new Tabs(this));
  }

  /**
   * Resolves once tabs.js is there, or the tide has ended. Until then this tab can't follow, but it can lead while
   * nobody else does.
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

  /** A file of the package can't be loaded: says so, and waits before it is tried again. */
  async later({ message }: TidemarkError): Promise<void> {
    this.tell({ type: "loadfailed", reason: message });
    await sleep(Math.min(LOAD_PAUSE_MS * 2 ** this.#loads++, LOAD_PAUSE_MS_MAX));
  }

  /** A page that is going may ask for no lock: then it gets none. */
  #lockIfFree(): Promise<(() => void) | undefined> {
    return takeLock(this.lock, { ifAvailable: true }).catch(() => undefined);
  }

  /** Without tabs.js, if nobody else leads by now. */
  async #leadAgain(): Promise<void> {
    const unlock = await this.#lockIfFree();
    if (!unlock || this.tabs || this.ended) return unlock?.();
    await this.lead(unlock).then(
      () => this.tell({ type: "leaderchange", role: "leader", epoch: this.opened!.epoch, via: "worker" }),
      () => undefined,
    );
  }

  /**
   * A connection has ended. A tab that is alone ends with its worker; one that is not goes on behind whoever leads
   * now.
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
      // Whoever took the lead away holds this lock, or waits for it; this tab's own is given back in this turn.
      await sleep(0);
      const unlock = await this.#lockIfFree();
      unlock?.();
      if (unlock) return this.end(error);
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

  /** Resolves when calls go elsewhere than to `connection`, which threw this; rejects when they never will. */
  async #after(connection: PortClient, thrown: TidemarkError): Promise<void> {
    while (!this.tabs && this.#regrouping && this.connection === connection && !this.ended)
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    if (this.tabs) return this.tabs.after(connection, thrown);
    if (this.ended || this.connection === connection) throw thrown;
  }

  /** Starts the worker that leads from now on; `unlock` ends the term. */
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
    // Its first word: it holds its lock. One that dies before that would never be missed.
    const starting = setTimeout(
      () => connection.fail(new TidemarkError("TIMEOUT", "the worker does not start")),
      START_MS,
    );
    connection.onEvent = () => {
      clearTimeout(starting);
      connection.watch();
    };
    try {
      const { segmentBytes } = this.options;
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
      });
      await this.use(connection, "leader");
    } catch (thrown) {
      connection.fail(TidemarkError.from(thrown));
      throw thrown;
    }
  }

  /** Waits until the worker at the other end is ready; from then on all calls go there. */
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
  }

  /**
   * What this tab can't go on with ends it, for good: calls must not come into another tide than they were meant for.
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

  /** Some tab removes the whole tide. */
  destroyed(): void {
    this.end(new TidemarkError("CLOSED", "the tide was destroyed by a tab", { reason: "destroyed" }));
  }

  /** What the worker says. */
  hear(event: TideEvent): void {
    if (event.type === "settings") {
      this.settings.set(event.topic, event.settings);
      this.#topics.get(event.topic)?.stored();
    } else if (event.type === "deleted") {
      this.settings.delete(event.topic);
      // One made anew is not as long.
      this.opened = { ...this.opened!, recovery: this.opened!.recovery.filter(({ log }) => log !== event.topic) };
      this.#topics.get(event.topic)?.end();
    } else if (event.type === "closed") return void this.#resign(this.connection!);
    this.tell(event);
  }

  /** The worker's store failed for good. Data that is gone is so for every tab; else another tab's store may work. */
  async #resign(connection: PortClient): Promise<void> {
    const error = await connection.call<undefined>({ op: "ready" }).catch((thrown: TidemarkError) => thrown);
    if (!error) return;
    if (!this.tabs || error.details["reason"] === "cleared") this.end(error);
    else if (this.role === "leader") connection.fail(error);
  }

  /** It was deleted: a topic of its name is another one. */
  forget(topic: BrowserTopic<never>): void {
    if (this.#topics.get(topic.name) === topic) this.#topics.delete(topic.name);
  }

  tell(event: TideEvent): void {
    this.#listeners.tell(event);
  }

  /** Resolves when the logs are open, here or in another tab; rejects when they never will be. */
  ready(): Promise<void> {
    const connection = this.connection!;
    return connection.call<void>({ op: "ready" }).catch((thrown: TidemarkError) => this.#after(connection, thrown));
  }

  topic<V = unknown>(name: string, options: TopicOptions<V> = {}): Topic<V> {
    checkTopic(name, options);
    const known = this.#topics.get(name);
    if (known) {
      known.again(options as TopicOptions<never>);
      return known as unknown as Topic<V>;
    }
    const topic = new BrowserTopic<V>(name, options, this);
    this.#topics.set(name, topic as unknown as BrowserTopic<never>);
    return topic;
  }

  topics(): Promise<readonly string[]> {
    return retried(this, () => this.connection!.control("topics") as Promise<string[]>);
  }

  async deleteTopic(name: string): Promise<void> {
    checkTopic(name, {});
    const known = this.#topics.get(name);
    // Once: one that was made since is not meant.
    let born: number | undefined;
    await retried(this, async () => {
      const connection = this.connection!;
      born ??= (await connection.call<{ readonly born: number | undefined }>({ op: "topic", topic: name })).born;
      if (born !== undefined) await connection.call({ op: "delete", topic: name, born });
    });
    if (born !== undefined) known?.end();
  }

  readonly on: Tide["on"] = (...args: unknown[]) => this.#listeners.add(args);

  close(): Promise<void> {
    return (this.#closing ??= this.#close());
  }

  async #close(): Promise<void> {
    if (this.ended) return;
    try {
      await Promise.all([...this.#topics.values()].map((topic) => topic.drained()));
      if (this.role === "leader") await this.connection!.call({ op: "close" });
    } catch (thrown) {
      // Its worker went meanwhile, or gave up the lead: all that was acked is there, and nothing is left to close.
      if (!(thrown instanceof TidemarkError && thrown.code === "CLOSED")) throw thrown;
    } finally {
      this.end(new TidemarkError("CLOSED", "the tide is closed", { reason: "closed" }));
    }
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** For good. */
  end(error: TidemarkError): void {
    if (this.ended) return;
    this.ended = error;
    this.lobby.close();
    this.connection?.fail(error);
    // Its worker has not opened the tide yet, and need not.
    this.coming?.fail(error);
    this.tabs?.end(error);
    this.#changed();
    this.tell({ type: "closed", reason: error.message });
  }
}
