/**
 * The network between devices and an edge: a proxy of TCP connections, with the faults that networks have.
 *
 *   device ──▶ ┌ up:   arrived ─ swallowed? ─ due at ─ in turn, at a rate ─▶ ┐ ──▶ edge
 *          ◀── └ down: the same ───────────────────────────────────────────  ┘ ◀──
 *
 *   cut        open connections end; new ones are taken
 *   refuse     open connections end, and new ones end at once, until `heal`
 *   latency    every byte comes so much later, each way; bytes keep their order
 *   rate       bytes a second of each connection, each way
 *   swallow    what goes this way is lost while both sides hear nothing of it: the connection is half open
 *   stopAfter  a connection ends once so many more bytes went this way
 *   noSockets  a connection that asks for a WebSocket ends; requests get through
 *   deployed   every WebSocket is closed by 1012, as when the edge's code is replaced; those that come later are taken
 *
 * A connection that lost bytes can't go on: `heal` ends it, as a network does that finds out.
 */
import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";

export type Way = "up" | "down";

const UNDERWAY_MAX = 1024 * 1024;
/** A server's close of a WebSocket, with code 1012 (service restart). */
const RESTART_FRAME = Buffer.of(0x88, 2, 1012 >> 8, 1012 & 0xff);
/** A slow connection sends pieces of this length. */
const SLICE = 4 * 1024;

/** What holds for all bytes at the moment. */
interface Weather {
  latencyMs: number;
  /** Bytes a second; 0: as fast as they come. */
  rate: number;
  readonly swallows: Set<Way>;
  noSockets: boolean;
}

