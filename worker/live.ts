/**
 * Live reads, held open by the Worker and never by the object. One hibernating socket per reader tells when the log's end has
 * moved; the data itself is then read like any other. So a slow reader asks late and costs nothing meanwhile: what it
 * has not asked for is in no buffer.
 *
 *   client ── long-poll, SSE ──▶ Worker ── GET, when asked ──▶ object
 *                                   ◀── { end, closed } over a socket that lets the object sleep
 */
import { dressed, HttpError } from "./http.ts";
import { mediaType } from "./media-types.ts";
import { formatOffset, H, nextCursor } from "./protocol.ts";
import { WATCH_HEADER } from "./env.ts";

/** Asks the stream's object; the path and the tenant are in it already. */
export type Ask = (query: string, headers?: Record<string, string>) => Promise<Response>;

interface Notice {
  readonly end: number;
  readonly closed: boolean;
}

/** A watcher's socket, and the newest that it said. */
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
    const end = () => {
      this.#gone = true;
      this.#wake?.();
    };
    socket.addEventListener("close", end);
    socket.addEventListener("error", end);
  }

  static async open(ask: Ask, offset: number): Promise<Watch> {
    const response = await ask("", { upgrade: "websocket", [WATCH_HEADER]: String(offset) });
    const socket = (response as unknown as { webSocket: WebSocket | null }).webSocket;
    if (!socket && response.status === 429) throw new HttpError(429, "TOO_MANY_REQUESTS", "too many live readers", { "retry-after": "5" });
    if (!socket) throw new HttpError(response.status, response.status === 404 ? "NOT_FOUND" : "GONE", "the stream is gone");
    return new Watch(socket);
  }

  /** True once there is something behind `offset`, the stream was closed, or the socket is gone; false at the deadline. */
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
      clearTimeout(timer);
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
  }
}

const offsetOf = (response: Response): number => Number((response.headers.get(H.next) ?? "").slice(0, 16));
const isAtTail = (response: Response): boolean => response.headers.get(H.upToDate) === "true";
const isEnded = (response: Response): boolean => response.headers.get(H.closed) === "true";

export interface LiveRequest {
  readonly offset: string;
  readonly cursor: string | undefined;
  readonly waitMs: number;
}

export async function longPoll(ask: Ask, { offset, cursor, waitMs }: LiveRequest): Promise<Response> {
  const deadline = Date.now() + waitMs;
  let found = await ask(`?offset=${encodeURIComponent(offset)}`);
  if (found.status !== 200) return found;
  const start = offset === "now" ? offsetOf(found) : undefined;
  const from = start ?? (offset === "-1" ? 0 : Number(offset.slice(0, 16)));
  // A wake at the same offset is another reader's news (a close with nothing new, say), so it goes round again.
  if (isAtTail(found) && offsetOf(found) === from && !isEnded(found)) {
    void found.body?.cancel();
    const watch = await Watch.open(ask, from);
    try {
      await watch.past(from, deadline);
    } finally {
      watch.close();
    }
    found = await ask(`?offset=${formatOffset(from)}`);
    if (found.status !== 200) return found;
  }
  const headers = new Headers(found.headers);
  headers.delete("etag");
  if (!isEnded(found)) headers.set(H.cursor, nextCursor(Date.now(), cursor, Math.random));
  if (offsetOf(found) === from) {
    void found.body?.cancel();
    headers.set("cache-control", "no-store");
    return new Response(null, { status: 204, headers });
  }
  headers.set("cache-control", offset === "now" ? "no-store" : "public, max-age=20");
  return new Response(found.body, { status: 200, headers });
}

const encoder = new TextEncoder();

/** One SSE field of any text: every line break that SSE knows begins a new data line. */
const event = (name: string, text: string): string => `event: ${name}\n${text.split(/\r\n|\r|\n/).map((line) => `data:${line.startsWith(" ") ? " " : ""}${line}\n`).join("")}\n`;

function base64(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x6000) text += btoa(String.fromCharCode(...bytes.subarray(at, at + 0x6000)));
  return text;
}

/** Bytes as the event's text. 0x6000 is a multiple of 3, so the pieces of base64 join without padding in between. */
const textOf = (bytes: Uint8Array, isText: boolean): string => (isText ? new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes) : base64(bytes));

class SseSession {
  #watch: Watch | undefined;
  #from: number;
  #controls = 0;

  constructor(
    readonly ask: Ask,
    readonly isText: boolean,
    readonly deadline: number,
    readonly cursor: string | undefined,
    private first: Response | undefined,
    from: number,
  ) {
    this.#from = from;
  }

  /** The next events, or undefined when this connection has said all it will. */
  async next(): Promise<string | undefined> {
    for (;;) {
      const found = this.first ?? (await this.ask(`?offset=${formatOffset(this.#from)}`));
      this.first = undefined;
      if (found.status !== 200) return undefined;
      const bytes = new Uint8Array(await found.arrayBuffer());
      const moved = offsetOf(found) > this.#from;
      if (moved || this.#controls === 0 || isEnded(found)) return this.#events(found, bytes, moved);
      this.#watch ??= await Watch.open(this.ask, this.#from);
      if (this.#watch.gone || !(await this.#watch.past(this.#from, this.deadline))) return undefined;
    }
  }

  ended = false;

  #events(found: Response, bytes: Uint8Array, moved: boolean): string {
    this.#from = offsetOf(found);
    this.#controls++;
    this.ended = isEnded(found);
    const control = {
      streamNextOffset: formatOffset(this.#from),
      ...(this.ended ? { streamClosed: true } : { streamCursor: nextCursor(Date.now(), this.cursor, Math.random) }),
      ...(isAtTail(found) && { upToDate: true }),
    };
    return (moved ? event("data", textOf(bytes, this.isText)) : "") + event("control", JSON.stringify(control));
  }

  close(): void {
    this.#watch?.close();
  }
}

export async function sse(ask: Ask, { offset, cursor, waitMs }: LiveRequest): Promise<Response> {
  const first = await ask(`?offset=${encodeURIComponent(offset)}`);
  if (first.status !== 200) return first;
  const type = mediaType(first.headers.get("content-type") ?? "");
  const isText = type.startsWith("text/") || type === "application/json";
  const from = offset === "now" ? offsetOf(first) : offset === "-1" ? 0 : Number(offset.slice(0, 16));
  const session = new SseSession(ask, isText, Date.now() + waitMs, cursor, first, from);
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const events = session.ended ? undefined : await session.next().catch(() => undefined);
      if (events !== undefined) return controller.enqueue(encoder.encode(events));
      session.close();
      controller.close();
    },
    cancel: () => session.close(),
  }, { highWaterMark: 0 });
  const headers: Record<string, string> = { "content-type": "text/event-stream", "cache-control": "no-cache" };
  if (!isText) headers["stream-sse-data-encoding"] = "base64";
  return dressed(new Response(body, { status: 200, headers }));
}
