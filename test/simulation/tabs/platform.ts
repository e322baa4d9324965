/**
 * The globals of a page, a worker and a shared worker. Each call ends in an event of the world, or its result is
 * seeded.
 */
import type { FilesAhead } from "../../../src/browser/volume/preopened-files.ts";
import type { OpfsVolumeOptions } from "../../../src/browser/volume/opfs-volume.ts";
import type { Volume } from "../../../src/store/volume.ts";
import type { Random } from "../prng.ts";
import { Broadcasts, BroadcastPort, makeChannel, Port } from "./ports.ts";
import { Databases, IDB_CLASSES } from "./databases.ts";
import { Files } from "./files.ts";
import { LockManager } from "./locks.ts";
import type { Context, World } from "./world.ts";

/** Evaluates the product once more, over these globals (product.ts). */
export type Product = (globals: Readonly<Record<string, unknown>>) => {
  readonly openTide: (name: string, options: object) => Promise<unknown>;
  readonly start: (options: unknown) => Promise<void>;
  readonly WorkerHost: new (openVolume: unknown) => object;
  readonly rehearse: (hostOver: (openVolume: unknown) => object, kernel: WebAssembly.Module) => Promise<void>;
  readonly FilesAhead: { find(name: string): Promise<FilesAhead> };
  readonly OpfsVolume: { open(options: OpfsVolumeOptions): Promise<Volume> };
  readonly serveTabs: (scope: { onconnect: ((event: object) => void) | null }) => void;
};

/** A terminated worker that is busy is interrupted after this time. Other workers end at once. */
const TERMINATE_MS = 2_000;
const EPOCH_MS = 1_700_000_000_000;

export interface Wish {
  /** "indexeddb": there is no OPFS, as in private windows of Firefox. */
  readonly engine: "opfs" | "indexeddb";
  readonly hasSharedWorker: boolean;
  readonly isChromium: boolean;
  readonly lateLocks: number;
}

interface Listener {
  readonly type: string;
  readonly run: (event: object) => void;
}

export class Platform {
  readonly locks: LockManager;
  readonly files: Files;
  readonly #broadcasts: Broadcasts;
  readonly databases: Databases;
  readonly #instances = new WeakMap<WebAssembly.Module, WebAssembly.Instance>();
  /** The shared worker; its pages keep it alive. */
  broker: { readonly context: Context; connect(port: Port): void; readonly pages: Set<Context> } | undefined;
  /** Dedicated workers by their page. */
  readonly workers = new Map<Context, Set<Context>>();
  /** What contexts have besides, where there is a network. */
  network: ((context: Context) => Record<string, unknown>) | undefined;
  onUnhandled: (thrown: unknown) => void = () => undefined;

  constructor(
    readonly world: World,
    readonly product: Product,
    readonly random: Random,
    readonly wish: Wish,
  ) {
    this.locks = new LockManager(world, wish.lateLocks);
    this.files = new Files(world, wish.isChromium);
    this.databases = new Databases(world);
    this.#broadcasts = new Broadcasts(world);
  }

  /** Globals that all kinds of contexts have. */
  #common(context: Context): Record<string, unknown> {
    const { world, random } = this;
    const broadcasts = this.#broadcasts;
    const timers = new Set<number>();
    let lastTimer = 0;
    const setTimer = (run: () => void, ms = 0): number => {
      const id = ++lastTimer;
      timers.add(id);
      world.send(
        Math.max(ms, 0) + random.int(2000) / 1000,
        "timer",
        { from: context, to: context },
        () => timers.delete(id) && run(),
      );
      return id;
    };
    const hex = (): string => random.u32().toString(16).padStart(8, "0");
    return {
      navigator: { locks: this.locks.of(context), storage: this.#storage(context) },
      BroadcastChannel: class extends BroadcastPort {
        constructor(name: string) {
          super(context, broadcasts, name);
        }
      },
      MessageChannel: class {
        constructor() {
          return makeChannel(context);
        }
      },
      MessagePort: Port,
      setTimeout: setTimer,
      clearTimeout: (id: number) => timers.delete(id),
      performance: {
        now: () => {
          const now = context.now();
          context.tick("clock");
          return now;
        },
      },
      Date: { now: () => EPOCH_MS + Math.floor(context.now()) },
      crypto: {
        randomUUID: () => `${hex()}-${hex()}`,
        getRandomValues: (array: ArrayBufferView) => {
          random.fill(new Uint8Array(array.buffer, array.byteOffset, array.byteLength));
          return array;
        },
      },
      AbortSignal: {
        timeout: (ms: number) => {
          const controller = new AbortController();
          setTimer(() => controller.abort(new DOMException("too late", "TimeoutError")), ms);
          return controller.signal;
        },
      },
      // The product sees by this property that handles can be shared.
      FileSystemSyncAccessHandle: { prototype: this.wish.isChromium ? { mode: "readwrite" } : {} },
      indexedDB: this.databases.of(context),
      ...IDB_CLASSES,
      WebAssembly: {
        ...wasm,
        Module: WebAssembly.Module,
        instantiate: async (module: WebAssembly.Module) => this.#instance(module),
      },
      Math,
      close: () => context.end(),
      ...this.network?.(context),
    };
  }

