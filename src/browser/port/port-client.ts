/**
 * The page's connection to the worker that leads. It numbers requests, keeps within the credit, and ends every call
 * when the worker is gone, whatever the reason.
 */
import { TidemarkError } from "../../errors.ts";
import type { Fetched } from "../../log/types.ts";
import type { TideEvent } from "../api.ts";
import { whenFree } from "../platform/locks.ts";
import type { Control } from "./envelope.ts";
import {
  type Appended,
  type AppendRequest,
  type Ping,
  type PortOrName,
  PROTOCOL_VERSION,
  type Request,
  REQUESTS_MAX,
  type ToPage,
} from "./protocol.ts";

interface Call {
  readonly request: Request;
  readonly resolve: (value: never) => void;
  readonly reject: (reason: unknown) => void;
  readonly creditBytes: number;
  /** Called when the call was answered, or never will be. */
  readonly done: () => void;
}

/** Is told of every call except pings: when it was made, and when it ended, in whatever way. */
export interface CallObserver {
  began(request: Request): void;
  ended(request: Request): void;
}

/** Calls that applications make in great numbers wait for a place, each kind in order. All other calls go at once. */
type Line = "writes" | "reads";

function lineOf(request: Request): Line | undefined {
  if (request.op === "append" || request.op === "topic") return "writes";
  // A read that waits for new records would keep its place for long, so it takes none.
  return request.op === "resolve" || (request.op === "fetch" && !request.wait) ? "reads" : undefined;
}

/** This many places are kept for calls that do not wait for one. */
const PLACES_KEPT = 64;

