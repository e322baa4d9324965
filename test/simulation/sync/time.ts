/**
 * Time of a simulation of sync: one queue of what happens next, by virtual milliseconds. What happens runs until nobody
 * has anything to do at once; only then time goes on. So a history is its seed.
 *
 *   after(ms) ─▶ heap, by (at, order) ─▶ work ─▶ settle: every promise that waits for no timer is done ─▶ the next
 */
import { Heap } from "../heap.ts";
import type { Random } from "../prng.ts";

/** What the edge and sockets need of it. The tabs' simulation has another one. */
export interface Time {
  readonly ms: number;
  readonly random: Random;
  /** Runs `work` later, unless what it returns is called before. */
  after(ms: number, work: () => void): () => void;
  sleep(ms: number): Promise<void>;
}

interface Due {
  readonly at: number;
  readonly order: number;
  /** Undefined: it was cancelled. */
  work: (() => void) | undefined;
}

const UNTIL_MS = 600_000;

const isBefore = (a: Due, b: Due): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);

export class SimTime implements Time {
  ms = 0;
  readonly random: Random;
  #order = 0;
  readonly #heap = new Heap(isBefore);

  constructor(random: Random) {
    this.random = random;
  }

  readonly after = (ms: number, work: () => void): (() => void) => {
    const due: Due = { at: this.ms + ms, order: this.#order++, work };
    this.#heap.push(due);
    return () => (due.work = undefined);
  };

  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => this.after(ms, resolve));
  }

  /** Node runs what nextTick() was given only when no promise has anything left to do. */
  settle(): Promise<void> {
    return new Promise((resolve) => process.nextTick(resolve));
  }

  /** Lets time go on until the work is done, which may wait for some of what happens. */
  async until<T>(work: Promise<T>): Promise<T> {
    let isDone = false;
    const done = work.finally(() => (isDone = true));
    done.catch(() => undefined);
    for (let waited = 0; ; waited++) {
      await this.settle();
      if (isDone) return done;
      if (waited > UNTIL_MS) throw new Error(`the simulation's own work is not done after ${UNTIL_MS} ms`);
      await this.run(1);
    }
  }

  /** Lets everything happen that is due within so many milliseconds. */
  async run(ms: number): Promise<void> {
    const end = this.ms + ms;
    for (;;) {
      await this.settle();
      const next = this.#heap.top;
      if (!next || next.at > end) break;
      this.#heap.pop();
      if (!next.work) continue;
      this.ms = Math.max(this.ms, next.at);
      next.work();
    }
    this.ms = end;
  }
}
