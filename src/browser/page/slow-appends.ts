/**
 * Watches for a worker that answers no append. If the tab is alone, nobody else would notice that it hangs. One timer
 * serves all appends of a topic: to set and clear one for each took a tenth of the page's time for an append.
 */

/** While appends wait and none was answered for this long, the tab checks whether its worker still answers. */
const SLOW_MS = 3_000;

export class SlowAppends {
  readonly #told: () => void;
  #waiting = 0;
  /** Since when nothing was answered. */
  #since = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(told: () => void) {
    this.#told = told;
  }

  sent(): void {
    if (this.#waiting++ === 0) this.#since = performance.now();
    if (!this.#timer) this.#watch(SLOW_MS);
  }

  answered(): void {
    this.#waiting--;
    this.#since = performance.now();
  }

  #watch(ms: number): void {
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#waiting === 0) return;
      const left = Math.ceil(SLOW_MS - (performance.now() - this.#since));
      if (left <= 0) this.#told();
      this.#watch(left > 0 ? left : SLOW_MS);
    }, ms);
    // In Node it would keep the process alive. In a browser it is a number.
    (this.#timer as { unref?: () => void }).unref?.();
  }
}
