/**
 * The edge of a simulated browser whose topic is synced: that of the simulation of sync, with the Worker's own code, in
 * this world's time. A context reaches it through a WebSocket and fetch() of its own.
 *
 *   worker of the leader ── WebSocket ──(lane up, lane down)── SimSocket ── SimEdge ── Ledger
 *
 * A context that is stopped neither sends nor hears; what it had sent arrives. Its sockets end when it dies.
 */
import "../loaded-ahead.ts";
import type { Random } from "../prng.ts";
import { SimEdge } from "../sync/edge.ts";
import type { SimSocket } from "../sync/network.ts";
import type { Time } from "../sync/time.ts";
import type { Context, World } from "./world.ts";

const URL = "http://edge";
const PATH = "t";
const OPENS_MS = 20;
const UNWATCHED = { sent: () => undefined, heard: () => undefined, closed: () => undefined };

/** The world's time, for an edge. */
class EdgeTime implements Time {
  readonly random: Random;
  readonly #world: World;

  constructor(world: World, random: Random) {
    this.#world = world;
    this.random = random;
  }

  get ms(): number {
    return this.#world.now;
  }
  after(ms: number, work: () => void): () => void {
    let isDue = true;
    this.#world.at(this.#world.now + ms, "edge", () => isDue && work());
    return () => (isDue = false);
  }
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }
}

export class SyncedEdge {
  readonly options = { url: URL, topics: { log: { path: PATH, serializer: "text" } } };
  /** What was acknowledged as flushed. */
  readonly acked = new Set<string>();
  readonly #world: World;
  readonly #edge: SimEdge;
  readonly #random: Random;
  #isLooking = false;

  constructor(world: World, random: Random, fail: (why: string) => void) {
    this.#world = world;
    this.#random = random;
    this.#edge = new SimEdge(new EdgeTime(world, random), { outboxes: {} }, fail);
    this.#edge.wake();
  }

  strike({ kind, ms }: { readonly kind: "cut-sockets" | "edge-reset" | "edge-away"; readonly ms: number }): void {
    this.#world.note(kind);
    if (kind === "edge-reset") return this.#edge.reset(ms % 2 === 0);
    this.#edge.cutAll();
    if (kind === "cut-sockets") return;
    this.#edge.isReachable = false;
    this.#world.at(this.#world.now + ms, "edge is back", () => (this.#edge.isReachable = true));
  }

  heal(): void {
    this.#edge.isReachable = true;
  }

  /** Tells the records of the log, in its order, as soon as the edge has told them. */
  look(told: (names: readonly string[]) => void): void {
    told(this.#edge.ledger.now.names);
    if (this.#isLooking) return;
    this.#isLooking = true;
    void this.#edge.catchUp().finally(() => (this.#isLooking = false));
  }

  globals(context: Context): Record<string, unknown> {
    const math = Object.create(Math) as Math;
    math.random = () => this.#random.int(1 << 30) / (1 << 30);
    return { WebSocket: this.#socketOf(context), fetch: this.#fetchOf(context), Math: math };
  }

  #socketOf(context: Context) {
    const edge = this.#edge;
    const world = this.#world;
    const random = this.#random;
    return class {
      binaryType = "blob";
      onopen: (() => void) | null = null;
      onerror: (() => void) | null = null;
      #socket: SimSocket | undefined;
      #isClosed = false;
      readonly #up = { last: 0 };
      readonly #down = { last: 0 };
      readonly #listeners: (readonly ["message" | "close", (event: never) => void])[] = [];

      constructor() {
        this.#toEdge(random.int(OPENS_MS), () => this.#connect());
      }

      #toEdge(ms: number, work: () => void): void {
        world.send(ms, "to the edge", { from: context, lane: this.#up }, work);
      }
      #toContext(work: () => void): void {
        world.send(0, "from the edge", { to: context, lane: this.#down }, work);
      }

      #connect(): void {
        if (this.#isClosed || context.dead) return;
        try {
          this.#socket = edge.connect({ pass: (work) => this.#toContext(work), watcher: UNWATCHED }, undefined);
        } catch {
          return this.#toContext(() => this.onerror?.());
        }
        const socket = this.#socket;
        for (const [type, listener] of this.#listeners) socket.addEventListener(type, listener);
        context.onDeath.push(() => socket.end(1006, random.chance(0.5)));
        this.#toContext(() => this.onopen?.());
      }

      addEventListener(type: "message" | "close", listener: (event: never) => void): void {
        this.#listeners.push([type, listener]);
        this.#socket?.addEventListener(type, listener);
      }
      send(data: Uint8Array<ArrayBuffer> | string): void {
        const copy = typeof data === "string" ? data : data.slice();
        this.#toEdge(0, () => this.#socket?.send(copy));
      }
      close(): void {
        this.#isClosed = true;
        this.#toEdge(0, () => this.#socket?.close());
      }
    };
  }

  #fetchOf(context: Context) {
    return (_: string, { method = "GET" }: { readonly method?: string } = {}): Promise<object> =>
      new Promise((resolve, reject) => {
        const answer = (work: () => void): void => this.#world.send(0, "answer", { to: context }, work);
        const ask = async (): Promise<void> => {
          if (method !== "PUT" && method !== "HEAD") return answer(() => resolve({ status: 405 }));
          const told = await this.#edge.http(method, undefined).catch((thrown: unknown) => thrown);
          if (told instanceof Error) answer(() => reject(new TypeError("failed to fetch")));
          else answer(() => resolve(told as object));
        };
        this.#world.send(this.#random.int(OPENS_MS), "request", { from: context }, () => void ask());
      });
  }
}
