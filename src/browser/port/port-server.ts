/** The worker's end of a data port: checks each message, runs it, and answers under its number. */
import { TidemarkError } from "../../errors.ts";
import { withDefaults } from "../../log/limits.ts";
import type { LogApi, StartPosition } from "../../log/types.ts";
import { checkOptions, elsewhere, flag, integer, refused } from "../../topic/check.ts";
import { APPEND_OPTIONS, READ_OPTIONS } from "../../topic/options.ts";
import { logSettingsOf } from "../../topic/settings.ts";
import { LENT_BYTES } from "../../record/batch-builder.ts";
import type { TideEvent } from "../api.ts";
import {
  type Appended,
  type AppendRequest,
  CREDIT_BYTES,
  type Hello,
  type ManageRequest,
  type Ping,
  type Pong,
  PROTOCOL_VERSION,
  type Request,
  REQUESTS_MAX,
  type Told,
} from "./protocol.ts";

export interface PortHost {
  /**
   * The log of a topic; a log without records if there is no such topic. UNKNOWN_TOPIC if the topic that was `born`
   * then is gone.
   */
  readable(topic: string, born?: number): Promise<{ readonly log: LogApi; readonly born: number | undefined }>;
  /** The same for an append: a topic that does not exist is made. */
  writable(
    topic: string,
    born?: number,
    ifEnd?: number,
  ): Promise<{ readonly log: Pick<LogApi, "append">; readonly born: number }>;
  /** `signal`: the page has given the request up. */
  manage(request: ManageRequest, signal?: AbortSignal): Promise<unknown>;
  appended(topic: string): void;
  failed(error: TidemarkError): void;
}

export class PortServer {
  readonly #port: MessagePort;
  readonly #host: PortHost;
  /** Requests under way. When the port ends, they are ended; an append can't be, so it has no controller. */
  readonly running = new Map<number, AbortController | undefined>();
  #creditUsed = 0;
  /** True if bytes are copied on their way: by this port, or because another process is at its other end. */
  copies: boolean;

  /** `opened` is the first thing that the page is told. */
  constructor(port: MessagePort, host: PortHost, opened?: unknown) {
    this.#port = port;
    this.copies = "copies" in port;
    this.#host = host;
    port.onmessage = ({ data }: MessageEvent) => void this.#receive(data);
    const hello: Hello = { hello: PROTOCOL_VERSION, creditBytes: CREDIT_BYTES, opened };
    port.postMessage(hello);
  }

  tell(event: TideEvent): void {
    this.#port.postMessage({ event } satisfies Told);
  }

