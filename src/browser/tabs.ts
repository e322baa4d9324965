/**
 * tabs.js of the package: many tabs, one log. Loaded when a second tab shows up, and never by a tab that is alone.
 *
 *   lobby = BroadcastChannel "tidemark:<name>"
 *
 *   follower                                        leader's page                  leader's worker
 *    │ ── hail ─────────────────────────────────────▶│
 *    │ ◀─ leader { epoch, lifeLock, version } ───────│   also whenever a term begins
 *    │ ── join { to: lifeLock, port, life } ────────▶│ ── op "join" on its port ────▶│
 *    │ ◀═ hello, then everything else, directly ════════════════════════════════════▶│
 *
 * Locks, all of them released by the browser when their holder is gone, however it went:
 *
 *   tidemark:<name>           exclusive, the leader's page, for its term; every follower waits for it
 *   tidemark-worker:<uuid>    exclusive, a worker, for its life; who watches it waits for it in shared mode
 *   tidemark-port:<uuid>      exclusive, a follower, as long as it keeps its port; the worker waits for it
 *
 * A connection belongs to one term: what comes over an older one is no longer heard.
 */
import { TidemarkError } from "../errors.ts";
import type { BrowserTide } from "./client.ts";
import { takeLock } from "./platform.ts";
import type { PortClient } from "./port-client.ts";
import { type JoinRequest, PROTOCOL_VERSION } from "./protocol.ts";
import type { WorkerHost } from "./worker-host.ts";

/** A worker that ends is gone within a few milliseconds; one that hangs is not waited for. */
const WORKER_END_MS = 1_000;

interface Announcement {
  readonly leader: string;
  readonly epoch: number;
  readonly version: number;
}
interface Join {
  readonly join: JoinRequest;
  readonly to: string;
  readonly version: number;
}
type Word = "hail" | Announcement | Join;

export class Tabs {
  readonly #tide: BrowserTide;
  /** Of the newest term known. */
  #epoch = 0;
  #lifeLock: string | undefined;
  #joining: string | undefined;
  #queued: AbortController | undefined;
  /** Calls that wait for a connection, or the end. */
  readonly #waiting: (() => void)[] = [];

  constructor(tide: BrowserTide) {
    this.#tide = tide;
    tide.lobby.onmessage = ({ data }: MessageEvent<Word>) => this.#hear(data);
    this.#announce();
  }

  #say(word: Word): void {
    if (!this.#tide.ended) this.#tide.lobby.postMessage(word);
  }

  #changed(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Resolves when this tab has a connection, to a leader or to its own worker. */
  async follow(): Promise<void> {
    this.#queue();
    this.#say("hail");
    await this.after();
  }

  /** Resolves when calls go elsewhere than to `connection`, which threw this. */
  async after(connection?: PortClient, thrown?: TidemarkError): Promise<void> {
    // The next leader would show an empty store.
    if (thrown?.details["reason"] === "cleared") throw thrown;
    for (;;) {
      const { ended, connection: now } = this.#tide;
      if (ended) throw ended;
      if (now && now !== connection && !now.ended) return;
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Waits for the lock for as long as it takes. */
  #queue(): void {
    if (this.#queued) return;
    const queued = (this.#queued = new AbortController());
    takeLock(this.#tide.lock, { signal: queued.signal }).then(
      (unlock) => void this.#lead(unlock!),
      () => undefined,
    );
  }

  async #lead(unlock: () => void): Promise<void> {
    this.#queued = undefined;
    if (this.#tide.ended) return unlock();
    try {
      await this.#lastWorkerGone();
      await this.#tide.lead(unlock);
    } catch (thrown) {
      unlock();
      this.#tide.end(TidemarkError.from(thrown));
      this.#changed();
    }
  }

  /** Its page may be gone a moment earlier, and then the lock is free while its last writes still run. */
  async #lastWorkerGone(): Promise<void> {
    if (!this.#lifeLock) return;
    const signal = AbortSignal.timeout(WORKER_END_MS);
    await navigator.locks.request(this.#lifeLock, { mode: "shared", signal }, () => undefined).catch(() => undefined);
  }

  /** Calls go to this worker from now on. */
  connected(): void {
    this.#changed();
    this.#announce();
    const { role, opened } = this.#tide;
    this.#tide.tell({ type: "leaderchange", role, epoch: opened!.epoch });
  }

  /** A connection has ended. */
  end(error: TidemarkError): void {
    if (this.#tide.ended) {
      this.#queued?.abort();
      return this.#changed();
    }
    this.#tide.role = "follower";
    this.#tide.tell({ type: "leaderlost", reason: error.message });
    this.#queue();
    // Whoever leads by now may have said so before this tab listened.
    this.#say("hail");
  }

  // --- the lobby ---------------------------------------------------------------------------------------------------

  #announce(): void {
    const { role, connection, opened } = this.#tide;
    if (!connection || connection.ended) return;
    this.#epoch = opened!.epoch;
    this.#lifeLock = connection.lifeLock;
    if (role === "leader") this.#say({ leader: this.#lifeLock, epoch: this.#epoch, version: PROTOCOL_VERSION });
  }

  #hear(word: Word): void {
    if (word === "hail") this.#announce();
    else if ("leader" in word) void this.#join(word);
    else this.#admit(word);
  }

  #admit({ join, to, version }: Join): void {
    const { connection } = this.#tide;
    if (to !== connection?.lifeLock) return;
    if (version !== PROTOCOL_VERSION) this.#tide.tell({ type: "version", ours: PROTOCOL_VERSION, theirs: version });
    else connection.call<void>({ ...join, op: "join" }).catch(() => undefined);
  }

  async #join({ leader, epoch, version }: Announcement): Promise<void> {
    const { connection, ended } = this.#tide;
    if (ended || epoch < this.#epoch || this.#joining === leader || connection?.lifeLock === leader) return;
    this.#joining = leader;
    connection?.fail(new TidemarkError("CLOSED", "another tab leads now"));
    const name = `tidemark-port:${crypto.randomUUID()}`;
    const release = await takeLock(name, {});
    const channel = new BroadcastChannel(name);
    const next = new this.#tide.Connection(channel as unknown as MessagePort, leader, release);
    next.pair = () => {
      const control = `tidemark-port:${crypto.randomUUID()}`;
      return [new BroadcastChannel(control) as unknown as MessagePort, control];
    };
    next.watch();
    this.#say({ join: { op: "join", port: name, life: name }, to: leader, version: PROTOCOL_VERSION });
    try {
      await this.#tide.use(next, "follower");
    } catch (thrown) {
      next.fail(TidemarkError.from(thrown));
    } finally {
      if (this.#joining === leader) this.#joining = undefined;
    }
  }
}

/** In the worker: a further tab's port. It can't end the tide, nor bring others along. */
export function admit(host: WorkerHost, { port, life }: JoinRequest): void {
  const end = typeof port === "string" ? (new BroadcastChannel(port) as unknown as MessagePort) : port;
  const server = host.serve(end, (request) => {
    if (request.op === "close" || request.op === "join") throw new TidemarkError("INVALID_ARGUMENT", "only the leader's page may ask for this");
    return host.manage(request);
  });
  void navigator.locks.request(life, () => {
    host.servers.delete(server);
    for (const request of server.running.values()) request.abort(new TidemarkError("CLOSED", "its tab is gone"));
    end.close();
  });
}
