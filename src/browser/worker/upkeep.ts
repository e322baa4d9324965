/**
 * When upkeep of topics runs: retention, compaction and the durable mark follow some time after an append, by a timer
 * that only appends start. So a burst of appends pays for one run, and an idle tide has no timer here. Whether the
 * site's data are still there is checked sooner, and again at that time.
 */

/** Upkeep waits this long after an append. */
const DELAY_MS = 2_000;
/**
 * Site data may be cleared under an open volume. Appends cause at most one check in this time; the upkeep after the
 * last append checks again.
 */
const ATTACHED_CHECK_MS = 1_000;

/** What upkeep needs of the worker's host. Neither method rejects. */
export interface UpkeepHost {
  /** Ends the tide if the site's data were cleared. */
  checkAttached(): Promise<void>;
  clean(topic: string): Promise<void>;
}

export class UpkeepTimer {
  readonly #host: UpkeepHost;
  readonly #topics = new Set<string>();
  #timer: ReturnType<typeof setTimeout> | undefined;
  #attachedAt = 0;

  constructor(host: UpkeepHost) {
    this.#host = host;
  }

  /** This topic has new records, or may have something to remove. Returns the timer of its upkeep. */
  arm(topic: string): ReturnType<typeof setTimeout> {
    this.#topics.add(topic);
    const now = Date.now();
    if (now - this.#attachedAt > ATTACHED_CHECK_MS) {
      this.#attachedAt = now;
      void this.#host.checkAttached();
    }
    return (this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#run();
    }, DELAY_MS));
  }

  async #run(): Promise<void> {
    const topics = [...this.#topics];
    this.#topics.clear();
    await this.#host.checkAttached();
    for (const topic of topics) await this.#host.clean(topic);
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}
