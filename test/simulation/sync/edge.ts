/**
 * The edge of a simulation of sync: one log with the Worker's own code behind its sockets (LogSockets, Stream, the
 * registry) over Node's SQLite, and a network that delays, cuts, and lets late frames of a left socket come.
 *
 *   device ── Wire ── delays, cuts ── channels (open, close, who asks) ── LogSockets ── Stream ── SQLite
 */
import type { Wire } from "../../../src/sync/edge-socket.ts";
import { decodeFrame, encodeFrame, FrameType, jsonFrame, jsonOf } from "../../../src/sync/frames.ts";
import { LogSockets, type SocketHost } from "../../../worker/log-object/sockets.ts";
import type { HibernatingSocket } from "../../../worker/rpc/sockets.ts";
import { Telling } from "../../../worker/log-object/telling.ts";
import { withAsker } from "../../../worker/rpc/join-prefix.ts";
import { Counters } from "../../../worker/telemetry/counters.ts";
import type { Kernel } from "../../../src/kernel/types.ts";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { decodeBatch, splitBatches } from "../../../src/record/record-batch.ts";
import { Edge, kernel } from "../../unit/outbox-edge.ts";
import type { SimTime } from "./time.ts";

const OWNER = "AAAAAAAAAAAA";
const PATH = "t";
/** A message takes up to so long. */
const DELAY_MS = 30;

type Sent = Uint8Array<ArrayBuffer> | string;

/** The object's end of one channel. */
class ObjectSocket implements HibernatingSocket {
  #attachment: unknown;
  isOpen = true;
  constructor(
    readonly tell: (data: Uint8Array) => void,
    readonly ended: (code: number) => void,
  ) {}
  send(data: ArrayBuffer | Uint8Array): void {
    if (this.isOpen) this.tell(new Uint8Array(data instanceof Uint8Array ? data.slice() : data.slice(0)));
  }
  close(code: number): void {
    this.isOpen = false;
    this.ended(code);
  }
  get isAccepted(): boolean {
    return this.#attachment !== undefined;
  }
  serializeAttachment(value: unknown): void {
    this.#attachment = structuredClone(value);
  }
  deserializeAttachment(): unknown {
    return structuredClone(this.#attachment);
  }
}

/** One client's socket, both ends. */
class SimSocket implements Wire {
  readonly #listeners = { message: [] as ((event: never) => void)[], close: [] as ((event: never) => void)[] };
  readonly channels = new Map<number, ObjectSocket>();
  isOpen = true;
  /** Messages keep their order in each direction. */
  #lastUp = 0;
  #lastDown = 0;

  constructor(
    readonly edge: SimEdge,
    readonly time: SimTime,
  ) {}

  addEventListener(type: "message" | "close", listener: (event: never) => void): void {
    this.#listeners[type].push(listener);
  }

  /** From the client. What was sent before a cut may still arrive. */
  send(data: Sent): void {
    if (!this.isOpen) return;
    this.#lastUp = Math.max(this.#lastUp, this.time.ms + this.time.random.int(DELAY_MS));
    const copy = typeof data === "string" ? data : data.slice();
    this.time.after(this.#lastUp - this.time.ms, () => void this.edge.arrived(this, copy));
  }

  /** From the edge. */
  tell(data: Sent): void {
    if (!this.isOpen) return;
    this.#lastDown = Math.max(this.#lastDown, this.time.ms + this.time.random.int(DELAY_MS));
    this.time.after(this.#lastDown - this.time.ms, () => {
      if (!this.isOpen) return;
      this.edge.delivered(this);
      if (!this.isOpen) return;
      const message =
        typeof data === "string" ? data : data.buffer.slice(data.byteOffset, data.byteOffset + data.length);
      for (const listener of this.#listeners.message) listener({ data: message } as never);
    });
  }

  close(): void {
    this.end(1000);
  }

  /** It ends for the client at once; `late`: what it had sent comes all the same. */
  end(code: number, late = true): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    if (!late) this.edge.forget(this);
    this.time.after(1, () => {
      for (const listener of this.#listeners.close) listener({ code, reason: "" } as never);
    });
  }
}

export class SimEdge {
  readonly #time: SimTime;
  readonly #edge = new Edge();
  #sockets!: LogSockets;
  readonly #clients = new Set<SimSocket>();
  readonly #gone = new WeakSet<SimSocket>();
  isReachable = true;
  /** Cut once so many messages more have been delivered. */
  cutAfter = Infinity;

  constructor(time: SimTime) {
    this.#time = time;
  }

  get stream() {
    return this.#edge.stream;
  }

