/**
 * A page's way to the broker (broker.ts), which it connects to again when that one dies, and a clock that runs while
 * the page is hidden.
 */
import type { Brokered, Said, Sleep } from "./broker.ts";
import { whenFree } from "../platform/locks.ts";
import { isHidden } from "../platform/page-life.ts";
import { sleep } from "../platform/timing.ts";
import type { JoinRequest } from "../port/protocol.ts";
import { makeBroker } from "./start-broker.ts";

/** A script that does not load says so, or nothing at all. */
const CONNECT_MS = 500;

export class Broker {
  /** undefined: there is none, or not yet. */
  id: string | undefined;
  /** The first try has come to an end. */
  readonly tried: Promise<void>;
  readonly #onJoin: (join: JoinRequest) => void;
  #tried!: () => void;
  #port: MessagePort | undefined;
  #closed = false;
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
      // Missing, forbidden by a content security policy, or of another origin.
      return this.#tried();
    }
    worker.onerror = () => this.#tried();
    this.#port = worker.port;
    worker.port.onmessage = ({ data }: MessageEvent<Said>) => {
      if ("join" in data) return this.#onJoin(data.join);
      if ("woken" in data) return this.#sleeping.get(data.woken)?.();
      this.id = data.broker;
      this.#tried();
      whenFree(data.broker, () => this.#lost());
    };
  }

  #lost(): void {
    this.id = undefined;
    if (!this.#closed) this.#connect();
  }

  lead(lifeLock: string): void {
    this.#port?.postMessage({ lead: lifeLock });
  }

  send(message: Brokered): void {
    this.#port!.postMessage(message, [message.join.port as MessagePort]);
  }

  /** No shorter than `ms`, and on time also where the page is hidden. */
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
    this.#closed = true;
    this.#port?.close();
  }
}
