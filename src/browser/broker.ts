/**
 * The broker: a SharedWorker that every tab of the origin knows, for a MessagePort can be sent only to somebody one has a
 * port to already. It hands ports from followers to the leader's page and has no part in anything after that.
 *
 *   tab ◀── { broker: id } ─────────────── broker      once, when it connects
 *   leader ──── { lead: lifeLock } ──────▶ broker
 *   follower ── { to: lifeLock, join } ──▶ broker ── { join } ──▶ leader       the port moves along
 *   hidden tab ─ { sleep: n, ms } ───────▶ broker ── { woken: n }              a page's own timers come once a second then
 *
 * Tabs of different builds have different brokers, and a broker dies with the process it shares: so each has an id, which
 * the leader announces, and holds a lock of that name for its life. Where ids differ, or there is none, ports are replaced
 * by a BroadcastChannel of a name of their own.
 */
import { sleep } from "./platform.ts";
import type { JoinRequest } from "./protocol.ts";

export interface Brokered {
  readonly to: string;
  readonly join: JoinRequest;
}
interface Sleep {
  readonly sleep: number;
  readonly ms: number;
}
type Said = { readonly broker: string } | { readonly join: JoinRequest } | { readonly woken: number };

/** A script that does not load says so, or nothing at all. */
const CONNECT_MS = 500;
const EARLY_MAX = 20;

/** In the SharedWorker. */
function serve(scope: { onconnect: ((event: MessageEvent) => void) | null }): void {
  const id = `tidemark-broker:${crypto.randomUUID()}`;
  /** One per tide and term; those of past terms are few, and small. */
  const leaders = new Map<string, MessagePort>();
  /** Ways to leaders that have not said so yet: a follower may have heard of one by then. */
  const early = new Map<string, Brokered[]>();
  const pass = ({ to, join }: Brokered): void => leaders.get(to)!.postMessage({ join } satisfies Said, [join.port as MessagePort]);
  const held = new Promise<void>((resolve) => {
    void navigator.locks.request(id, () => {
      resolve();
      return new Promise(() => undefined);
    });
  });
  scope.onconnect = ({ ports: [port] }) => {
    port!.onmessage = ({ data }: MessageEvent<{ lead: string } | Sleep | Brokered>) => {
      if ("lead" in data) {
        leaders.set(data.lead, port!);
        early.get(data.lead)?.forEach(pass);
        early.delete(data.lead);
      } else if ("sleep" in data) setTimeout(() => port!.postMessage({ woken: data.sleep } satisfies Said), data.ms);
      else if (leaders.has(data.to)) pass(data);
      else {
        early.set(data.to, [...(early.get(data.to) ?? []), data]);
        // Some never come to lead.
        if (early.size > EARLY_MAX) early.delete(early.keys().next().value!);
      }
    };
    void held.then(() => port!.postMessage({ broker: id }));
  };
}
if ("onconnect" in globalThis) serve(globalThis as unknown as Parameters<typeof serve>[0]);

/** In a page. */
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
      worker = new SharedWorker(new URL("./broker.ts", import.meta.url), { type: "module", name: "tidemark" });
    } catch {
      // Missing, or forbidden by a content security policy.
      return this.#tried();
    }
    worker.onerror = () => this.#tried();
    this.#port = worker.port;
    worker.port.onmessage = ({ data }: MessageEvent<Said>) => {
      if ("join" in data) return this.#onJoin(data.join);
      if ("woken" in data) return this.#sleeping.get(data.woken)?.();
      this.id = data.broker;
      this.#tried();
      void navigator.locks.request(data.broker, { mode: "shared" }, () => this.#lost());
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
    if (!this.id || document.visibilityState === "visible") return own;
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
