/**
 * Wakes a loop that looks again after each change. A change while nobody waits is not lost: the next wait ends at once.
 */
export class Signal {
  #isSet = false;
  #wake: (() => void)[] = [];

  set(): void {
    this.#isSet = true;
    for (const wake of this.#wake.splice(0)) wake();
  }

  /** Only one loop may wait at a time. */
  async wait(): Promise<void> {
    if (!this.#isSet) await new Promise<void>((resolve) => this.#wake.push(resolve));
    this.#isSet = false;
  }
}
