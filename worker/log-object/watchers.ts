/**
 * Live readers of one log, as its object sees them: a hibernating socket from the Worker that holds the reader
 * (rpc/watch.ts), or all readers of one isolate (rpc/shared-watch.ts). Each socket gets a notice after a commit
 * (rpc/notice.ts); such messages are not billed. Nothing of the readers is kept in memory, so the object can sleep.
 *
 * While one is open, a stream with a TTL does not expire. The TTL begins again when the last of them has gone.
 */
import { checkLog, EdgeError } from "../errors.ts";
import { NEWS_HEADER, STREAM_HEADER, WATCH_HEADER } from "../rpc/internal-headers.ts";
import { NEWS_FORMS, type NewsForm, plainNotice } from "../rpc/notice.ts";
import { type HibernatingSocket, pairOf, type SocketState, upgraded } from "../rpc/sockets.ts";
import type { Stream } from "../stream/stream.ts";

/** A third of what the platform allows one object. */
const WATCHERS_MAX = 10_000;
const TAG = "watch";
/** Marks watchers of a stream with a TTL: only when one of these goes does the object look into its tables. */
const TTL_TAG = "ttl";
/** Marks watchers that get no records with a notice. */
const PLAIN_TAG = "plain";

export class Watchers {
  readonly #ctx: SocketState;

  constructor(ctx: SocketState) {
    this.#ctx = ctx;
  }

  get #all(): HibernatingSocket[] {
    return this.#ctx.getWebSockets(TAG);
  }

  get count(): number {
    return this.#all.length;
  }

  accept({ headers }: Request, stream: Stream): Response {
    checkLog(headers.get(STREAM_HEADER), stream.config.id);
    const form = NEWS_FORMS.find((name) => name === headers.get(NEWS_HEADER));
    return this.watch(stream, Number(headers.get(WATCH_HEADER) ?? 0), form);
  }

  /** A watcher that knows what lies before `known`. `headers` are those of the answer. */
  watch(stream: Stream, known: number, form: NewsForm | undefined, headers: Record<string, string> = {}): Response {
    if (this.count >= WATCHERS_MAX)
      throw new EdgeError("LIMIT_EXCEEDED", `this stream has ${WATCHERS_MAX} live readers already: try again later`, {
        watchersMax: WATCHERS_MAX,
        retryAfter: 5,
      });
    const { client, server } = pairOf();
    const tags = [TAG, form ?? PLAIN_TAG, ...(stream.config.ttl === undefined ? [] : [TTL_TAG])];
    this.#ctx.acceptWebSocket(server, tags);
    // A commit that is under way counts: if nobody waited when it came, it is not told later. The output gate holds the
    // notice until its row is durable.
    const end = stream.log.logEndOffset;
    if (end > known || stream.closed) server.send(plainNotice(end, stream.closed));
    return upgraded(client, headers);
  }

  /** The watchers that get records in this form; with undefined those that get none. */
  of(form: NewsForm | undefined): readonly HibernatingSocket[] {
    return this.#ctx.getWebSockets(form ?? PLAIN_TAG);
  }

  /** The stream is gone. */
  closeAll(code: number, reason: string): void {
    for (const socket of this.#all) socket.close(code, reason);
  }

  /** True if the stream's TTL begins again now that this socket has gone. */
  isTimed(socket: HibernatingSocket): boolean {
    return this.#ctx.getTags(socket).includes(TTL_TAG);
  }
}
