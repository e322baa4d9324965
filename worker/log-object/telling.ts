/**
 * Telling those who wait at a log's end what its commits have brought. The writer's ack goes out first: the telling
 * begins in a later turn than the commit, and gives others a turn behind some readers each.
 *
 *   commit ─▶ moved() ─┐                         ┌─▶ follows of the WebSocket dialect (sockets.ts)
 *   commit ─▶ moved() ─┴▶ later turn ─ one read ─┼─▶ watchers that take values, batches: one encoding each (notice.ts)
 *                                                └─▶ watchers that take no news
 *
 * Commits that come while it tells are told together, in the next round. Each round goes on where the one before it
 * ended, so whoever stands at the end of one stands where the next begins. What a round could not tell (too much, or
 * damaged, or lost with the object) is not lost: its notice says where the log ends, and readers ask.
 */
import type { HibernatingSocket } from "../rpc/sockets.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { NEWS_BYTES_MAX, NEWS_FORMS, type NewsForm, newsNotice, plainNotice } from "../rpc/notice.ts";
import type { Stream } from "../stream/stream.ts";
import { bodyOf, partsIn } from "../stream/values.ts";
import { copyOf } from "../../src/record/bytes.ts";

/** Of one round's read. Follows with more credits read on by themselves. */
const READ_BYTES = 256 * 1024;
/** Readers that are told before others have a turn. */
const TOLD_AT_ONCE = 128;

/** Batches that begin at `from`, as many as one read gives. */
export interface Found {
  readonly from: number;
  readonly bytes: Uint8Array;
  readonly nextOffset: number;
}

export interface TellingHost {
  /** Somebody waits. */
  isHeard(): boolean;
  /** Watchers that take news in this form; undefined: those that take none. */
  watchers(form: NewsForm | undefined): readonly Pick<HibernatingSocket, "send">[];
  /** Serves follows; those that stand where the round began take what was found. */
  follows(stream: Stream, found: Found): Promise<void>;
  /** A later turn: what waits goes on first. */
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

  /** A commit, in its own turn: the end that readers may see is still the one before it. Or the stream was closed. */
  moved(stream: Stream): void {
    if (!this.#isTelling && !this.#host.isHeard()) {
      // Whoever comes from now on is told where the log ends when it comes.
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
    // What can't be read is told by its end alone: whoever asks for it learns why.
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
      // Whoever watches from now on watches another stream.
      if (store.isEnded) return;
      try {
        socket.send(notice);
      } catch {
        // It is just being closed from the other side.
      }
    }
  }
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Undefined where it is too much, or cannot be read: whoever asks for it gets it, or is told why not. */
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
    return stream.isJson ? decoder.decode(body) : body;
  } catch {
    return undefined;
  }
}