export class PortClient {
  readonly #port: MessagePort;
  readonly #calls = new Map<number, Call>();
  readonly #pings = new Map<number, () => void>();
  #nextId = 1;
  #credit = 0;
  readonly #waiting: Record<Line, Call[]> = { writes: [], reads: [] };
  /** Calls under way that will soon give back their place. */
  #brief = 0;
  #control: Promise<Control> | undefined;
  #fail!: (error: TidemarkError) => void;
  readonly failed = new Promise<never>((_, reject) => (this.#fail = reject));
  #greeted!: (opened: unknown) => void;
  /** What the worker says of the open tide, or why there is none. */
  readonly ready = Promise.race([new Promise<unknown>((resolve) => (this.#greeted = resolve)), this.failed]);
  ended: TidemarkError | undefined;
  /** A request for a lock is kept, with all that it calls, until the lock is free: as long as another tab leads. */
  readonly #over = new AbortController();
  onEvent: ((event: TideEvent) => void) | undefined;
  /** Makes two ends of a new port, for this page and for the other side, where ports can't be sent. */
  readonly pair: (() => readonly [MessagePort, PortOrName]) | undefined;
  /** Observes the calls from now on. */
  observer: CallObserver | undefined;
  onEnd: ((error: TidemarkError) => void) | undefined;

  /** `lifeLock` is held by the worker as long as it lives. `stop` releases what this connection holds. */
  constructor(
    port: MessagePort,
    readonly lifeLock = "",
    readonly stop?: () => void,
    pair?: () => readonly [MessagePort, PortOrName],
  ) {
    this.pair = pair;
    this.#port = port;
    this.ready.catch(() => undefined);
    port.onmessage = ({ data }: MessageEvent<ToPage>) => this.#receive(data);
  }

  /** From now on the worker's end is noticed, even while this page's timers are throttled. */
  watch(): void {
    const gone = (): void => this.fail(new TidemarkError("CLOSED", "the worker is gone", { reason: "worker" }));
    whenFree(this.lifeLock, gone, this.#over.signal);
  }

  #receive(message: ToPage): void {
    if (Object(message) !== message) return;
    if ("failed" in message) return this.fail(TidemarkError.fromWire(message.failed));
    if ("event" in message) return this.onEvent?.(message.event);
    if ("pong" in message) return this.#pings.get(message.pong)?.();
    if ("hello" in message) {
      if (message.hello !== PROTOCOL_VERSION || !Number.isSafeInteger(message.creditBytes)) {
        return this.fail(
          new TidemarkError("UNSUPPORTED_FORMAT", "another version", { page: PROTOCOL_VERSION, worker: message.hello }),
        );
      }
      this.#credit = message.creditBytes;
      this.#greeted(message.opened);
      return this.#spend();
    }
    const call = this.#calls.get(message.id);
    // The call was cancelled meanwhile.
    if (!call) return;
    this.#settle(message.id, call);
    if ("ok" in message) call.resolve(message.ok as never);
    else call.reject(TidemarkError.fromWire(message.error));
  }

  #settle(id: number, call: Call): void {
    this.#calls.delete(id);
    call.done();
    this.#credit += call.creditBytes;
    if (lineOf(call.request)) this.#brief--;
    this.#spend();
  }

  /**
   * True if the call may be sent now. If waiting reads hold every place, it may as well: then the worker refuses it.
   */
  #hasPlace({ creditBytes }: Call): boolean {
    if (creditBytes > this.#credit) return false;
    return this.#brief === 0 || this.#calls.size < REQUESTS_MAX - PLACES_KEPT;
  }

  #spend(): void {
    for (const line of Object.values(this.#waiting))
      while (line[0] && this.#hasPlace(line[0])) this.#send(line.shift()!);
  }

  append(request: Omit<AppendRequest, "op">): Promise<Appended> {
    // As the worker counts them: a batch may be a view of a larger buffer.
    return this.call<Appended>({ op: "append", ...request }, undefined, request.batch.buffer.byteLength);
  }

  call<T = Fetched>(request: Request, signal?: AbortSignal, creditBytes = 0): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.ended) throw this.ended;
      signal?.throwIfAborted();
      const abort = (): void => this.#cancel(call, signal!.reason);
      signal?.addEventListener("abort", abort);
      const { observer } = this;
      observer?.began(request);
      const done = (): void => {
        signal?.removeEventListener("abort", abort);
        observer?.ended(request);
      };
      const call: Call = { request, resolve, reject, creditBytes, done };
      const line = lineOf(request);
      if (!line) return this.#send(call);
      this.#waiting[line].push(call);
      this.#spend();
    });
  }

  #send(call: Call): void {
    const { request, creditBytes } = call;
    const id = this.#nextId++;
    this.#calls.set(id, call);
    this.#credit -= creditBytes;
    if (lineOf(request)) this.#brief++;
    const { batch, port } = request as { batch?: Uint8Array<ArrayBuffer>; port?: PortOrName };
    try {
      this.#port.postMessage(
        { id, ...request },
        [batch?.buffer, port].filter((each) => each instanceof Object),
      );
    } catch (thrown) {
      // Something in this call can't be sent. The error is this call's, and not that of the call whose end made room.
      this.#settle(id, call);
      call.reject(thrown);
    }
  }

  #cancel(call: Call, reason: unknown): void {
    for (const line of Object.values(this.#waiting)) {
      const at = line.indexOf(call);
      if (at < 0) continue;
      line.splice(at, 1);
      call.done();
    }
    for (const [id, each] of this.#calls) {
      if (each !== call) continue;
      this.#settle(id, call);
      this.#port.postMessage({ id, op: "cancel" });
    }
    call.reject(reason);
  }

  /** Resolves when the worker answers that it lives. Rejects when it is gone. Needs no place. */
  async ping(): Promise<void> {
    const ping = this.#nextId++;
    const answered = new Promise<void>((resolve) => this.#pings.set(ping, resolve));
    this.#port.postMessage({ ping } satisfies Ping);
    await Promise.race([answered, this.failed]);
    this.#pings.delete(ping);
  }

  async control(method: keyof Control, ...args: unknown[]): Promise<unknown> {
    this.#control ??= import("./control-client.ts").then(({ controlOver }) => controlOver(this));
    // A failed load may succeed later (no network), so it is not remembered.
    this.#control.catch(() => (this.#control = undefined));
    return ((await this.#control)[method] as (...args: unknown[]) => unknown)(...args);
  }

  /** No answer will come any more. Appends that are under way may have been written; all other calls simply end. */
  fail(error: TidemarkError): void {
    if (this.ended) return;
    this.ended = error;
    this.#fail(error);
    const unknown = new TidemarkError("OUTCOME_UNKNOWN", `no answer: ${error.message}`, {}, { cause: error });
    for (const call of this.#calls.values()) {
      call.done();
      call.reject(call.request.op === "append" ? unknown : error);
    }
    for (const line of Object.values(this.#waiting)) {
      for (const { done, reject } of line) {
        done();
        reject(error);
      }
    }
    this.#port.close();
    this.#over.abort();
    this.stop?.();
    this.onEnd?.(error);
  }
}
