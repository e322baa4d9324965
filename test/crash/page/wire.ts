/** The way to the ledger: one request at a time, so that events arrive in order; what comes up meanwhile goes with the next. */
import type { PageEvent, Post } from "../events.ts";

export class Wire {
  #waiting: PageEvent[] = [];
  #sending: Promise<void> | undefined;
  #next: Promise<void> | undefined;
  #clock = 0;
  #ids = 0;

  /** With `page`, a name of its own, what broke off is sent again. */
  constructor(
    readonly life: number,
    readonly page?: string,
  ) {}

  /** The page's clock: no two events have the same time. */
  tick(): number {
    return ++this.#clock;
  }
  id(): number {
    return ++this.#ids;
  }

  /** Goes with the next that is told. */
  later(event: PageEvent): void {
    this.#waiting.push(event);
  }

  /** Resolves when the ledger has it. */
  tell(event: PageEvent): Promise<void> {
    this.#waiting.push(event);
    // Everything that waits goes with the next request, and shares its promise.
    this.#next ??= (this.#sending ?? Promise.resolve()).then(() => this.#post());
    return this.#next;
  }

  #post(): Promise<void> {
    const body: Post = { life: this.life, events: this.#waiting, ...(this.page && { number: `${this.page}/${this.id()}` }) };
    this.#waiting = [];
    this.#next = undefined;
    this.#sending = this.#send(JSON.stringify(body));
    return this.#sending;
  }

  async #send(body: string): Promise<void> {
    for (;;) {
      const response = await fetch("ledger", { method: "POST", body }).catch((thrown: unknown) => {
        if (!this.page) throw thrown;
      });
      if (response?.ok) return;
      if (!this.page) throw new Error(`the ledger answered ${response!.status}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
}
