/**
 * Time and network of a simulation of sync: one queue of what happens next, by virtual milliseconds. What happens runs
 * until nobody has anything to do at once; only then time goes on. So a history is its seed.
 */
import type { Random } from "../prng.ts";

interface Due {
  readonly at: number;
  readonly order: number;
  readonly work: () => void;
}

/** Rounds of the event loop after which work that waits for no timer is surely done. */
const SETTLE_ROUNDS = 6;

export class SimTime {
  ms = 0;
  readonly random: Random;
  #order = 0;
  #queue: Due[] = [];

  constructor(random: Random) {
    this.random = random;
  }

  readonly after = (ms: number, work: () => void): (() => void) => {
    const due = { at: this.ms + ms, order: this.#order++, work };
    this.#queue.push(due);
    return () => {
      this.#queue = this.#queue.filter((each) => each !== due);
    };
  };

  async settle(): Promise<void> {
    for (let round = 0; round < SETTLE_ROUNDS; round++) await new Promise((resolve) => setImmediate(resolve));
  }

  /** Lets everything happen that is due within so many milliseconds. */
  async run(ms: number): Promise<void> {
    const end = this.ms + ms;
    for (;;) {
      await this.settle();
      const next = this.#next();
      if (!next || next.at > end) break;
      this.#queue = this.#queue.filter((each) => each !== next);
      this.ms = Math.max(this.ms, next.at);
      next.work();
    }
    this.ms = end;
  }

  #next(): Due | undefined {
    let next: Due | undefined;
    for (const each of this.#queue)
      if (!next || each.at < next.at || (each.at === next.at && each.order < next.order)) next = each;
    return next;
  }
}
