/**
 * Finds out whether a socket's client reads what it is sent. A socket does not tell, so after some hundred frames, or a
 * MiB of batches, the client gets a ping. Its pong shows that it has read everything that was sent before the ping.
 *
 *   frames ── ping ── frames ── ping ── frames      one pong answers the oldest ping; here two stretches are unread
 */

/** A ping is sent after this many frames, or this many bytes of batches. */
const ASK_AFTER = 512;
const ASK_AFTER_BYTES = 1024 * 1024;
/** The socket of a client that leaves this many frames unread is closed. */
const UNREAD_MAX = 4096;

interface Stretch {
  readonly frames: number;
  readonly bytes: number;
}

export class ReadPace {
  /** What was sent since the last ping; below, what was sent before each ping that has no pong yet. */
  #since: Stretch = { frames: 0, bytes: 0 };
  readonly #asked: Stretch[] = [];
  #unread = 0;

  /** Counts a frame that was sent, with its bytes of batches. Returns what to do next. */
  sent(batchBytes: number): "go on" | "ask" | "give up" {
    const { frames, bytes } = this.#since;
    this.#since = { frames: frames + 1, bytes: bytes + batchBytes };
    if (++this.#unread > UNREAD_MAX) return "give up";
    return this.#since.frames < ASK_AFTER && this.#since.bytes < ASK_AFTER_BYTES ? "go on" : "ask";
  }

  /** Counts a ping that was sent. */
  asked(): void {
    this.#asked.push(this.#since);
    this.#since = { frames: 0, bytes: 0 };
  }

  /** Counts a pong. Returns the bytes of batches that the client has read by then; 0 for a pong without a ping. */
  read(): number {
    const { frames, bytes } = this.#asked.shift() ?? { frames: 0, bytes: 0 };
    this.#unread -= frames;
    return bytes;
  }
}
