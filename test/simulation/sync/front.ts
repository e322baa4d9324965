/**
 * The front of a simulated edge: the sockets of all devices, its clock, and what goes wrong between both and the
 * objects of its logs (edge.ts).
 *
 *   SimSocket ── SimFront ─┬─ SimEdge "t"         a log's object each
 *                          └─ SimEdge "t1"
 */
import { type Frame, FrameType } from "../../../src/sync/frames.ts";
import type { SimEdge } from "./edge.ts";
import type { HttpDoor } from "./http-way.ts";
import { type DeviceEnd, type Front, SimSocket } from "./network.ts";
import type { Time } from "./time.ts";
import { tokenOf } from "./tokens.ts";

const EPOCH_MS = 1_764_000_000_000;
/** What the front passes on once more comes within so long. */
const AGAIN_MS = 2_000;
/** Frames that one end waits for a limited time for, on a socket that goes on. */
const LIMITED: ReadonlySet<number> = new Set([FrameType.JOIN, FrameType.JOINED]);

export class SimFront implements Front, HttpDoor {
  readonly time: Time;
  readonly clients = new Set<SimSocket>();
  readonly #logs = new Map<string, SimEdge>();
  isReachable = true;
  /** So long each message takes, each way. Undefined: chance decides. */
  wayMs: number | undefined;
  /** The socket is cut after this many more messages. */
  cutAfter = Infinity;
  /** Number of joins, or of their answers, that are still to be lost on sockets that go on. */
  losesJoins = 0;
  /** From the next frame of this type but so many on its channel brings nothing more. */
  silentFrom: { readonly type: number; left: number; readonly name: string } | undefined;
  /** The next frame of these types reaches its log's object twice. */
  readonly doubles = new Map<number, string>();
  clockMs = EPOCH_MS;
  /** Called when a fault that waited for its moment strikes. */
  onStruck: (name: string) => void = () => undefined;

  constructor(time: Time) {
    this.time = time;
  }

  add(log: SimEdge): void {
    this.#logs.set(log.path, log);
  }
  doorOf(path: string): SimEdge | undefined {
    return this.#logs.get(path);
  }
  get isOnlyLog(): boolean {
    return this.#logs.size === 1;
  }
  now(): number {
    return this.clockMs + this.time.ms;
  }

  async http(method: "PUT" | "HEAD", path: string, text: string | undefined): Promise<{ readonly status: number }> {
    if (!this.isReachable) throw new Error("unreachable");
    if (text !== undefined && !this.isGood(text)) return { status: 401 };
    return this.doorOf(path)?.answerHttp(method) ?? { status: 404 };
  }

  connect(device: DeviceEnd, text: string | undefined): SimSocket {
    if (!this.isReachable || (text !== undefined && !this.isGood(text))) throw new Error("refused");
    const socket = new SimSocket(this, device, text);
    this.clients.add(socket);
    return socket;
  }

  isGood(text: string): boolean {
    return tokenOf(text).exp * 1000 > this.now();
  }

  get open(): readonly SimSocket[] {
    return [...this.clients].filter(({ isOpen, isHalfOpen }) => isOpen && !isHalfOpen);
  }
  cutAll(): void {
    for (const client of this.open) this.cut(client, 1006);
  }
  cut(client: SimSocket, code: number): void {
    client.end(code, code === 1006 && this.time.random.chance(0.5));
  }
  forget(client: SimSocket): void {
    this.clients.delete(client);
  }

  delivered(client: SimSocket): void {
    if (--this.cutAfter > 0) return;
    this.cutAfter = Infinity;
    this.cut(client, 1006);
  }

  loses({ type }: Frame): boolean {
    if (!LIMITED.has(type) || this.losesJoins === 0 || this.time.random.chance(0.5)) return false;
    this.losesJoins--;
    this.onStruck("join lost");
    return true;
  }

  silences({ type }: Frame): boolean {
    const { silentFrom } = this;
    if (silentFrom?.type !== type || --silentFrom.left >= 0) return false;
    this.silentFrom = undefined;
    this.onStruck(silentFrom.name);
    return true;
  }

  repeats({ type }: Frame): number | undefined {
    const name = this.doubles.get(type);
    if (name === undefined) return undefined;
    this.doubles.delete(type);
    this.onStruck(name);
    // A push comes again at once, or when others have passed.
    return type === FrameType.JOIN || this.time.random.chance(0.5) ? 0 : this.time.random.int(AGAIN_MS);
  }

  wholeAgain(): void {
    this.losesJoins = 0;
    this.silentFrom = undefined;
    this.doubles.clear();
  }
}
