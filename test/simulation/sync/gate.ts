/**
 * What an opening of a device sees of the world: while it sleeps all of that waits, and once it has ended nothing comes
 * any more.
 */
export class Gate {
  isOver = false;
  #asleep: { readonly work: () => void; readonly isMessage: boolean }[] | undefined;
  readonly #isLateForMessages: boolean;

  /** `isLateForMessages`: once it wakes, its timers are due before it hears what came meanwhile. */
  constructor(isLateForMessages: boolean) {
    this.#isLateForMessages = isLateForMessages;
  }

  readonly pass = (work: () => void, isMessage = false): void => {
    if (this.isOver) return;
    if (this.#asleep) this.#asleep.push({ work, isMessage });
    else work();
  };
  sleep(): void {
    this.#asleep ??= [];
  }
  wake(): void {
    const waiting = this.#asleep ?? [];
    this.#asleep = undefined;
    const order = this.#isLateForMessages ? waiting.toSorted((a, b) => +a.isMessage - +b.isMessage) : waiting;
    for (const { work, isMessage } of order) this.pass(work, isMessage);
  }
  get isAsleep(): boolean {
    return this.#asleep !== undefined;
  }
}
