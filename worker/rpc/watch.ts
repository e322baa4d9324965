/**
 * How a Worker waits for a log's end to move: it holds a socket to the log's object, which sleeps meanwhile and sends a
 * notice (notice.ts) after each commit. The open socket also shows that somebody reads: as long as it is open the
 * object does not let a stream with a TTL expire (log-object/watchers.ts). A watch has a socket of its own, or the one
 * that all readers of the log in this isolate share (shared-watch.ts).
 *
 * Records of notices are kept until the reader takes them, in order and without a gap. For a slow reader at most as
 * much is kept as one notice may hold. Beyond that the records are dropped, and the reader asks for everything up to
 * the newest notice's end, where the next notice begins.
 */
import { NEWS_HEADER, STREAM_HEADER, WATCH_HEADER } from "./internal-headers.ts";
import { NEWS_BYTES_MAX, type News, type NewsForm, type Notice, readNotice } from "./notice.ts";
import { closeSocket, type ServerSocket, socketIn } from "./sockets.ts";
import { refusalIn } from "../wire/http.ts";

/** Asks the stream's object. Path and tenant are set already. */
export type Ask = (query: string, headers?: Record<string, string>) => Promise<Response>;

/** If `signal` aborts, the reader has gone, and its place in the object is free at once. */
interface Opening {
  readonly offset: number;
  /** The form in which it wants records with a notice. Without it, it gets none. */
  readonly form?: NewsForm;
  /** The stream that is read, by its id. GONE if another one stands in its place. Default: any. */
  readonly log?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

const NOTHING = new Uint8Array(0);

/** The Worker's end of a watcher's socket: it sends nothing. */
export type Listening = Omit<ServerSocket, "send">;

/** Where a watch's notices come from. */
export interface NoticeSource {
  /** Called whenever the watch is about to wait. A promise: there was no socket, and the watch is to open one. */
  ready?(watch: Watch): Promise<void> | undefined;
  /** The watch has ended, in the request of its reader. */
  leave(watch: Watch): void;
}

/** Opens a watcher's socket to the log's object. */
export async function openWatching(ask: Ask, { offset, form, log }: Omit<Opening, "signal">): Promise<Listening> {
  const response = await ask("", {
    upgrade: "websocket",
    [WATCH_HEADER]: String(offset),
    ...(form !== undefined && { [NEWS_HEADER]: form }),
    ...(log !== undefined && { [STREAM_HEADER]: log }),
  });
  const socket = socketIn(response);
  if (!socket) throw await refusalIn(response);
  return socket;
}

/** Listens to a watcher's socket. */
export function listen(
  socket: Listening,
  { told, ended }: { readonly told: (notice: Notice) => void; readonly ended: () => void },
): void {
  socket.binaryType = "arraybuffer";
  socket.accept();
  socket.addEventListener("message", ({ data }) => told(readNotice(data as string | ArrayBuffer)));
  socket.addEventListener("close", ended);
  socket.addEventListener("error", ended);
}

/** A socket that one watch has to itself. */
class OwnSocket implements NoticeSource {
  readonly #socket: Listening;

  constructor(socket: Listening) {
    this.#socket = socket;
  }

  leave(): void {
    closeSocket(this.#socket, 1000);
  }
}

export class Watch {
  readonly #source: NoticeSource;
  #newest: Notice | undefined;
  #news: News[] = [];
  #newsBytes = 0;
  #gone = false;
  #wake: (() => void) | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #timerMs = 0;

  /** `newest`: the log's end as far as the source knows it. */
  constructor(source: NoticeSource, newest?: Notice) {
    this.#source = source;
    this.#newest = newest;
  }

  static async open(ask: Ask, { signal, ...asked }: Opening): Promise<Watch> {
    return Watch.over(await openWatching(ask, asked), signal);
  }

  /** Over a socket that came with an answer. */
  static over(socket: Listening, signal?: AbortSignal): Watch {
    const watch = new Watch(new OwnSocket(socket));
    listen(socket, { told: (notice) => watch.told(notice), ended: () => watch.ended() });
    watch.endWith(signal);
    return watch;
  }

  /** Closes the watch when its reader has gone. */
  endWith(signal: AbortSignal | undefined): void {
    if (signal?.aborted) this.close();
    signal?.addEventListener("abort", () => this.close(), { once: true });
  }

  /** A notice has come. */
  told(notice: Notice): void {
    const { news } = notice;
    this.#newest = notice;
    const follows = news && (this.#news.length === 0 || this.#news.at(-1)!.end === news.from);
    if (!follows || this.#newsBytes + news.body.length > NEWS_BYTES_MAX) this.#forget();
    // Kept also if the news before it was dropped: the reader may be at its beginning by then.
    if (news) {
      this.#news.push(news);
      this.#newsBytes += news.body.length;
    }
    this.nudge();
  }

  #forget(): void {
    this.#news = [];
    this.#newsBytes = 0;
  }

  /** No notice will come any more. */
  ended(): void {
    this.#gone = true;
    this.nudge();
  }

  /** Lets a watch that waits look again. False if it does not wait, or was woken already. */
  nudge(): boolean {
    const wake = this.#wake;
    this.#wake = undefined;
    wake?.();
    return wake !== undefined;
  }

  /** True once the log ends behind `offset`, the stream was closed, or the socket is gone. False at the deadline. */
  async past(offset: number, deadlineMs: number): Promise<boolean> {
    for (;;) {
      if (this.#gone || (this.#newest && (this.#newest.end > offset || this.#newest.closed))) return true;
      if (deadlineMs <= Date.now()) return false;
      const opening = this.#source.ready?.(this);
      if (opening) {
        await opening;
        continue;
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        this.#wakeAt(deadlineMs);
      });
    }
  }

  /**
   * One timer serves many waits. A wait that is woken too early looks again, which costs less than a timer for each.
   */
  #wakeAt(deadlineMs: number): void {
    if (this.#timer !== undefined && this.#timerMs <= deadlineMs) return;
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timerMs = deadlineMs;
    this.#timer = setTimeout(
      () => {
        this.#timer = undefined;
        this.nudge();
      },
      Math.max(0, deadlineMs - Date.now()),
    );
  }

  /**
   * News that begins at `offset`. If the stream is closed and ends there, it is empty. Undefined: the reader must ask.
   */
  take(offset: number): News | undefined {
    while (this.#news.length > 0 && this.#news[0]!.from < offset) this.#newsBytes -= this.#news.shift()!.body.length;
    if (this.#news[0]?.from === offset) {
      const news = this.#news.shift()!;
      this.#newsBytes -= news.body.length;
      return news;
    }
    const { end, closed } = this.#newest ?? { end: -1, closed: false };
    return closed && end === offset ? { from: offset, end, body: NOTHING } : undefined;
  }

  /** The log's end by the newest notice; -1 before the first one. */
  get end(): number {
    return this.#newest?.end ?? -1;
  }
  /** True if nothing will come behind that end. */
  get closed(): boolean {
    return this.#newest?.closed ?? false;
  }
  get gone(): boolean {
    return this.#gone;
  }

  close(): void {
    if (this.#timer !== undefined) clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#forget();
    this.#source.leave(this);
    this.ended();
  }
}
