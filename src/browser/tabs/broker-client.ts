/**
 * A page's connection to the broker (broker.ts). When the broker dies, the page connects to a new one. The broker also
 * gives the page timers that come on time while the page is hidden.
 */
import type { Brokered, Said, Sleep } from "./broker.ts";
import { whenFree } from "../platform/locks.ts";
import { isHidden } from "../platform/page-life.ts";
import { sleep } from "../platform/timing.ts";
import type { JoinRequest } from "../port/protocol.ts";
import { makeBroker } from "./start-broker.ts";

/**
 * Longest wait for the broker's first message; after that the tab goes on without it. A script that can't be loaded
 * does not always raise an error.
 */
const CONNECT_MS = 500;

export class Broker {
  /** The broker's id; undefined while the page is not connected to a broker. */
  id: string | undefined;
  /** Resolves when the first try to connect has succeeded, failed or taken too long. */
  readonly tried: Promise<void>;
  /** Undefined once this is closed: the browser keeps a SharedWorker, and what it calls, as long as the page lives. */
  #onJoin: ((join: JoinRequest) => void) | undefined;
  #tried!: () => void;
  #port: MessagePort | undefined;
  readonly #sleeping = new Map<number, () => void>();
  #sleeps = 0;

  constructor(onJoin: (join: JoinRequest) => void) {
    this.#onJoin = onJoin;
    this.tried = new Promise((resolve) => (this.#tried = resolve));
    this.#connect();
    setTimeout(this.#tried, CONNECT_MS);
  }

  #connect(): void {
    let worker: SharedWorker;
    try {
      worker = makeBroker();
    } catch {
      // SharedWorker is missing here, a content security policy forbids it, or its script has another origin.
      return this.#tried();
    }
    worker.onerror = this.#tried;
    this.#port = worker.port;
    worker.port.onmessage = ({ data }: MessageEvent<Said>) => {
      if ("join" in data) return this.#onJoin?.(data.join);
      if ("woken" in data) return this.#sleeping.get(data.woken)?.();
      this.id = data.broker;
      this.#tried();
      whenFree(data.broker, () => this.#lost());
    };
  }

  #lost(): void {
    this.id = undefined;
    if (this.#onJoin) this.#connect();
  }

  lead(lifeLock: string): void {
    this.#port?.postMessage({ lead: lifeLock });
  }

  send(message: Brokered): void {
    this.#port!.postMessage(message, [message.join.port as MessagePort]);
  }

  /** Waits at least `ms`. In a hidden page the broker's timer ends the wait on time. */
  async sleep(ms: number): Promise<void> {
    const own = sleep(ms);
    if (!this.id || !isHidden()) return own;
    const number = this.#sleeps++;
    const woken = new Promise<void>((resolve) => this.#sleeping.set(number, resolve));
    this.#port!.postMessage({ sleep: number, ms } satisfies Sleep);
    await Promise.race([own, woken]);
    this.#sleeping.delete(number);
  }

  close(): void {
    this.#onJoin = undefined;
    this.#port?.close();
  }
}
