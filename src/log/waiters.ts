/**
 * Promises that are parked until an offset is reached: reads at the log's end, and retries whose first try is not acked
 * yet.
 */
import { TidemarkError } from "../errors.ts";

interface Waiter {
  readonly beyond: number;
  readonly resolve: () => void;
  readonly reject: (reason: unknown) => void;
}

export class Waiters {
  readonly #waiters = new Set<Waiter>();

  constructor(readonly max: number) {}

  get count(): number {
    return this.#waiters.size;
  }

  /**
   * Resolves once `advance` was called with more than `beyond`. Rejects with the signal's reason, or as LIMIT_EXCEEDED
   * if too many wait.
   */
  wait(beyond: number, signal?: AbortSignal): Promise<void> {
    if (this.#waiters.size >= this.max) {
      return Promise.reject(new TidemarkError("LIMIT_EXCEEDED", "too many waiting readers", { waitersMax: this.max }));
    }
    return new Promise<void>((resolve, reject) => {
      const done = () => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener("abort", abort);
      };
      const abort = () => waiter.reject(signal!.reason);
      const waiter: Waiter = {
        beyond,
        resolve: () => (done(), resolve()),
        reject: (reason) => (done(), reject(reason)),
      };
      signal?.throwIfAborted();
      signal?.addEventListener("abort", abort);
      this.#waiters.add(waiter);
    });
  }

  advance(offset: number): void {
    for (const waiter of [...this.#waiters]) if (offset > waiter.beyond) waiter.resolve();
  }

  fail(reason: unknown, from = -1): void {
    for (const waiter of [...this.#waiters]) if (waiter.beyond >= from) waiter.reject(reason);
  }
}