/** One way of one connection. */
class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #way: Way;
  readonly #network: FaultProxy;
  readonly #queue: { readonly bytes: Buffer; readonly due: number }[] = [];
  #underway = 0;
  #wake: (() => void) | undefined;
  #hasEnded = false;
  hasLost = false;

  constructor(network: FaultProxy, way: Way, from: Socket, to: Socket) {
    this.#network = network;
    this.#way = way;
    this.#from = from;
    this.#to = to;
    from.on("data", (bytes: Buffer) => this.#arrived(bytes));
    from.on("end", () => this.#told(() => (this.#hasEnded = true)));
    void this.#deliver();
  }

  #told(work: () => void): void {
    work();
    this.#wake?.();
  }

  #arrived(bytes: Buffer): void {
    if (this.#network.weather.noSockets && bytes.toString("latin1").toLowerCase().includes("upgrade: websocket")) {
      this.#network.effect++;
      return this.end();
    }
    if (this.#network.weather.swallows.has(this.#way)) {
      this.hasLost = true;
      this.#network.effect += bytes.length;
      return;
    }
    if (this.#network.weather.latencyMs > 0) this.#network.effect += bytes.length;
    this.#underway += bytes.length;
    if (this.#underway > this.#network.underwayMax) this.#from.pause();
    this.#told(() => this.#queue.push({ bytes, due: performance.now() + this.#network.weather.latencyMs }));
  }

  async #deliver(): Promise<void> {
    while (!this.#to.destroyed) {
      const next = this.#queue.shift();
      if (!next) {
        if (this.#hasEnded) return void this.#to.end();
        await new Promise<void>((resolve) => (this.#wake = resolve));
        continue;
      }
      const early = next.due - performance.now();
      if (early > 1) await sleep(early);
      await this.#write(next.bytes);
      this.#underway -= next.bytes.length;
      if (this.#underway <= this.#network.underwayMax) this.#from.resume();
    }
  }

  async #write(bytes: Buffer): Promise<void> {
    for (let at = 0; at < bytes.length && !this.#to.destroyed;) {
      const { rate } = this.#network.weather;
      const left = this.#network.bytesLeft(this.#way);
      const slice = bytes.subarray(at, at + Math.min(left, rate > 0 ? SLICE : bytes.length));
      at += slice.length;
      if (slice.length > 0) this.#to.write(slice);
      if (this.#network.passed(this.#way, slice.length)) return this.#to.destroySoon();
      if (rate > 0) await sleep((slice.length / rate) * 1000);
    }
  }

  /** These bytes are the last ones that come this way. Nothing else may be on its way. */
  endWith(bytes: Buffer): void {
    this.#to.write(bytes, () => {
      this.#to.destroySoon();
      this.end();
    });
  }

  /** The connection is over, and nobody is to be waited for. */
  end(): void {
    this.#told(() => (this.#hasEnded = true));
    this.#from.destroy();
  }
}

interface Connection {
  readonly pipes: readonly Pipe[];
}

export class FaultProxy {
  readonly #target: number;
  readonly underwayMax: number;
  readonly #open = new Set<Connection>();
  #server!: Server;
  #refuses = false;
  #stop: { readonly way: Way; left: number } | undefined;
  readonly weather: Weather = { latencyMs: 0, rate: 0, swallows: new Set(), noSockets: false };
  /** What the fault did so far: connections that ended or were refused, bytes that were lost, late or slow. */
  effect = 0;
  /** All bytes that went each way. */
  readonly bytes: Record<Way, number> = { up: 0, down: 0 };
  port = 0;

  /** A sender has to wait while so many bytes are on their way, as with the buffers of a real path. */
  constructor(target: number, underwayMax = UNDERWAY_MAX) {
    this.#target = target;
    this.underwayMax = underwayMax;
  }

  async start(): Promise<this> {
    this.#server = createServer((client) => this.#take(client));
    await new Promise<void>((resolve) => this.#server.listen(0, "127.0.0.1", resolve));
    this.port = (this.#server.address() as { port: number }).port;
    return this;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }
  /** How many connections are open. */
  get open(): number {
    return this.#open.size;
  }

  /** Resolves when a connection is open, or after this time. */
  async connected(ms: number): Promise<void> {
    for (const until = performance.now() + ms; this.#open.size === 0 && performance.now() < until;) await sleep(10);
  }

  #take(client: Socket): void {
    if (this.#refuses) {
      this.effect++;
      return void client.destroy();
    }
    const edge = connect({ port: this.#target, host: "127.0.0.1", noDelay: true });
    client.setNoDelay(true);
    const pipes = [new Pipe(this, "up", client, edge), new Pipe(this, "down", edge, client)];
    const connection: Connection = { pipes };
    this.#open.add(connection);
    for (const socket of [client, edge]) {
      socket.on("error", () => socket.destroy());
      socket.on("close", () => {
        this.#open.delete(connection);
        // A peer that ended in good order is told so behind the bytes that are still on their way.
        if (socket.readableEnded) return;
        for (const pipe of pipes) pipe.end();
      });
    }
  }

  /** How many bytes may go this way before the connection is stopped. */
  bytesLeft(way: Way): number {
    return this.#stop?.way === way ? this.#stop.left : Infinity;
  }
  /** Counts bytes that went. True if the connection is to be stopped behind them. */
  passed(way: Way, length: number): boolean {
    this.bytes[way] += length;
    if (this.weather.rate > 0) this.effect += length;
    const stop = this.#stop;
    if (stop?.way !== way) return false;
    stop.left -= length;
    if (stop.left > 0) return false;
    this.#stop = undefined;
    this.effect++;
    return true;
  }

  /** All connections end. Those that come later are taken. */
  cut(): void {
    this.effect += this.#open.size;
    for (const { pipes } of this.#open) for (const pipe of pipes) pipe.end();
  }
  /** All connections end, and no new one is taken. */
  refuse(): void {
    this.#refuses = true;
    this.cut();
  }
  /** From now on no WebSocket opens; those that are open end. */
  noSockets(): void {
    this.weather.noSockets = true;
    this.cut();
  }
  deployed(): void {
    this.effect += this.#open.size;
    for (const { pipes } of this.#open) pipes[1]!.endWith(RESTART_FRAME);
  }
  swallow(...ways: readonly Way[]): void {
    for (const way of ways) this.weather.swallows.add(way);
  }
  /** The connection on which byte `bytes` from now on goes this way ends with it. */
  stopAfter(way: Way, bytes: number): void {
    this.#stop = { way, left: bytes };
  }

  /** Ends every fault. Returns what they did, and forgets it. */
  heal(): number {
    this.#refuses = false;
    this.#stop = undefined;
    Object.assign(this.weather, { latencyMs: 0, rate: 0, noSockets: false });
    this.weather.swallows.clear();
    for (const { pipes } of this.#open) if (pipes.some(({ hasLost }) => hasLost)) for (const pipe of pipes) pipe.end();
    const did = this.effect;
    this.effect = 0;
    return did;
  }

  async stop(): Promise<void> {
    this.refuse();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}
