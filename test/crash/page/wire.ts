/** The way to the ledger: one request at a time, so that events arrive in order; what comes up meanwhile goes with the next. */
import type { PageEvent, Post } from "../events.ts";

export class Wire {
  #waiting: PageEvent[] = [];
  #sending: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #clock = 0;
  #ids = 0;

  constructor(readonly life: number) {}

  /** The page's clock: no two events have the same time. */
  tick(): number {
    return ++this.#clock;
  }
  id(): number {
    return ++this.#ids;
  }

  /** Resolves when the ledger has it. */
  tell(event: PageEvent): Promise<void> {
    this.#waiting.push(event);
    // Everything that waits goes with the next request, and shares its promise.
    this.#next ??= (this.#sending ?? Promise.resolve()).then(() => this.#post());
    return this.#next;
  }

  #post(): Promise<void> {
    const body: Post = { life: this.life, events: this.#waiting };
    this.#waiting = [];
    this.#next = undefined;
    this.#sending = fetch("ledger", { method: "POST", body: JSON.stringify(body) }).then((response) => {
      if (!response.ok) throw new Error(`the ledger answered ${response.status}`);
    });
    return this.#sending;
  }
}
