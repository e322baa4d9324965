/**
 * Decides which volume operation runs next. Each one waits here until the driver's pump picks it, so the seed decides
 * all interleavings of appends, reads, cleaning and trims.
 *
 * Operations of one lane (writes and flushes of one slot) keep their order, as one file handle does; those of different
 * lanes, and reads, overtake each other. A crash is set to "the n-th operation from now": the pump stops, waiting
 * operations never answer, and the disk decides what became of them.
 */
import type { Random } from "./prng.ts";

export interface Task {
  readonly lane: number | undefined;
  readonly word: string;
  /** Does the work. What it throws is the operation's answer. */
  readonly run: () => unknown;
  readonly resolve: (value: never) => void;
  readonly reject: (reason: unknown) => void;
}

export class StalledError extends Error {}

/** After this many microtask turns, all work that does not wait for the volume is surely done. */
const QUIET_HOPS = 40;

const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class Scheduler {
  random: Random;
  /** Waiting operations in the order of their calls. */
  #waiting: Task[] = [];
  #crashIn = Infinity;
  crashed = false;
  /** Called before each step; the driver inspects the log then. */
  onStep: (() => void) | undefined;
  steps = 0;

  constructor(random: Random) {
    this.random = random;
  }

  submit<T>(lane: number | undefined, word: string, run: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#waiting.push({ lane, word, run, resolve, reject } as Task);
    });
  }

  /** The crash comes after this many more operations. */
  crashAfter(operations: number): void {
    this.#crashIn = operations;
  }
  get crashArmed(): boolean {
    return this.#crashIn !== Infinity;
  }

  /** Takes the operations that were requested and never done. The new life begins with none waiting. */
  takeWaiting(): readonly Task[] {
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#crashIn = Infinity;
    this.crashed = false;
    return waiting;
  }

  get idle(): boolean {
    return this.#waiting.length === 0;
  }

  /**
   * Runs operations until `done` or the crash. Throws StalledError when no operation is left and `done` is false.
   */
  async pump(done: () => boolean): Promise<void> {
    let quiet = 0;
    while (!this.crashed) {
      for (let hops = 1 + this.random.int(4); hops > 0; hops--) await null;
      if (done()) return;
      if (this.#waiting.length > 0) {
        quiet = 0;
        this.step();
        continue;
      }
      if (++quiet % QUIET_HOPS === 0) await immediate();
      if (quiet > QUIET_HOPS * 8) throw new StalledError("nothing is under way and nothing was answered");
    }
  }

  /** Runs operations until none is left and nothing asks for another. */
  async quiesce(): Promise<void> {
    for (let quiet = 0; !this.crashed; quiet++) {
      for (let hops = 1 + this.random.int(4); hops > 0; hops--) await null;
      if (this.#waiting.length > 0) {
        quiet = 0;
        this.step();
      } else if (quiet >= QUIET_HOPS) {
        await immediate();
        if (this.#waiting.length === 0) return;
      }
    }
  }

  /** Runs all work that does not need the volume: answers that were already given arrive. */
  async drain(): Promise<void> {
    for (let turn = 0; turn < 3; turn++) await immediate();
  }

  step(): void {
    if (this.#crashIn <= 0) {
      this.crashed = true;
      return;
    }
    this.#crashIn--;
    this.steps++;
    this.onStep?.();
    const task = this.#take();
    try {
      task.resolve(task.run() as never);
    } catch (error) {
      task.reject(error);
    }
  }

  /** Takes any task without an earlier one in its lane. The loop ends: the first waiting task always qualifies. */
  #take(): Task {
    let at = this.random.int(this.#waiting.length);
    const { lane } = this.#waiting[at]!;
    if (lane !== undefined) at = this.#waiting.findIndex((task) => task.lane === lane);
    return this.#waiting.splice(at, 1)[0]!;
  }
}
