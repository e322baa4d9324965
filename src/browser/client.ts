/**
 * What open() does: one page, one worker, one volume.
 *
 *   page holds Web Lock "tidemark:<name>"  ──▶ a second page is told ALREADY_OPEN
 *   worker holds a lock of its own         ──▶ when it is free, the worker is gone: every call that waits is settled
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { instantiateKernel } from "../kernel/wasm-kernel.ts";
import type { LogRecovery } from "../store/log-store.ts";
import type { OpenOptions, StorageReport, Tide, TideEvent, Topic, TopicOptions } from "./api.ts";
import { makeWorker } from "./assets.ts";
import { parts } from "./parts.ts";
import { sleep } from "./platform.ts";
import { PortClient } from "./port-client.ts";
import { BrowserTopic } from "./topic.ts";
import type { Control } from "./control.ts";
import type { HostOptions, Opened } from "./worker-host.ts";

/** Chromium grants quota to a growing file by doubling, so many files of this size use a quota far better than one. */
const SEGMENT_BYTES = 8 * 1024 * 1024;
const SEGMENT_BYTES_MIN = 64 * 1024;
const SEGMENT_BYTES_MAX = 64 * 1024 * 1024;
/** persist() may wait for a prompt that nobody answers. */
const PERSIST_WAIT_MS = 3_000;
const NAME = /^[A-Za-z0-9._-]{1,100}$/;

/** A control call that throws what went wrong, and never hangs. */
export type ControlCall = <Method extends keyof Control>(method: Method, ...args: Parameters<Control[Method]>) => ReturnType<Control[Method]>;

/** Opens the tide of this name, makes it when it is new. ALREADY_OPEN, NO_STORAGE, CORRUPT_CATALOG, QUOTA_EXCEEDED. */
export async function openTide(name: string, options: OpenOptions & Required<Pick<OpenOptions, "kernel">>): Promise<Tide> {
  const { segmentBytes = SEGMENT_BYTES, signal } = options;
  if (!NAME.test(name)) throw new TidemarkError("INVALID_ARGUMENT", "a name is 1 to 100 of A-Z a-z 0-9 . _ -", { name });
  const inRange = segmentBytes >= SEGMENT_BYTES_MIN && segmentBytes <= SEGMENT_BYTES_MAX;
  if (!inRange || (segmentBytes & (segmentBytes - 1)) !== 0) {
    throw new TidemarkError("INVALID_ARGUMENT", "segmentBytes is a power of two from 64 KiB to 64 MiB", { segmentBytes });
  }
  signal?.throwIfAborted();
  const unlock = await takeLock(`tidemark:${name}`);
  let connection: Connection | undefined;
  try {
    const module = await compileKernel(options.kernel);
    connection = new Connection(options.worker);
    const opened = await connection.open({ name, engine: options.engine ?? "auto", segmentBytes, kernel: module, parts });
    signal?.throwIfAborted();
    const storage = await storageReport(opened, options.persist === true);
    return new BrowserTide(name, storage, opened.recovery, await instantiateKernel(module), connection, unlock);
  } catch (thrown) {
    connection?.end(TidemarkError.from(thrown));
    unlock();
    throw thrown;
  }
}

/** Held until the returned function is called, or the page ends. */
function takeLock(name: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const held = (lock: Lock | null): Promise<void> | void =>
      lock ? new Promise(resolve) : reject(new TidemarkError("ALREADY_OPEN", "this tide is open in another tab", { name }));
    navigator.locks.request(name, { ifAvailable: true }, held).catch(reject);
  });
}

async function compileKernel(source: NonNullable<OpenOptions["kernel"]>): Promise<WebAssembly.Module> {
  if (source instanceof WebAssembly.Module) return source;
  if (typeof source !== "string" && !(source instanceof URL)) return WebAssembly.compile(source);
  const response = await fetch(source);
  if (!response.ok) throw new TidemarkError("INVALID_ARGUMENT", `the kernel is not at ${String(source)}`, { status: response.status });
  // Streaming refuses every server that does not send application/wasm, and saves nothing on so few bytes.
  return WebAssembly.compile(await response.arrayBuffer());
}

async function storageReport({ engine, durability, rejected }: Opened, persist: boolean): Promise<StorageReport> {
  // Where locks are, in secure contexts, there is this too; older engines lack some of its methods.
  const { storage } = navigator;
  if (persist) await Promise.race([storage.persist(), sleep(PERSIST_WAIT_MS)]);
  const persisted = await storage.persisted().catch(() => undefined);
  const estimate = await storage.estimate?.().catch(() => undefined);
  return { engine, durability, persisted, usageBytes: estimate?.usage, quotaBytes: estimate?.quota, rejected };
}