  async open(): Promise<this> {
    await this.#edge.open();
    const host = {
      ctx: {
        acceptWebSocket: () => undefined,
        getWebSockets: () =>
          [...this.#clients].flatMap(({ channels }) => [...channels.values()]).filter(({ isAccepted }) => isAccepted),
      },
      stream: async () => this.#edge.stream,
      begin: () => undefined,
      counters: new Counters(),
      event: () => undefined,
      takesOutboxes: true,
    };
    const sockets = new LogSockets(host as SocketHost);
    this.#sockets = sockets;
    const turn = (): Promise<void> => new Promise((resolve) => this.#time.after(0, resolve));
    const telling = new Telling({
      isHeard: () => true,
      watchers: () => [],
      follows: (stream, found) => sockets.moved(stream, found, turn),
      turn,
    });
    this.#edge.onChange = () => telling.moved(this.#edge.stream);
    return this;
  }

  /** The object starts anew: memory is gone, rows stay, all sockets end. */
  async reset(): Promise<void> {
    for (const client of [...this.#clients]) this.cut(client, 1012);
    await this.open();
  }

  /** Somebody appends by another way. */
  async append(name: string): Promise<void> {
    const builder = new BatchBuilder(kernel);
    builder.tryAppend({ key: null, value: new TextEncoder().encode(name), timestamp: 1_000 });
    await this.stream.appendBatches(
      [builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 })],
      undefined,
    );
  }

  /** All records, by offset. */
  async names(over: Kernel): Promise<string[]> {
    const found: string[] = [];
    for (let at = this.stream.start; at < this.stream.tail;) {
      const { bytes, nextOffset } = await this.stream.readBatches(at, this.stream.tail, 1 << 20);
      found.push(...textsOf(over, bytes));
      at = nextOffset;
    }
    return found;
  }

  connect(): Wire {
    if (!this.isReachable) throw new Error("unreachable");
    const socket = new SimSocket(this, this.#time);
    this.#clients.add(socket);
    return socket;
  }

  cutAll(): void {
    for (const client of [...this.#clients]) this.cut(client, 1006);
  }

  cut(client: SimSocket, code: number): void {
    client.end(code, code === 1006 && this.#time.random.chance(0.5));
    this.#clients.delete(client);
  }

  forget(client: SimSocket): void {
    this.#gone.add(client);
  }

  delivered(client: SimSocket): void {
    if (--this.cutAfter > 0) return;
    this.cutAfter = Infinity;
    this.cut(client, 1006);
  }

  async arrived(client: SimSocket, data: Sent): Promise<void> {
    if (this.#gone.has(client)) return;
    this.delivered(client);
    if (data === "ping") return client.tell("pong");
    const frame = decodeFrame(data);
    if (!frame) return;
    const { channel } = frame;
    if (frame.type === FrameType.OPEN) return this.#open(client, channel, jsonOf(frame)!);
    const object = client.channels.get(channel);
    if (!object) return;
    if (frame.type === FrameType.CLOSE) {
      client.channels.delete(channel);
      object.isOpen = false;
      return this.#sockets.closed(object);
    }
    const sent =
      frame.type === FrameType.JOIN ? withAsker(frame, { owner: OWNER, mayWrite: true }) : encodeFrame(frame as never);
    await this.#sockets.message(object, sent);
    if (this.#edge.aborted !== undefined) {
      this.#edge.aborted = undefined;
      await this.reset();
    }
  }

  async #open(client: SimSocket, channel: number, { path }: Record<string, unknown>): Promise<void> {
    if (path !== PATH) {
      const error = { code: "NOT_FOUND", message: "no such stream", details: {} };
      return client.tell(jsonFrame({ type: FrameType.ERROR, channel }, error));
    }
    const object = new ObjectSocket(
      (data) => client.tell(data.slice()),
      () => client.channels.delete(channel),
    );
    class Pair {
      readonly 0 = {};
      readonly 1 = object;
    }
    Object.assign(globalThis, { WebSocketPair: Pair });
    client.channels.set(channel, object);
    await this.#sockets.accept(channel).catch((thrown: unknown) => {
      // Node's Response knows no status 101; all else has been done by then.
      if (!(thrown instanceof RangeError)) throw thrown;
    });
  }
}

/** The values of whole batches. */
export function textsOf(over: Kernel, bytes: Uint8Array): string[] {
  return splitBatches(bytes).flatMap((each) => {
    const batch = decodeBatch(over, each) as Exclude<ReturnType<typeof decodeBatch>, Promise<unknown>>;
    return Array.from({ length: batch.count }, (_, i) => new TextDecoder().decode(batch.valueAt(i)!));
  });
}
