/**
 * Workers that stand by: the first of those who wait for the lead, and who is seen, keep one each, for a worker's start
 * and its look-ups are half of a fail-over. It costs some 9 MiB. It holds a lock, by which its tab learns of its end.
 *
 *   page                                        worker
 *    │ ─── StandBy, with a port ─────────────────▶│  loads tabs.js, finds the tide's files, watches the leader
 *    │ ◀── it holds its lock ─────────────────────│
 *    │ ─── Follow, over that port ───────────────▶│  another tab leads
 *    │ ─── HostOptions, over that port ──────────▶│  from now on it works like any other worker; it opens files as
 *    │                                            │  soon as they are free (preopened-files.ts)
 *
 * Who is first is told by the queue for the lead; whose place it is, by the lock that a follower holds for its port.
 * All the others wait for the locks of the first ones, too: when one goes, they look again.
 */
import { TidemarkError } from "../../errors.ts";
import type { Member, WorkerSource } from "./member.ts";
import { parts } from "../platform/parts.ts";
import { isPortLock, newSpareLock } from "./locks.ts";
import { whenFree } from "../platform/locks.ts";
import { isHidden } from "../platform/page-life.ts";
import { SETTLED_MS } from "../platform/terms.ts";
import type { Failed, Follow, HostOptions, Last, StandBy } from "../port/protocol.ts";

const PLACES = 2;
/** A worker that dies again and again is not for standing by. */
const STARTS_MAX = 5;

export class Spare implements WorkerSource {
  readonly #tide: Member;
  readonly #sleep: (ms: number) => Promise<void>;
  readonly #make: () => Worker;
  #worker: Worker | undefined;
  /** A worker stands by: it holds its lock, so its code is there and runs. */
  ready = false;
  #port: MessagePort | undefined;
  /** Of the one that was taken last, if it stood by: it hears of its lead there. */
  #ordered: MessagePort | undefined;
  #looking = false;
  #starts = 0;
  /** Of this tab's port, while it follows. */
  #life: string | undefined;
  readonly #watched = new Set<string>();
  /** The worker that is taken next, if it stood by, itself waits until the holder of this lock is gone. */
  last: string | undefined;

  constructor(tide: Member, sleep: (ms: number) => Promise<void>) {
    this.#tide = tide;
    this.#sleep = sleep;
    this.#make = tide.makeWorker;
  }

  /**
   * The one that stands by, or a new one: one that has not come so far may never do so, and nobody would miss it for
   * long.
   */
  take(): Worker {
    if (!this.ready) this.#drop();
    const worker = this.#worker ?? this.#make();
    this.#ordered = this.#worker && this.#port;
    this.#worker = undefined;
    this.ready = false;
    return worker;
  }

  /** The one that was taken is to lead. */
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
    // Who is first has a worker already.
    void this.#sleep(SETTLED_MS).then(() => this.look());
  }

  /** There is no leader: what stands by stays. */
  wait(): void {
    this.#life = undefined;
  }

  /** It leads, or sleeps, or has ended. */
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
   * Not while there is no leader: whoever is about to lead has the processor then, and this tab looks when it follows
   * again. `isSettled`: for the second time.
   */
  async look(isSettled = false): Promise<void> {
    if (this.#looking || !this.#life || this.#tide.connection!.ended) return;
    this.#looking = true;
    try {
      const kernel = await this.#tide.options.kernel;
      this.#arrange(kernel, await navigator.locks.query(), isSettled);
    } catch {
      // No worker can be made, or the page is going and may not ask. What stands by stays, and the next look asks
      // again.
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
    // Another tab of this tide, or of another one in the same page: either way it tells when that one goes.
    for (const { name, clientId } of held)
      if (clientId !== own && first.includes(clientId) && isPortLock(name!)) this.#watch(name!);
    if (isHidden() && !first.includes(own)) {
      // The queue may be moving: whoever is among the first in a moment keeps its worker.
      if (this.#worker && !isSettled) return void this.#sleep(SETTLED_MS).then(() => this.look(true));
      return this.#drop();
    }
    if (!this.#worker && this.#starts++ < STARTS_MAX) this.#start(kernel);
  }

  /** Its code can't be loaded: another one tries again later. */
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
