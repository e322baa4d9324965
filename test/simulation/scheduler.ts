/**
 * Who goes next. Every volume operation waits here until the driver's pump picks it, so all interleavings of appends,
 * reads, cleaning and trims belong to the seed.
 *
 * Operations of one lane (writes and flushes of one slot) keep their order, as one file handle does; those of different
 * lanes, and reads, overtake each other. A crash is "the n-th operation from now": the pump stops, nothing that waits
 * ever answers, and the disk decides what became of it.
 */
import type { Random } from "./prng.ts";

export interface Task {
  readonly lane: number | undefined;
  readonly word: string;
  /** Does the work; throwing is the operation's answer. */
  readonly run: () => unknown;
  readonly resolve: (value: never) => void;
  readonly reject: (reason: unknown) => void;
}

export class StalledError extends Error {}

/** Turns of the microtask queue after which everything that can go on without the volume surely has. */
const QUIET_HOPS = 40;

const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

export class Scheduler {
  random: Random;
  /** Waiting operations in the order of their calls. */
  #waiting: Task[] = [];
  #crashIn = Infinity;
  crashed = false;
  /** Called before each step; the driver looks at the log there. */
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

  /** The power fails, or the process dies, when so many more operations have been done. */
  crashAfter(operations: number): void {
    this.#crashIn = operations;
  }
  get crashArmed(): boolean {
    return this.#crashIn !== Infinity;
  }

  /** What was asked for and never done; the new life begins with nothing waiting. */
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
   * Runs operations until `done` or the crash. Throws StalledError when nothing is left that could bring `done` about.
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

  /** Everything that does not need the volume goes on to its end: answers already given arrive. */
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

  /** Any task that no earlier one of its lane holds back. Bounded: the first waiting task always qualifies. */
  #take(): Task {
    let at = this.random.int(this.#waiting.length);
    const { lane } = this.#waiting[at]!;
    if (lane !== undefined) at = this.#waiting.findIndex((task) => task.lane === lane);
    return this.#waiting.splice(at, 1)[0]!;
  }
}
