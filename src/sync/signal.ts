/**
 * A place to wait at for something to have changed, for loops that look again each time. What changes while nobody
 * waits is not lost: the next wait ends at once.
 */
export class Signal {
  #isSet = false;
  #wake: (() => void)[] = [];

  set(): void {
    this.#isSet = true;
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** For one loop at a time. */
  async wait(): Promise<void> {
    if (!this.#isSet) await new Promise<void>((resolve) => this.#wake.push(resolve));
    this.#isSet = false;
  }
}
