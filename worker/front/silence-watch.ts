/**
 * Finds out whether a socket's client is still there. A client may disappear without closing, and then its sockets to
 * the logs would stay open.
 *
 *   heard ── a period without a word ── one more: ask ── one more: give up
 */
export class SilenceWatch {
  /** How many periods have ended since the client last sent anything. */
  #quiet = 0;
  readonly #timer: ReturnType<typeof setInterval>;

  /** `giveUp` must call end(). */
  constructor(periodMs: number, { ask, giveUp }: { ask: () => void; giveUp: () => void }) {
    this.#timer = setInterval(() => {
      if (this.#quiet === 2) return giveUp();
      if (this.#quiet === 1) ask();
      this.#quiet++;
    }, periodMs);
  }

  /** The client has sent something. */
  heard(): void {
    this.#quiet = 0;
  }

  end(): void {
    clearInterval(this.#timer);
  }
}
