/**
 * This worker's term, as its lock shows it. Nothing tells a worker in time that another tab has taken the lead away,
 * because it may have been stopped then. So it checks whether it still has its lock, and each check counts for one
 * lease (platform/terms.ts).
 */
import { heldLocks, holdForLife } from "../platform/locks.ts";
import { LEASE_MS } from "../platform/terms.ts";

export class Term {
  readonly #lock: string;
  readonly #leave: () => void;
  #provedAt = -LEASE_MS;

  /** `leave` ends the worker, because its term is over. */
  constructor(lock: string, leave: () => void) {
    this.#lock = lock;
    this.#leave = leave;
  }

  /** Takes the lock for as long as the worker lives, which is the first proof. Resolves when it has the lock. */
  begin(): Promise<void> {
    const asked = performance.now();
    return new Promise((resolve) => {
      const held = (): void => {
        this.#provedAt = asked;
        resolve();
      };
      // Rejects if the lock is stolen.
      holdForLife(this.#lock, held).catch(this.#leave);
    });
  }

  /** True if the last proof is at most one lease old. */
  get holds(): boolean {
    return performance.now() <= this.#provedAt + LEASE_MS;
  }

  /** Checks the lock. If it is lost the worker ends, and this never resolves. */
  async prove(): Promise<void> {
    const now = performance.now();
    if (!(await heldLocks()).includes(this.#lock)) return new Promise(this.#leave);
    this.#provedAt = now;
  }
}
