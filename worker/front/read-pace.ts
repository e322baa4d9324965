/**
 * Whether a socket's client reads what it is sent. A socket says nothing of that, so the client is asked by a ping
 * behind some hundred frames or a MiB of batches; its pong says that it has read all that was sent before the ping.
 *
 *   frames ── ping ── frames ── ping ── frames      one pong answers the oldest ping, so two stretches are unread here
 */

/** A ping is sent behind this many frames, or bytes of batches. */
const ASK_AFTER = 512;
const ASK_AFTER_BYTES = 1024 * 1024;
/** A client that leaves this many frames unread is given up. */
const UNREAD_MAX = 4096;

interface Stretch {
  readonly frames: number;
  readonly bytes: number;
}

export class ReadPace {
  /** What was sent since the last ping, and before each that has no pong yet. */
  #since: Stretch = { frames: 0, bytes: 0 };
  readonly #asked: Stretch[] = [];
  #unread = 0;

  /** A frame was sent, with so many bytes of batches. Says what to do next. */
  sent(batchBytes: number): "go on" | "ask" | "give up" {
    const { frames, bytes } = this.#since;
    this.#since = { frames: frames + 1, bytes: bytes + batchBytes };
    if (++this.#unread > UNREAD_MAX) return "give up";
    return this.#since.frames < ASK_AFTER && this.#since.bytes < ASK_AFTER_BYTES ? "go on" : "ask";
  }

  /** A ping is on its way behind all that was sent. */
  asked(): void {
    this.#asked.push(this.#since);
    this.#since = { frames: 0, bytes: 0 };
  }

  /** A pong has come. Bytes of batches that the client has read by that; none where nothing was asked. */
  read(): number {
    const { frames, bytes } = this.#asked.shift() ?? { frames: 0, bytes: 0 };
    this.#unread -= frames;
    return bytes;
  }
}
