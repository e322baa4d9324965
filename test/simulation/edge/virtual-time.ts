/** Time that passes when everybody waits. */
export interface Waiting {
  readonly at: number;
  readonly order: number;
  run(): void;
}

/** Virtual time. It moves only when nothing else can be done. */
export class Time {
  now = 1_796_000_000_000;
  #waiting: Waiting[] = [];
  #order = 0;

  at(at: number, run: () => void): Waiting {
    const waiting = { at: Math.max(at, this.now), order: this.#order++, run };
    this.#waiting.push(waiting);
    return waiting;
  }
  cancel(waiting: Waiting | undefined): void {
    const index = waiting ? this.#waiting.indexOf(waiting) : -1;
    if (index >= 0) this.#waiting.splice(index, 1);
  }
  get next(): Waiting | undefined {
    return this.#waiting.reduce<Waiting | undefined>(
      (least, each) =>
        !least || each.at < least.at || (each.at === least.at && each.order < least.order) ? each : least,
      undefined,
    );
  }
  /** Runs what is next. */
  step(until = Infinity): boolean {
    const { next } = this;
    if (!next || next.at > until) return false;
    this.cancel(next);
    this.now = next.at;
    next.run();
    return true;
  }
  clear(): void {
    this.#waiting = [];
  }
}

/** A turn of the real event loop. */
export const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