/** The worker and the ways to it. Whatever ends it, every call that waits is settled. */
class Connection {
  readonly #name = `tidemark-worker:${crypto.randomUUID()}`;
  readonly #channel = new MessageChannel();
  readonly port = new PortClient(this.#channel.port1);
  readonly #worker: Worker;
  #control: Promise<Control> | undefined;
  #fail!: (error: TidemarkError) => void;
  readonly #failed = new Promise<never>((_, reject) => (this.#fail = reject));
  ended: TidemarkError | undefined;
  onEnd: ((error: TidemarkError) => void) | undefined;

  constructor(make: (() => Worker) | undefined) {
    this.#failed.catch(() => undefined);
    // The worker's first word: it holds its lock.
    this.port.onEvent = () => this.#watch();
    this.#worker = (make ?? makeWorker)();
    this.#worker.addEventListener("error", (event) => this.end(new TidemarkError("CLOSED", `the worker failed: ${event.message}`, { reason: "worker" })));
  }

  open(options: Omit<HostOptions, "port" | "lifeLock">): Promise<Opened> {
    const port = this.#channel.port2;
    const opening: HostOptions = { ...options, port, lifeLock: this.#name };
    this.#worker.postMessage(opening, [port]);
    return this.port.ready as Promise<Opened>;
  }

  readonly control = (async (method: keyof Control, ...args: unknown[]) => {
    if (this.ended) throw this.ended;
    this.#control ??= this.#connectControl().catch((thrown: unknown) => {
      this.#control = undefined;
      throw thrown;
    });
    const call = this.#control.then((control) => (control[method] as (...args: unknown[]) => Promise<unknown>)(...args));
    return Promise.race([call, this.#failed]);
  }) as ControlCall;

  async #connectControl(): Promise<Control> {
    const { controlOver } = await import("./control.ts");
    const { port1, port2 } = new MessageChannel();
    await this.port.call({ op: "control", port: port2 });
    return controlOver(port1);
  }

  /** A lock is granted when its holder is gone, however it went; no heartbeat is needed, and none is fooled by throttling. */
  #watch(): void {
    void navigator.locks.request(this.#name, () => this.end(new TidemarkError("CLOSED", "the worker is gone", { reason: "worker" })));
  }

  end(error: TidemarkError): void {
    if (this.ended) return;
    this.ended = error;
    this.port.fail(error);
    this.#fail(error);
    this.#worker.terminate();
    this.onEnd?.(error);
  }
}

class BrowserTide implements Tide {
  readonly name: string;
  readonly storage: StorageReport;
  readonly recovery: readonly LogRecovery[];
  readonly #kernel: Kernel;
  readonly #connection: Connection;
  readonly #unlock: () => void;
  readonly #topics = new Map<string, BrowserTopic<never>>();
  readonly #listeners = new Set<(event: TideEvent) => void>();

  constructor(name: string, storage: StorageReport, recovery: readonly LogRecovery[], kernel: Kernel, connection: Connection, unlock: () => void) {
    this.name = name;
    this.storage = storage;
    this.recovery = recovery;
    this.#kernel = kernel;
    this.#connection = connection;
    this.#unlock = unlock;
    connection.port.onEvent = (event) => this.#tell(event);
    connection.onEnd = (error) => {
      this.#unlock();
      this.#tell({ type: "closed", reason: error.message });
    };
  }

  #tell(event: TideEvent): void {
    for (const listener of this.#listeners) listener(event);
  }

  topic<V = unknown>(name: string, options: TopicOptions<V> = {}): Topic<V> {
    const known = this.#topics.get(name);
    if (known) return known as unknown as Topic<V>;
    const { port, control } = this.#connection;
    const topic = new BrowserTopic<V>(name, options, { kernel: this.#kernel, port, control });
    this.#topics.set(name, topic as unknown as BrowserTopic<never>);
    return topic;
  }

  topics(): Promise<readonly string[]> {
    return this.#connection.control("topics");
  }

  on(listener: (event: TideEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async close(): Promise<void> {
    if (this.#connection.ended) return;
    try {
      await Promise.all([...this.#topics.values()].map((topic) => topic.drained()));
      await this.#connection.port.call({ op: "close" });
    } finally {
      this.#connection.end(new TidemarkError("CLOSED", "the tide is closed", { reason: "closed" }));
    }
  }
}

