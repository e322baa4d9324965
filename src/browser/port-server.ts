/** The worker's end of a data port: checks what comes, runs it, answers under its number. */
import { TidemarkError } from "../errors.ts";
import { withDefaults } from "../log/limits.ts";
import type { Acks, LogApi, StartPosition } from "../log/types.ts";
import type { TideEvent } from "./api.ts";
import { CREDIT_BYTES, type Hello, type ManageRequest, PROTOCOL_VERSION, type Request, REQUESTS_MAX, type Told } from "./protocol.ts";

export interface PortHost {
  /** The open log of a topic; UNKNOWN_TOPIC when the page never opened it. */
  log(topic: string): Promise<LogApi>;
  manage(request: ManageRequest): Promise<unknown>;
  appended(topic: string): void;
  failed(error: TidemarkError): void;
}

export class PortServer {
  readonly #port: MessagePort;
  readonly #host: PortHost;
  /** Requests under way; whoever ends the port ends them. */
  readonly running = new Map<number, AbortController>();
  #creditUsed = 0;

  /** `opened`: what the page is told first. */
  constructor(port: MessagePort, host: PortHost, opened?: unknown) {
    this.#port = port;
    this.#host = host;
    port.onmessage = ({ data }: MessageEvent) => void this.#receive(data);
    const hello: Hello = { hello: PROTOCOL_VERSION, creditBytes: CREDIT_BYTES, opened };
    port.postMessage(hello);
  }

  tell(event: TideEvent): void {
    this.#port.postMessage({ event } satisfies Told);
  }

  async #receive(message: unknown): Promise<void> {
    const { id, ...request } = (typeof message === "object" && message !== null ? message : {}) as { id?: unknown } & Request;
    if (typeof id !== "number" || !Number.isSafeInteger(id)) return;
    if (request.op === "cancel") return this.running.get(id)?.abort(new TidemarkError("CLOSED", "cancelled"));
    try {
      if (this.running.has(id)) throw new TidemarkError("INVALID_ARGUMENT", "in use", { id });
      if (this.running.size >= REQUESTS_MAX) throw new TidemarkError("LIMIT_EXCEEDED", "too many requests", { requestsMax: REQUESTS_MAX });
      const controller = new AbortController();
      this.running.set(id, controller);
      try {
        const ok = await this.#run(request, controller.signal);
        this.#port.postMessage({ id, ok }, buffersOf(ok));
      } finally {
        this.running.delete(id);
      }
    } catch (thrown) {
      const error = TidemarkError.from(thrown);
      if (error.kind === "reopen" || error.details["poisoned"]) this.#host.failed(error);
      this.#port.postMessage({ id, error: error.toWire() });
    }
  }

  async #run(request: Request, signal: AbortSignal): Promise<unknown> {
    if (!isRequest(request)) throw new TidemarkError("INVALID_ARGUMENT", "not a request");
    if (request.op === "append") return this.#append(request);
    if (request.op === "fetch") return (await this.#host.log(request.topic)).fetch(request.from, { ...request, signal });
    if (request.op === "resolve") return (await this.#host.log(request.topic)).resolve(request.position as StartPosition, request.isolation);
    const managed = request as ManageRequest;
    // Before the host keeps them: nonsense must leave nothing behind.
    if (managed.op === "topic") withDefaults(managed.settings);
    return this.#host.manage(managed);
  }

  async #append(request: Extract<Request, { op: "append" }>): Promise<unknown> {
    const { topic, batch } = request;
    // What it holds in memory: a batch may be a view of a larger buffer.
    const bytes = batch.buffer.byteLength;
    if (this.#creditUsed + bytes > CREDIT_BYTES) throw new TidemarkError("BACKPRESSURE", "no credit", { creditBytes: CREDIT_BYTES });
    this.#creditUsed += bytes;
    try {
      const log = await this.#host.log(topic);
      const result = await log.append(batch, request);
      this.#host.appended(topic);
      return result;
    } finally {
      this.#creditUsed -= bytes;
    }
  }
}

/** Every field is of its type, so that nothing behind here loops, never answers, or calls it a bug of ours. */
function isRequest(request: object): boolean {
  const { op, topic, batch, acks = "flushed", ifEnd = 0, from, maxBytes = 0, isolation = "committed", position, port, settings } = request as Record<string, unknown>;
  const { last, timestamp } = Object(position) as Record<string, unknown>;
  const isNumber = (value: unknown) => typeof value === "number";
  if (op === "ready" || op === "close" || op === "leave") return true;
  if (op === "control" || op === "join") return port instanceof MessagePort || typeof port === "string";
  if (typeof topic !== "string" || (isolation !== "committed" && isolation !== "provisional")) return false;
  if (op === "topic") return Object(settings) === settings;
  if (op === "fetch") return isNumber(from) && Number.isSafeInteger(maxBytes) && (maxBytes as number) >= 0;
  if (op === "resolve") return position === "earliest" || position === "latest" || isNumber(last ?? timestamp ?? position);
  // Shared bytes could change after they were found good.
  return op === "append" && batch instanceof Uint8Array && batch.buffer instanceof ArrayBuffer && ["accepted", "written", "flushed"].includes(acks as Acks) && isNumber(ifEnd);
}

/** Fetched bytes move, they are not copied: the store made the buffer for this answer alone. */
function buffersOf(ok: unknown): ArrayBuffer[] {
  const bytes = (ok as { bytes?: unknown } | undefined)?.bytes;
  return bytes instanceof Uint8Array && bytes.byteLength > 0 ? [bytes.buffer as ArrayBuffer] : [];
}
