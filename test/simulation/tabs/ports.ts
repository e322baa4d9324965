/**
 * MessagePort, MessageChannel and BroadcastChannel between contexts. Each keeps the order of its messages and has its
 * own delays. Ports can move.
 */
import type { Context, World } from "./world.ts";

type Handler = ((event: { readonly data: unknown; readonly ports: readonly Port[] }) => void) | null;
interface Message {
  readonly data: unknown;
  readonly ports: readonly Side[];
}

/** One end of a channel, wherever it is: `context` is undefined while it travels. */
class Side {
  context: Context | undefined;
  port: Port | undefined;
  closed = false;
  started = false;
  peer!: Side;
  readonly waiting: Message[] = [];
  readonly lane = { last: 0 };
}

/**
 * A structured clone: plain data and bytes; ports and transferred buffers move. `pack` leaves a Side where a port was.
 */
function clone(value: unknown, port: (found: Port | Side) => unknown, transferred: ReadonlySet<unknown>): unknown {
  if (typeof value !== "object" || value === null || value instanceof WebAssembly.Module) return value;
  if (value instanceof Port || value instanceof Side) return port(value);
  if (value instanceof ArrayBuffer)
    return transferred.has(value) ? structuredClone(value, { transfer: [value] }) : value.slice(0);
  if (value instanceof Uint8Array) {
    const { byteOffset, length, buffer } = value;
    return new Uint8Array(clone(buffer, port, transferred) as ArrayBuffer, byteOffset, length);
  }
  if (Array.isArray(value)) return value.map((each) => clone(each, port, transferred));
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, clone(each, port, transferred)]));
}

function pack(data: unknown, transfer: readonly unknown[]): Message {
  const sides: Side[] = [];
  const leave = (port: Port | Side): unknown => {
    if (port instanceof Side) return port;
    const side = port.detach();
    if (!sides.includes(side)) sides.push(side);
    return side;
  };
  const packed = clone(data, leave, new Set(transfer));
  for (const each of transfer) if (each instanceof Port) leave(each);
  return { data: packed, ports: sides };
}

export class Port {
  readonly #context: Context;
  #side: Side;
  #handler: Handler = null;
  readonly #listeners = new Set<NonNullable<Handler>>();

  constructor(context: Context, side: Side) {
    this.#context = context;
    this.#side = side;
    side.context = context;
    side.port = this;
    context.onDeath.push(() => (side.port === this ? (side.closed = true) : undefined));
  }

  detach(): Side {
    const side = this.#side;
    if (side.port === this) {
      side.context = side.port = undefined;
      side.started = false;
    }
    return side;
  }

  set onmessage(handler: Handler) {
    this.#handler = handler;
    this.start();
  }
  addEventListener(_: "message", listener: NonNullable<Handler>): void {
    this.#listeners.add(listener);
  }
  removeEventListener(_: "message", listener: NonNullable<Handler>): void {
    this.#listeners.delete(listener);
  }
  start(): void {
    this.#side.started = true;
    const { world } = this.#context;
    for (const message of this.#side.waiting.splice(0)) deliver(world, this.#side, message, undefined);
  }
  close(): void {
    // Messages that it sent before still arrive.
    this.#side.closed = true;
  }

  postMessage(data: unknown, transfer: readonly unknown[] | { readonly transfer?: readonly unknown[] } = []): void {
    this.#context.tick("post");
    this.#context.world.onPost?.(this.#context, data);
    const message = pack(
      data,
      Array.isArray(transfer) ? transfer : ((transfer as { transfer?: readonly unknown[] }).transfer ?? []),
    );
    deliver(this.#context.world, this.#side.peer, message, this.#context);
  }

  receive({ data, ports }: Message): void {
    const moved = new Map(ports.map((side) => [side, new Port(this.#context, side)]));
    const event = { data: clone(data, (side) => moved.get(side as Side), new Set()), ports: [...moved.values()] };
    this.#handler?.(event);
    for (const listener of this.#listeners) listener(event);
  }
}

function deliver(world: World, side: Side, message: Message, from: Context | undefined): void {
  world.send(
    world.delay(),
    "message",
    { from, to: () => (side.closed ? undefined : (side.context ?? NOBODY)), lane: side.lane },
    () => {
      if (side.port && side.started) side.port.receive(message);
      else side.waiting.push(message);
    },
  );
}
/** The context of a port that travels: messages wait for its arrival. */
const NOBODY = { ending: false, frozen: false, ahead: 0 } as Context;

export function makeChannel(context: Context): { readonly port1: Port; readonly port2: Port } {
  const [a, b] = [new Side(), new Side()];
  a.peer = b;
  b.peer = a;
  return { port1: new Port(context, a), port2: new Port(context, b) };
}

export class Broadcasts {
  readonly #channels = new Map<string, Set<BroadcastPort>>();

  constructor(readonly world: World) {}

  of(name: string): Set<BroadcastPort> {
    let channels = this.#channels.get(name);
    if (!channels) this.#channels.set(name, (channels = new Set()));
    return channels;
  }
}

export class BroadcastPort {
  onmessage: Handler = null;
  readonly #context: Context;
  readonly #all: Set<BroadcastPort>;
  readonly #lanes = new Map<BroadcastPort, { last: number }>();
  readonly #listeners = new Set<NonNullable<Handler>>();

  constructor(context: Context, broadcasts: Broadcasts, name: string) {
    this.#context = context;
    this.#all = broadcasts.of(name);
    this.#all.add(this);
    context.onDeath.push(() => this.close());
  }

  addEventListener(_: "message", listener: NonNullable<Handler>): void {
    this.#listeners.add(listener);
  }
  removeEventListener(_: "message", listener: NonNullable<Handler>): void {
    this.#listeners.delete(listener);
  }
  close(): void {
    this.#all.delete(this);
  }

  postMessage(data: unknown): void {
    const { world } = this.#context;
    this.#context.tick("post");
    for (const other of this.#all) {
      if (other === this) continue;
      // A page that is kept for the way back never gets it.
      if (other.#context.away) {
        world.note("broadcast.lost");
        continue;
      }
      let lane = this.#lanes.get(other);
      if (!lane) this.#lanes.set(other, (lane = { last: 0 }));
      const late = world.random.chance(0.02);
      if (late) world.note("broadcast.late");
      const { data: copy } = pack(data, []);
      world.send(
        world.delay() + (late ? world.random.between(100, 1500) : 0),
        "broadcast",
        { from: this.#context, to: other.#context, lane },
        () => {
          if (!this.#isOpen(other)) return;
          other.onmessage?.({ data: copy, ports: [] });
          for (const listener of other.#listeners) listener({ data: copy, ports: [] });
        },
      );
    }
  }

  #isOpen(other: BroadcastPort): boolean {
    return this.#all.has(other);
  }
}
