/**
 * Measures how long a store's flushes take, and only while somebody observes them. Loaded with the other tools, so a
 * first visit has none of it. Flushes of the catalog belong to structural changes, and are not measured.
 *
 *   observer ── next ──▶ a TimedVolume between store and volume ── a flush ends ──▶ all times since the last answer
 *            ── end ───▶ the last observer goes: the volume itself again
 *
 * Each flush is told once, to one of the observers: several tabs may observe one leader.
 */
import type { Volume } from "../../store/volume.ts";
import type { FlushTime } from "../port/envelope.ts";
import { TimedVolume } from "./timed-volume.ts";

/** When this many times wait for an observer, all observers count as gone, and nothing is timed any more. */
const KEPT_MAX = 10_000;

/** A store, as far as it matters here. */
interface Timeable {
  volume: Volume;
}
type Waiting = (times: readonly FlushTime[]) => void;

class Timing {
  readonly #store: Timeable;
  readonly #volume: TimedVolume;
  readonly #observers = new Set<string>();
  /** In the order in which they asked. */
  readonly #waiting = new Map<string, Waiting>();
  #times: FlushTime[] = [];

  constructor(store: Timeable) {
    this.#store = store;
    this.#volume = new TimedVolume(store.volume, (time) => this.#add(time));
    store.volume = this.#volume;
  }

  #add(time: FlushTime): void {
    this.#times.push(time);
    for (const [observer, resolve] of this.#waiting) {
      this.#waiting.delete(observer);
      return resolve(this.#times.splice(0));
    }
    if (this.#times.length >= KEPT_MAX) this.#stop();
  }

  #stop(): void {
    this.#store.volume = this.#volume.behind;
    timings.delete(this.#store);
    for (const observer of this.#observers) this.end(observer);
  }

  next(observer: string): Promise<readonly FlushTime[]> {
    this.#observers.add(observer);
    // What it asked before is answered, so that no times go where nobody waits.
    this.#waiting.get(observer)?.([]);
    this.#waiting.delete(observer);
    if (this.#times.length > 0) return Promise.resolve(this.#times.splice(0));
    return new Promise((resolve) => this.#waiting.set(observer, resolve));
  }

  end(observer: string): void {
    this.#waiting.get(observer)?.([]);
    this.#waiting.delete(observer);
    places.delete(observer);
    if (this.#observers.delete(observer) && this.#observers.size === 0) this.#stop();
  }
}

const timings = new WeakMap<Timeable, Timing>();
/** Where an observer asked last. After a failure the tide has another store. */
const places = new Map<string, Timing>();

/** The times of flushes that ended since the last answer, at least one; none if the observer asks again, or ends. */
export function nextFlushes(store: Timeable, observer: string): Promise<readonly FlushTime[]> {
  const place = timings.get(store) ?? new Timing(store);
  const before = places.get(observer);
  if (before !== place) before?.end(observer);
  timings.set(store, place);
  places.set(observer, place);
  return place.next(observer);
}

export const endFlushes = (observer: string): void => places.get(observer)?.end(observer);
