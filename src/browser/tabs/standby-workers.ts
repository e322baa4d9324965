/**
 * Stand-by workers. Half of a fail-over is the start of a new worker and its look-ups. So the first tabs in the queue
 * for the lead (PLACES) and all visible tabs keep a worker ready. A stand-by worker costs some 9 MiB. It holds a lock:
 * when that is free, its tab knows that the worker has ended.
 *
 *   page                                        worker
 *    │ ─── StandBy, with a port ─────────────────▶│  loads tabs.js, finds the tide's files, watches the leader
 *    │ ◀── it holds its lock ─────────────────────│
 *    │ ─── Follow, over that port ───────────────▶│  another tab leads
 *    │ ─── HostOptions, over that port ──────────▶│  from now on it works like any other worker; it opens files as
 *    │                                            │  soon as they are free (preopened-files.ts)
 *
 * The queue for the lead's lock shows which pages are first. A page is known by the lock that it holds for its port as
 * a follower. All other tabs wait for the port locks of the first ones: when one of those locks is free, they look
 * again.
 */
import { TidemarkError } from "../../errors.ts";
import type { Member, WorkerSource } from "./member.ts";
import { parts } from "../platform/parts.ts";
import { isPortLock, newSpareLock } from "./locks.ts";
import { whenFree } from "../platform/locks.ts";
import { isHidden } from "../platform/page-life.ts";
import { SETTLED_MS } from "../platform/terms.ts";
import type { Failed, Follow, HostOptions, Last, StandBy } from "../port/protocol.ts";

/** Tabs at the front of the queue that keep a stand-by worker even while they are hidden. */
const PLACES = 2;
/**
 * After this many starts a tab makes no further stand-by worker until it follows anew: one that dies again and again is
 * of no use.
 */
const STARTS_MAX = 5;

export class Spare implements WorkerSource {
  readonly #tide: Member;
  readonly #sleep: (ms: number) => Promise<void>;
  readonly #make: () => Worker;
  #worker: Worker | undefined;
  /** True if the stand-by worker holds its lock. Then its code is loaded and runs. */
  ready = false;
  #port: MessagePort | undefined;
  /**
   * The port of the worker that was taken last, if it was a stand-by worker: over this port it is told that it leads.
   */
  #ordered: MessagePort | undefined;
  #looking = false;
  #starts = 0;
  /** The name of the lock for this tab's port, while the tab follows. */
  #life: string | undefined;
  readonly #watched = new Set<string>();
  /** A stand-by worker that is taken waits by itself until the holder of this lock is gone. */
  last: string | undefined;

  constructor(tide: Member, sleep: (ms: number) => Promise<void>) {
    this.#tide = tide;
    this.#sleep = sleep;
    this.#make = tide.makeWorker;
  }

  /** Takes the stand-by worker, or a new one. A stand-by worker that is not ready may never be, so it is dropped. */
  take(): Worker {
    if (!this.ready) this.#drop();
    const worker = this.#worker ?? this.#make();
    this.#ordered = this.#worker && this.#port;
    this.#worker = undefined;
    this.ready = false;
    return worker;
  }

  /** Tells the worker that was taken that it is to lead. */
  order(worker: Worker, options: HostOptions): void {
    if (this.#ordered)
      this.#ordered.postMessage({ ...options, last: this.last } satisfies HostOptions & Last, [options.port]);
    else worker.postMessage(options, [options.port]);
  }

  /** This tab follows from now on. */
  follow(life: string, leader: string): void {
    this.#life = life;
    this.#starts = 0;
    if (this.#worker) this.#port!.postMessage({ leader } satisfies Follow);
    // This can wait: the tabs that are first in the queue have a worker already.
    void this.#sleep(SETTLED_MS).then(() => this.look());
  }

  /** There is no leader now. The stand-by worker is kept. */
  wait(): void {
    this.#life = undefined;
  }

  /** This tab leads, sleeps or has ended: it needs no stand-by worker. */
  stop(): void {
    this.#life = undefined;
    this.#drop();
  }

  #drop(): void {
    this.#worker?.terminate();
    this.#worker = undefined;
    this.ready = false;
  }

  /**
   * Starts the stand-by worker or ends it, whichever this tab's place asks for. Does nothing while there is no leader:
   * the tab that is about to lead needs the processor, and this one looks when it follows again. `isSettled` is true
   * for the second look.
   */
  async look(isSettled = false): Promise<void> {
    if (this.#looking || !this.#life || this.#tide.connection!.ended) return;
    this.#looking = true;
    try {
      const kernel = await this.#tide.options.kernel;
      this.#arrange(kernel, await navigator.locks.query(), isSettled);
    } catch {
      // No worker can be made, or the page is about to go and may not ask. The stand-by worker is kept, and the next
      // look asks again.
    } finally {
      this.#looking = false;
    }
  }

  #arrange(kernel: WebAssembly.Module, { held = [], pending = [] }: LockManagerSnapshot, isSettled: boolean): void {
    const life = this.#life;
    if (!life || this.#tide.ended || this.#tide.connection!.ended) return;
    const queue = pending.filter(({ name }) => name === this.#tide.lock).map(({ clientId }) => clientId);
    const own = held.find(({ name }) => name === life)?.clientId;
    const first = queue.slice(0, PLACES);
    // The lock may be for another tide in the same page. That is as good: it is free when that page goes.
    for (const { name, clientId } of held)
      if (clientId !== own && first.includes(clientId) && isPortLock(name!)) this.#watch(name!);
    if (isHidden() && !first.includes(own)) {
      // The queue may be moving. A tab that is among the first a moment later keeps its worker.
      if (this.#worker && !isSettled) return void this.#sleep(SETTLED_MS).then(() => this.look(true));
      return this.#drop();
    }
    if (!this.#worker && this.#starts++ < STARTS_MAX) this.#start(kernel);
  }

  /** The worker's code can't be loaded. A new worker tries again later. */
  async #failed(error: TidemarkError): Promise<void> {
    this.#drop();
    await this.#tide.later(error);
    await this.look();
  }

  #watch(name: string): void {
    if (this.#watched.has(name)) return;
    this.#watched.add(name);
    whenFree(name, () => {
      this.#watched.delete(name);
      void this.look();
    });
  }

  #start(kernel: WebAssembly.Module): void {
    const worker = (this.#worker = this.#make());
    const ended = (): void => {
      if (this.#worker !== worker) return;
      this.#drop();
      void this.look();
    };
    const { port1, port2: port } = new MessageChannel();
    const lock = newSpareLock();
    port1.onmessage = ({ data }: MessageEvent<Failed | 0>) => {
      if (this.#worker !== worker) return;
      if (data !== 0) return void this.#failed(TidemarkError.fromWire(data.failed));
      this.ready = true;
      whenFree(lock, ended);
    };
    worker.onerror = ended;
    this.#port = port1;
    const { name, opened, connection } = this.#tide;
    worker.postMessage(
      {
        standBy: port,
        lock,
        name,
        engine: opened!.engine,
        durability: opened!.durability,
        kernel,
        parts,
        leader: connection!.lifeLock,
      } satisfies StandBy,
      [port],
    );
  }
}
