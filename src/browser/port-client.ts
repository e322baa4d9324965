/** The page's end of the data port: numbers requests, keeps to the credit, and settles everything when the worker is gone. */
import { TidemarkError } from "../errors.ts";
import type { AppendResult, Fetched } from "../log/types.ts";
import type { TideEvent } from "./api.ts";
import { type Answer, type AppendRequest, type Failed, type Hello, PROTOCOL_VERSION, type Request, type Told } from "./protocol.ts";

interface Call {
  readonly resolve: (value: never) => void;
  readonly reject: (reason: unknown) => void;
  readonly creditBytes: number;
  readonly done: (() => void) | undefined;
  readonly appends: boolean;
}

export class PortClient {
  readonly #port: MessagePort;
  readonly #calls = new Map<number, Call>();
  #nextId = 1;
  #credit = 0;
  /** Appends that wait for credit, in order. */
  readonly #waiting: { readonly bytes: number; readonly go: () => void; readonly reject: (reason: unknown) => void }[] = [];
  #failure: TidemarkError | undefined;
  onEvent: ((event: TideEvent) => void) | undefined;
  /** What the worker says of the open tide, or why there is none. */
  readonly ready: Promise<unknown>;
  #greeted!: (opened: unknown) => void;
  #refused!: (error: TidemarkError) => void;

  constructor(port: MessagePort) {
    this.#port = port;
    this.ready = new Promise((resolve, reject) => {
      this.#greeted = resolve;
      this.#refused = reject;
    });
    this.ready.catch(() => undefined);
    port.onmessage = ({ data }: MessageEvent<Hello | Failed | Told | Answer>) => this.#receive(data);
  }

  #receive(message: Hello | Failed | Told | Answer): void {
    if (Object(message) !== message) return;
    if ("failed" in message) return this.fail(TidemarkError.fromWire(message.failed));
    if ("event" in message) return this.onEvent?.(message.event);
    if ("hello" in message) {
      if (message.hello !== PROTOCOL_VERSION || !Number.isSafeInteger(message.creditBytes)) {
        this.fail(new TidemarkError("UNSUPPORTED_FORMAT", "page and worker differ in version", { page: PROTOCOL_VERSION, worker: message.hello }));
        return;
      }
      this.#credit = message.creditBytes;
      this.#greeted(message.opened);
      this.#spend();
      return;
    }
    const call = this.#calls.get(message.id);
    // Cancelled meanwhile.
    if (!call) return;
    this.#settle(message.id, call);
    if ("ok" in message) call.resolve(message.ok as never);
    else call.reject(TidemarkError.fromWire(message.error));
  }

  #settle(id: number, call: Call): void {
    this.#calls.delete(id);
    call.done?.();
    this.#credit += call.creditBytes;
    this.#spend();
  }

  #spend(): void {
    while (this.#waiting[0] && (this.#failure || this.#credit >= this.#waiting[0].bytes)) this.#waiting.shift()!.go();
  }

  append(request: Omit<AppendRequest, "op">): Promise<AppendResult> {
    const bytes = request.batch.length;
    return new Promise((resolve, reject) => {
      const post = () => this.#post<AppendResult>({ op: "append", ...request }, { transfer: [request.batch.buffer as ArrayBuffer], creditBytes: bytes });
      this.#waiting.push({ bytes, go: () => void post().then(resolve, reject), reject });
      this.#spend();
    });
  }

  call<T = Fetched>(request: Request, signal?: AbortSignal): Promise<T> {
    return this.#post<T>(request, { ...(signal && { signal }), ...("port" in request && { transfer: [request.port] }) });
  }

  #post<T>(request: Request, options: { transfer?: Transferable[]; creditBytes?: number; signal?: AbortSignal }): Promise<T> {
    const { transfer = [], creditBytes = 0, signal } = options;
    if (this.#failure) return Promise.reject(this.#failure);
    if (signal?.aborted) return Promise.reject(signal.reason);
    return new Promise<T>((resolve, reject) => {
      const id = this.#nextId++;
      const abort = () => {
        const call = this.#calls.get(id);
        if (!call) return;
        this.#settle(id, call);
        this.#port.postMessage({ id, op: "cancel" });
        reject(signal!.reason);
      };
      signal?.addEventListener("abort", abort, { once: true });
      const done = signal && (() => signal.removeEventListener("abort", abort));
      this.#calls.set(id, { resolve, reject, creditBytes, done, appends: request.op === "append" });
      this.#credit -= creditBytes;
      this.#port.postMessage({ id, ...request }, transfer);
    });
  }

  /** No answer will come any more: appends on their way may have been written, all else simply ends. */
  fail(error: TidemarkError): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#refused(error);
    const unknown = new TidemarkError("OUTCOME_UNKNOWN", `no answer: ${error.message}`, {}, { cause: error });
    for (const [id, call] of [...this.#calls]) {
      this.#calls.delete(id);
      call.done?.();
      call.reject(call.appends ? unknown : error);
    }
    for (const { reject } of this.#waiting.splice(0)) reject(error);
    this.#port.close();
  }
}
