/**
 * One life of a process: the opened store and logs, and the operations under way. A crash ends it at once: its open
 * operations never get an answer, and answers that still arrive are ignored.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Log } from "../../src/log/log.ts";
import type { SegmentStore } from "../../src/store/segment-store.ts";
import type { FaultyVolume } from "./faulty-volume.ts";
import { Violation } from "./model.ts";
import type { Scheduler } from "./scheduler.ts";

/** The driver's waits throw this when the life ended before the answer came. */
export class LifeOver extends Error {}

export interface Tail {
  readonly log: number;
  readonly from: number;
  readonly committed: boolean;
  readonly abort: AbortController;
  answered: boolean;
}

export class Life {
  readonly volume: FaultyVolume;
  readonly #scheduler: Scheduler;
  store: SegmentStore | undefined;
  logs: Log[] = [];
  tails: Tail[] = [];
  dead = false;
  closing = false;
  /** True once an operation's outcome was unknown: the logs must be opened again. */
  broken = false;
  underWay = 0;
  /** The first error of a background task. The driver throws it. */
  failure: unknown;
  /** How many operations of each kind are under way, for the counters of crashes. */
  readonly doing = new Map<string, number>();

  constructor(volume: FaultyVolume, scheduler: Scheduler) {
    this.volume = volume;
    this.#scheduler = scheduler;
  }

  /** Runs `work` beside the driver. An unexpected error of it fails the run. */
  start(label: string, work: () => Promise<void>): void {
    this.underWay++;
    this.doing.set(label, (this.doing.get(label) ?? 0) + 1);
    void work()
      .catch((error: unknown) => {
        if (!this.dead) this.failure ??= error;
      })
      .finally(() => {
        this.underWay--;
        this.doing.set(label, this.doing.get(label)! - 1);
      });
  }

  isDoing(label: string): boolean {
    return (this.doing.get(label) ?? 0) > 0;
  }

  /** Pumps until `promise` is answered. */
  readonly wait = async <T>(promise: Promise<T>): Promise<T> => {
    let state: "open" | "resolved" | "rejected" = "open";
    promise.then(
      () => (state = "resolved"),
      () => (state = "rejected"),
    );
    await this.#scheduler.pump(() => state !== "open" || this.failure !== undefined);
    if (this.failure !== undefined) throw this.failure;
    if ((state as string) === "open") throw new LifeOver();
    return promise;
  };

  /** Waits until all operations have ended, except readers that wait at the end of the log. */
  async settle(): Promise<void> {
    await this.#scheduler.quiesce();
    if (this.failure !== undefined) throw this.failure;
    if (this.#scheduler.crashed) throw new LifeOver();
    if (this.underWay > 0)
      throw new Violation("stalled", `never answered: ${[...this.doing].filter(([, count]) => count > 0).join(" ")}`);
    for (const { log, from, answered, committed } of this.tails) {
      const opened = this.logs[log]!;
      if (!answered && from < (committed ? opened.highWatermark : opened.logEndOffset)) {
        throw new Violation("tail-asleep", `a reader waits at ${from}, the watermark is ${opened.highWatermark}`);
      }
    }
  }

  /** Runs `count` more volume operations, or fewer if none is left. */
  async steps(count: number): Promise<void> {
    const until = this.#scheduler.steps + count;
    await this.#scheduler.pump(
      () => this.#scheduler.steps >= until || this.#scheduler.idle || this.failure !== undefined,
    );
    if (this.failure !== undefined) throw this.failure;
    if (this.#scheduler.crashed) throw new LifeOver();
  }

  /** Throws a violation when the error is not typed, or when nothing that happened explains it. */
  judge(what: string, error: unknown, allowed: readonly string[]): TidemarkError {
    if (error instanceof Violation || error instanceof LifeOver) throw error;
    if (!(error instanceof TidemarkError))
      throw new Violation("untyped-error", `${what}: ${String(error)}`, { cause: error });
    const { code } = error;
    const storage =
      code === "STORAGE_FAILED" || code === "OUTCOME_UNKNOWN" || code === "CLOSED" || code === "QUOTA_EXCEEDED";
    if (storage && this.volume.failed) {
      this.broken = true;
      return error;
    }
    if (code === "STORAGE_FAILED" && this.volume.readFailed) {
      this.broken ||= error.details["poisoned"] === true;
      return error;
    }
    // Two logs share the free slots: one may take a slot that the other relied on in the middle of an append.
    if (
      (code === "OUTCOME_UNKNOWN" || code === "CLOSED") &&
      (this.volume.readFailed || this.volume.slotsRefused || this.broken)
    ) {
      this.broken = true;
      return error;
    }
    if (code === "CLOSED" && this.closing) return error;
    if (allowed.includes(code)) return error;
    throw new Violation("unexpected-error", `${what}: ${error.message}`, { cause: error });
  }

  end(): void {
    this.dead = true;
  }
}
