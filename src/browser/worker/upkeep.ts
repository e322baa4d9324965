/**
 * When topics are looked after: retention, compaction and the durable mark come some time after an append, by a timer
 * that only appends arm, so that a burst pays for one and an idle tide has no timer here. Whether the site's data is
 * still there is asked sooner, and again then.
 */

/** Upkeep waits this long after an append. */
const DELAY_MS = 2_000;
/**
 * Site data may be cleared under an open volume. An append makes us look at most once in this time; upkeep, which
 * follows the last append, looks again.
 */
const ATTACHED_CHECK_MS = 1_000;

/** What upkeep needs of the worker's host. Neither rejects. */
export interface UpkeepHost {
  /** Ends the tide when the site's data was cleared. */
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

  /** There is something new in this topic, or may be something to remove. */
  arm(topic: string): void {
    this.#topics.add(topic);
    const now = Date.now();
    if (now - this.#attachedAt > ATTACHED_CHECK_MS) {
      this.#attachedAt = now;
      void this.#host.checkAttached();
    }
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined;
      void this.#run();
    }, DELAY_MS);
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
