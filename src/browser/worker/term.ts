/**
 * This worker's term, as its lock says. Nothing tells a worker in time that another tab has taken the lead away: it
 * may have been stopped by then. So it looks whether it still has its lock, and each look counts for a lease
 * (platform/terms.ts).
 */
import { heldLocks, holdForLife } from "../platform/locks.ts";
import { LEASE_MS } from "../platform/terms.ts";

export class Term {
  readonly #lock: string;
  readonly #leave: () => void;
  #provedAt = -LEASE_MS;

  /** `leave`: ends the worker, because its term is over. */
  constructor(lock: string, leave: () => void) {
    this.#lock = lock;
    this.#leave = leave;
  }

  /** Takes the lock for as long as the worker lives, which is the first proof. Resolves when it has it. */
  begin(): Promise<void> {
    const asked = performance.now();
    return new Promise((resolve) => {
      const held = (): void => {
        this.#provedAt = asked;
        resolve();
      };
      // It rejects when somebody steals it.
      holdForLife(this.#lock, held).catch(this.#leave);
    });
  }

  /** Proved a lease ago at most. */
  get holds(): boolean {
    return performance.now() <= this.#provedAt + LEASE_MS;
  }

  /** Looks at the lock. Where it is lost the worker ends, and this never resolves. */
  async prove(): Promise<void> {
    const now = performance.now();
    if (!(await heldLocks()).includes(this.#lock)) return new Promise(this.#leave);
    this.#provedAt = now;
  }
}