  async #receive(message: unknown): Promise<void> {
    const request = Object(message) as { id: number } & Partial<Ping> & Request;
    const { id, ping } = request;
    if (Number.isSafeInteger(ping)) return this.#port.postMessage({ pong: ping! } satisfies Pong);
    if (!Number.isSafeInteger(id)) return;
    if (request.op === "cancel") return this.running.get(id)?.abort(new TidemarkError("CLOSED", "cancelled"));
    try {
      if (this.running.has(id)) throw new TidemarkError("INVALID_ARGUMENT", "in use");
      if (this.running.size >= REQUESTS_MAX)
        throw new TidemarkError("LIMIT_EXCEEDED", "too many requests", { requestsMax: REQUESTS_MAX });
      const controller = request.op === "append" ? undefined : new AbortController();
      this.running.set(id, controller);
      try {
        const ok = await this.#run(request, controller?.signal);
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

  async #run(request: Request, signal: AbortSignal | undefined): Promise<unknown> {
    check(request);
    if (request.op === "append") return this.#append(request);
    if (request.op === "fetch" || request.op === "resolve") {
      const { log, born } = await this.#host.readable(request.topic, request.born);
      const found =
        request.op === "fetch"
          ? await log.fetch(request.from, { ...request, signal })
          : { offset: await log.resolve(request.position as StartPosition, request.isolation) };
      // Only pages that do not know the birth yet get it. If the topic was made meanwhile, the result has its birth
      // already (absent-log.ts).
      return request.born === undefined && born !== undefined ? { ...found, born } : found;
    }
    const managed = request as ManageRequest;
    // Checked before the host keeps them, so that invalid settings leave nothing behind.
    if (managed.op === "topic") withDefaults(logSettingsOf(managed.settings ?? {}));
    return this.#host.manage(managed, signal);
  }

  async #append(request: AppendRequest): Promise<Appended> {
    const { topic, batch } = request;
    // Counts the memory that it holds: a batch may be a view of a larger buffer.
    const bytes = batch.buffer.byteLength;
    if (this.#creditUsed + bytes > CREDIT_BYTES)
      throw new TidemarkError("BACKPRESSURE", "too many bytes", { creditBytes: CREDIT_BYTES });
    this.#creditUsed += bytes;
    try {
      const { log, born } = await this.#host.writable(topic, request.born, request.ifEnd);
      const result = await log.append(batch, request);
      this.#host.appended(topic);
      return {
        ...result,
        ...(request.born === undefined && { born }),
        // The log keeps no batch that is flushed. At the other levels it may still have to write it.
        ...(bytes >= LENT_BYTES &&
          result.acks === "flushed" &&
          !this.copies && { memory: batch.buffer as ArrayBuffer }),
      };
    } finally {
      this.#creditUsed -= bytes;
    }
  }
}

const offset = integer(0);
/** Checks of the data calls' fields. The page has checked the same, but it may be of another version, or hostile. */
const FIELDS = {
  append: { ...APPEND_OPTIONS, fromZero: flag, resentSince: offset },
  // Only the log knows which offsets exist.
  fetch: {
    from: integer(Number.MIN_SAFE_INTEGER),
    maxBytes: READ_OPTIONS.maxBytes,
    to: offset,
    isolation: READ_OPTIONS.isolation,
    wait: flag,
    verify: flag,
  },
  resolve: { position: READ_OPTIONS.from, isolation: READ_OPTIONS.isolation },
};

/**
 * Checks that every field has its type and is in its range, so that no code behind this loops, never answers, or
 * reports a bug.
 */
function check(request: object): void {
  const { op, topic, born = 0, batch, from, position, port, ask } = request as Record<string, unknown>;
  const refuse = (field: string, value: unknown, allowed: string): never => {
    throw refused(field, value, allowed);
  };
  if (op === "ready" || op === "close" || op === "leave") return;
  if (op === "control" || op === "join") {
    if (!(port instanceof MessagePort) && typeof port !== "string") refuse("port", port, "a port or its name");
    return;
  }
  if (op === "sync") {
    if (typeof ask !== "object" || ask === null) refuse("ask", ask, "what is asked of sync");
    return;
  }
  if (op !== "topic" && op !== "delete" && op !== "append" && op !== "fetch" && op !== "resolve")
    return refuse("op", op, "one that is known");
  if (typeof topic !== "string") refuse("topic", topic, "a name");
  offset("born", born);
  if (op === "topic" || op === "delete") return;
  if (op === "fetch" && from === undefined) refuse("from", from, "an offset");
  if (op === "resolve" && position === undefined) refuse("position", position, "a place in the log");
  // Shared bytes could change after they were validated.
  if (op === "append" && !(batch instanceof Uint8Array && batch.buffer instanceof ArrayBuffer))
    refuse("batch", batch, "bytes");
  checkOptions(op, request, FIELDS[op], elsewhere);
}

/**
 * Fetched bytes are transferred, not copied: the store made the buffer for this answer alone. The memory of a batch is
 * transferred back to the page that sent it.
 */
function buffersOf(ok: unknown): ArrayBuffer[] {
  const { bytes, memory } = Object(ok) as { bytes?: unknown; memory?: ArrayBuffer };
  if (memory) return [memory];
  return bytes instanceof Uint8Array && bytes.byteLength > 0 ? [bytes.buffer as ArrayBuffer] : [];
}
