/** The worker's end of a data port: checks what comes, runs it, answers under its number. */
import { TidemarkError } from "../errors.ts";
import type { LogApi, StartPosition } from "../log/types.ts";
import { CREDIT_BYTES, type Hello, PROTOCOL_VERSION, type Request, REQUESTS_MAX } from "./protocol.ts";

export interface PortHost {
  /** The open log of a topic; UNKNOWN_TOPIC when the page never opened it. */
  log(topic: string): Promise<LogApi>;
  /** Resolves once the store is open, again if need be. */
  ready(): Promise<void>;
  appended(topic: string): void;
  failed(error: TidemarkError): void;
}

export class PortServer {
  readonly #port: MessagePort;
  readonly #host: PortHost;
  readonly #running = new Map<number, AbortController>();
  #creditUsed = 0;

  constructor(port: MessagePort, host: PortHost) {
    this.#port = port;
    this.#host = host;
    port.onmessage = ({ data }: MessageEvent) => void this.#receive(data);
    const hello: Hello = { hello: PROTOCOL_VERSION, creditBytes: CREDIT_BYTES };
    port.postMessage(hello);
  }

  async #receive(message: unknown): Promise<void> {
    const { id, ...request } = (typeof message === "object" && message !== null ? message : {}) as { id?: unknown } & Request;
    if (typeof id !== "number" || !Number.isSafeInteger(id)) return;
    if (request.op === "cancel") return this.#running.get(id)?.abort(new TidemarkError("CLOSED", "cancelled"));
    try {
      if (this.#running.has(id)) throw new TidemarkError("INVALID_ARGUMENT", "this number is taken", { id });
      if (this.#running.size >= REQUESTS_MAX) throw new TidemarkError("LIMIT_EXCEEDED", "too many requests under way", { requestsMax: REQUESTS_MAX });
      const controller = new AbortController();
      this.#running.set(id, controller);
      try {
        const ok = await this.#run(request, controller.signal);
        this.#port.postMessage({ id, ok }, buffersOf(ok));
      } finally {
        this.#running.delete(id);
      }
    } catch (thrown) {
      const error = TidemarkError.from(thrown);
      if (error.kind === "reopen") this.#host.failed(error);
      this.#port.postMessage({ id, error: error.toWire() });
    }
  }

  async #run(request: Request, signal: AbortSignal): Promise<unknown> {
    if (request.op === "ready") return this.#host.ready();
    if (request.op === "append") return this.#append(request);
    if (request.op === "fetch") {
      const { from, maxBytes, isolation, wait, verify } = request;
      const log = await this.#host.log(String(request.topic));
      return log.fetch(Number(from), { ...(maxBytes && { maxBytes }), ...(isolation && { isolation }), wait: wait === true, verify: verify === true, signal });
    }
    if (request.op === "resolve") {
      const log = await this.#host.log(String(request.topic));
      return log.resolve(request.position as StartPosition, request.isolation);
    }
    throw new TidemarkError("INVALID_ARGUMENT", `unknown request ${String((request as { op?: unknown }).op)}`);
  }

  async #append(request: Extract<Request, { op: "append" }>): Promise<unknown> {
    const { topic, batch, acks, ifEnd } = request;
    if (!(batch instanceof Uint8Array)) throw new TidemarkError("INVALID_ARGUMENT", "a batch is bytes");
    if (this.#creditUsed + batch.length > CREDIT_BYTES) throw new TidemarkError("BACKPRESSURE", "the page has used up its credit", { creditBytes: CREDIT_BYTES });
    const bytes = batch.length;
    this.#creditUsed += bytes;
    try {
      const log = await this.#host.log(String(topic));
      const result = await log.append(batch, { ...(acks && { acks }), ...(ifEnd !== undefined && { ifEnd }) });
      this.#host.appended(String(topic));
      return result;
    } finally {
      this.#creditUsed -= bytes;
    }
  }
}

/** Fetched bytes move, they are not copied: the store made the buffer for this answer alone. */
function buffersOf(ok: unknown): ArrayBuffer[] {
  const bytes = (ok as { bytes?: unknown } | undefined)?.bytes;
  return bytes instanceof Uint8Array && bytes.byteLength > 0 ? [bytes.buffer as ArrayBuffer] : [];
}
