/**
 * How many outboxes an owner has registered at a log since its day began here. It is counted in the object's memory: an
 * object that starts anew begins to count anew.
 */
import { EdgeError } from "../errors.ts";

/** A person's devices are a handful. Test suites and kiosks that begin anew each time may be hundreds a day. */
export const REGISTRATIONS_PER_DAY = 1_000;
/** The owners that came first are forgotten beyond this. */
const OWNERS_MAX = 10_000;
const DAY_MS = 86_400_000;
const RETRY_SECONDS = 600;

interface Day {
  readonly begun: number;
  count: number;
}

export class Registrations {
  readonly #days = new Map<string, Day>();
  readonly #now: () => number;
  readonly #max: number;

  constructor(now: () => number, max = REGISTRATIONS_PER_DAY) {
    this.#now = now;
    this.#max = max;
  }

  /** TOO_MANY_REQUESTS if this owner may register no more today. */
  check(owner: string): void {
    const day = this.#days.get(owner);
    if (!day || this.#now() - day.begun >= DAY_MS || day.count < this.#max) return;
    throw new EdgeError("TOO_MANY_REQUESTS", "this owner has registered too many outboxes at this log today", {
      registrationsPerDay: this.#max,
      retryAfter: RETRY_SECONDS,
    });
  }

  add(owner: string): void {
    const now = this.#now();
    const day = this.#days.get(owner);
    if (day && now - day.begun < DAY_MS) {
      day.count++;
      return;
    }
    this.#days.delete(owner);
    this.#days.set(owner, { begun: now, count: 1 });
    if (this.#days.size <= OWNERS_MAX) return;
    const [oldest] = this.#days.keys();
    this.#days.delete(oldest!);
  }
}
