/**
 * How a Worker waits for a log's end to move: a socket to the log's object, which sleeps meanwhile and sends `{ end,
 * closed }` after each commit. Its being open also says that somebody reads: the object keeps a stream with a TTL for
 * as long (log-object.ts).
 */
import { WATCH_HEADER } from "./internal-headers.ts";
import { refusalIn } from "../wire/http.ts";

/** Asks the stream's object; the path and the tenant are in it already. */
export type Ask = (query: string, headers?: Record<string, string>) => Promise<Response>;

interface Notice {
  readonly end: number;
  readonly closed: boolean;
}

export class Watch {
  readonly #socket: WebSocket;
  #newest: Notice | undefined;
  #gone = false;
  #wake: (() => void) | undefined;

  constructor(socket: WebSocket) {
    this.#socket = socket;
    (socket as unknown as { accept(): void }).accept();
    socket.addEventListener("message", ({ data }) => {
      if (typeof data === "string") this.#newest = JSON.parse(data) as Notice;
      this.#wake?.();
    });
    socket.addEventListener("close", () => this.#end());
    socket.addEventListener("error", () => this.#end());
  }

  /** `signal`: the reader has gone, and its place in the object is free at once. */
  static async open(ask: Ask, offset: number, signal?: AbortSignal): Promise<Watch> {
    const response = await ask("", { upgrade: "websocket", [WATCH_HEADER]: String(offset) });
    const socket = (response as unknown as { webSocket: WebSocket | null }).webSocket;
    if (!socket) throw await refusalIn(response);
    const watch = new Watch(socket);
    if (signal?.aborted) watch.close();
    signal?.addEventListener("abort", () => watch.close(), { once: true });
    return watch;
  }

  #end(): void {
    this.#gone = true;
    this.#wake?.();
  }

  /**
   * True once there is something behind `offset`, the stream was closed, or the socket is gone; false at the deadline.
   */
  async past(offset: number, deadlineMs: number): Promise<boolean> {
    for (;;) {
      if (this.#gone || (this.#newest && (this.#newest.end > offset || this.#newest.closed))) return true;
      const left = deadlineMs - Date.now();
      if (left <= 0) return false;
      let timer: ReturnType<typeof setTimeout> | undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        timer = setTimeout(resolve, left);
      });
      if (timer !== undefined) clearTimeout(timer);
    }
  }

  get gone(): boolean {
    return this.#gone;
  }

  close(): void {
    try {
      this.#socket.close(1000);
    } catch {
      // Closed already.
    }
    this.#end();
  }
}