  /** The kernel keeps nothing between two calls, so one instance serves all. */
  #instance(module: WebAssembly.Module): WebAssembly.Instance {
    let instance = this.#instances.get(module);
    if (!instance) this.#instances.set(module, (instance = instances.get(module) ?? new WebAssembly.Instance(module)));
    instances.set(module, instance);
    return instance;
  }

  #storage(context: Context) {
    const refuse = () => Promise.reject(new DOMException("no files here", "SecurityError"));
    const getDirectory = () => (this.wish.engine === "opfs" ? this.files.directory(context) : refuse());
    return {
      getDirectory,
      persisted: async () => false,
      persist: async () => false,
      estimate: async () => ({ usage: 0, quota: 0 }),
    };
  }

  page(name: string): Page {
    return new Page(this, this.world.context(name), (context) => this.#common(context));
  }

  /** Evaluates the product in a worker that the test drives. */
  inWorker(name: string): { readonly context: Context; readonly product: ReturnType<Product> } {
    const context = this.world.context(name);
    return { context, product: this.product(this.#common(context)) };
  }

  worker(page: Context): { readonly Worker: new () => object } {
    const platform = this;
    return {
      Worker: class {
        onerror: ((event: object) => void) | undefined;
        readonly #context = platform.world.context(`${page.name}w`);
        constructor() {
          const context = this.#context;
          platform.#own(page, context);
          platform.world.send(platform.world.random.between(5, 30), "worker starts", { from: page, to: context }, () =>
            this.#boot(context),
          );
        }
        #host: ((data: unknown) => void) | undefined;
        readonly #early: unknown[] = [];
        #boot(context: Context): void {
          const { start } = platform.product(platform.#common(context));
          this.#host = (data) => void start(data);
          for (const data of this.#early.splice(0)) this.#host(data);
        }
        postMessage(data: unknown, transfer: readonly unknown[]): void {
          // A port of its own carries the first message, because that is how ports move.
          const { port1, port2 } = makeChannel(page);
          const inner = new Port(this.#context, port2.detach());
          inner.onmessage = ({ data: received }) => (this.#host ? this.#host(received) : this.#early.push(received));
          port1.postMessage(data, transfer);
        }
        terminate(): void {
          platform.terminate(this.#context, page);
        }
      },
    };
  }

  /**
   * Ends a worker: no message reaches it, and busy code is interrupted some time later. While the page is stopped, its
   * call takes no effect.
   */
  terminate(worker: Context, page: Context): void {
    this.world.send(0, "terminate", { from: page }, () => {
      if (worker.ending) return;
      worker.ending = true;
      const { now } = this.world;
      this.world.at(Math.min(Math.max(now, worker.ahead), now + TERMINATE_MS), "terminated", () => worker.die());
    });
  }

  #own(page: Context, worker: Context): void {
    const workers = this.workers.get(page) ?? new Set();
    workers.add(worker);
    this.workers.set(page, workers);
    page.onDeath.push(() => worker.end(this.random.int(20)));
    worker.onDeath.push(() => workers.delete(worker));
  }

  sharedWorker(page: Context): unknown {
    if (!this.wish.hasSharedWorker) return undefined;
    const platform = this;
    return class {
      readonly port: Port;
      onerror: unknown;
      constructor() {
        const { port1, port2 } = makeChannel(page);
        this.port = port1;
        const side = port2.detach();
        platform.world.send(platform.world.random.between(1, 20), "connect", { from: page }, () => {
          const { context, connect, pages } = platform.#broker();
          pages.add(page);
          page.onDeath.push(() => pages.delete(page) && pages.size === 0 && context.end());
          connect(new Port(context, side));
        });
      }
    };
  }

  #broker(): NonNullable<Platform["broker"]> {
    if (this.broker && !this.broker.context.ending) return this.broker;
    const context = this.world.context("broker");
    const scope: { onconnect: ((event: object) => void) | null } = { onconnect: null };
    this.product({ ...this.#common(context), globalThis: scope }).serveTabs(scope);
    const connect = (port: Port): void =>
      this.world.send(1, "connected", { to: context }, () => scope.onconnect?.({ ports: [port] }));
    return (this.broker = { context, connect, pages: new Set() });
  }
}

const wasm = { compile: WebAssembly.compile };
const instances = new WeakMap<WebAssembly.Module, WebAssembly.Instance>();

/** A tab's page: its visibility, and the events that the browser sends to it. */
export class Page {
  readonly context: Context;
  readonly product: ReturnType<Product>;
  readonly makeWorker: () => object;
  #hidden = false;
  readonly #listeners: Listener[] = [];

  constructor(platform: Platform, context: Context, common: (context: Context) => Record<string, unknown>) {
    this.context = context;
    const listen = (type: string, run: Listener["run"], { signal }: { signal?: AbortSignal } = {}): void => {
      const listener = { type, run };
      this.#listeners.push(listener);
      signal?.addEventListener("abort", () => this.#listeners.splice(this.#listeners.indexOf(listener), 1));
    };
    const page = this;
    const { Worker } = platform.worker(context);
    this.makeWorker = () => new Worker();
    this.product = platform.product({
      ...common(context),
      Worker,
      SharedWorker: platform.sharedWorker(context),
      addEventListener: listen,
      document: {
        addEventListener: listen,
        get visibilityState() {
          return page.#hidden ? "hidden" : "visible";
        },
      },
    });
  }

  get hidden(): boolean {
    return this.#hidden;
  }

  tell(type: string, event: object = {}): void {
    for (const listener of [...this.#listeners]) if (listener.type === type) listener.run(event);
  }

  show(visible: boolean): void {
    this.#hidden = !visible;
    this.tell("visibilitychange");
  }
}
