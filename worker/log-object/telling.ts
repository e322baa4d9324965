/**
 * Tells readers that wait at a log's end what commits have brought. The writer's ack goes out first, because telling
 * begins in a later turn than the commit. After every TOLD_AT_ONCE readers other work gets a turn.
 *
 *   commit ─▶ moved() ─┐                         ┌─▶ follows of the WebSocket dialect (sockets.ts)
 *   commit ─▶ moved() ─┴▶ later turn ─ one read ─┼─▶ watchers that take values, batches: one encoding each (notice.ts)
 *                                                └─▶ watchers that take no news
 *
 * Commits that come during a round are told together in the next one. Each round begins where the one before it ended.
 * So a reader that has taken the whole of one round is where the next one begins. Records that a round could not tell
 * (too many, damaged, or forgotten with the object) are not lost: the notice says where the log ends, and readers ask
 * for them.
 */
import type { HibernatingSocket } from "../rpc/sockets.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { NEWS_BYTES_MAX, NEWS_FORMS, type NewsForm, newsNotice, plainNotice } from "../rpc/notice.ts";
import type { Stream } from "../stream/stream.ts";
import { bodyOf, partsIn } from "../stream/values.ts";
import { copyOf } from "../../src/record/bytes.ts";
import { strictDecoder } from "../stream/strict-text.ts";

/** Most bytes that one round reads. Follows with more credits read on by themselves. */
const READ_BYTES = 256 * 1024;
/**
 * After this many readers other work gets a turn, which also lets what was sent to them go out. With more of them the
 * first readers wait for the last.
 */
const TOLD_AT_ONCE = 32;

/** Batches that begin at `from`, as many as one read gives. */
export interface Found {
  readonly from: number;
  readonly bytes: Uint8Array;
  readonly nextOffset: number;
}

/** For follows that are to be told of the log's ends only. */
export const nothingAt = (tail: number): Found => ({ from: tail, bytes: new Uint8Array(0), nextOffset: tail });

export interface TellingHost {
  /** True if any reader waits. */
  isHeard(): boolean;
  /** Watchers that take news in this form; undefined: those that take none. */
  watchers(form: NewsForm | undefined): readonly Pick<HibernatingSocket, "send">[];
  /** Serves follows. Those that are where the round began take what was found. */
  follows(stream: Stream, found: Found): Promise<void>;
  /** Resolves in a later turn: work that waits goes on first. */
  turn(): Promise<void>;
}

export class Telling {
  readonly #host: TellingHost;
  #stream: Stream | undefined;
  /** Where the last round ended. */
  #told = 0;
  #isDue = false;
  #isTelling = false;

  constructor(host: TellingHost) {
    this.#host = host;
  }

  /**
   * Called in the turn of a commit, when readers may still see only the end before it. Also called when the stream was
   * closed.
   */
  moved(stream: Stream): void {
    if (!this.#isTelling && !this.#host.isHeard()) {
      // A reader that comes later is told then where the log ends.
      this.#stream = undefined;
      return;
    }
    if (this.#stream !== stream) {
      this.#stream = stream;
      this.#told = stream.tail;
    }
    this.#isDue = true;
    if (!this.#isTelling) void this.#tell();
  }

  async #tell(): Promise<void> {
    this.#isTelling = true;
    try {
      while (this.#isDue) {
        await this.#host.turn();
        this.#isDue = false;
        await this.#round(this.#stream!);
      }
    } finally {
      this.#isTelling = false;
    }
  }

  async #round(stream: Stream): Promise<void> {
    const { log, store } = stream;
    const from = this.#told;
    // If it can't be read, only the new end is told. A reader that asks for it learns why.
    const found = await log
      .fetch(from, { wait: from < log.logEndOffset, maxBytes: READ_BYTES })
      .catch(() => ({ bytes: new Uint8Array(0), nextOffset: from, highWatermark: stream.tail }));
    const end = found.highWatermark;
    const closed = stream.closed && end === stream.tail;
    if (this.#stream === stream) this.#told = end;
    if (store.isEnded) return;
    await this.#host.follows(stream, { from, bytes: found.bytes, nextOffset: found.nextOffset });
    const isWhole = found.bytes.length > 0 && found.nextOffset === end;
    for (const form of [...NEWS_FORMS, undefined]) {
      const watchers = this.#host.watchers(form);
      if (watchers.length === 0) continue;
      const body = form && isWhole ? await newsOf(stream, found.bytes, { form, from, end }) : undefined;
      await this.#send(stream, watchers, body ? newsNotice({ from, end, body }, closed) : plainNotice(end, closed));
    }
  }

  async #send(
    { store }: Stream,
    watchers: readonly Pick<HibernatingSocket, "send">[],
    notice: ReturnType<typeof newsNotice>,
  ): Promise<void> {
    for (const [i, socket] of watchers.entries()) {
      if (i > 0 && i % TOLD_AT_ONCE === 0) await this.#host.turn();
      // This stream is gone: readers that watch from now on watch another one.
      if (store.isEnded) return;
      try {
        socket.send(notice);
      } catch {
        // The other side is just closing it.
      }
    }
  }
}

/** Undefined if it is too much or can't be read. A reader that asks for it gets it, or is told why not. */
async function newsOf(
  stream: Stream,
  bytes: Uint8Array,
  { form, from, end }: { readonly form: NewsForm; readonly from: number; readonly end: number },
): Promise<Uint8Array | string | undefined> {
  if (bytes.length > NEWS_BYTES_MAX) return undefined;
  if (form === "batches") return bytes;
  try {
    const { parts, nextOffset } = await partsIn(stream.kernel, bytes, from, end, stream.isJson);
    const body = copyOf(bodyOf(parts, stream.isJson));
    if (nextOffset !== end || body.length > NEWS_BYTES_MAX) return undefined;
    return stream.isJson ? strictDecoder.decode(body) : body;
  } catch {
    return undefined;
  }
}
