/**
 * Keeps the order of calls whose preparations take different times: each takes its turn when it is called, and goes on
 * when all before it have gone on or have given up. All that are ready go on in one run, so they share a batch.
 */

/** A schema must answer within this time where others wait for it: appends to a stream at the edge, or close(). */
export const JUDGING_MS = 30_000;

class Place {
  work: (() => void) | undefined;
  isOver = false;
  end!: (error: unknown) => void;
  readonly ended = new Promise<never>((_, reject) => (this.end = reject));
  ready(work: () => void): void {
    this.work ??= work;
  }
}

export interface Turn {
  /** Rejects with the error of end() if this turn was not ready by then. The caller of end() handles the rejection. */
  readonly ended: Promise<never>;
  /** Runs `work` once it is its turn; never, if it was ended. */
  go<T>(work: () => Promise<T>): Promise<T>;
  /** Lets the later ones pass, if it has not gone on. */
  leave(): void;
}

export class Turns {
  readonly #places: Place[] = [];
  #error: unknown;

  get isEmpty(): boolean {
    return this.#places.length === 0;
  }

  take(): Turn {
    if (this.#error) throw this.#error;
    const place = new Place();
    this.#places.push(place);
    return {
      ended: place.ended,
      go: (work) =>
        place.work
          ? place.ended
          : new Promise((resolve, reject) => {
              place.ready(() => work().then(resolve, reject));
              this.#next();
            }),
      leave: () => {
        place.isOver = true;
        this.#next();
      },
    };
  }

  /** Ends all turns that are not ready, and refuses later ones. Those that are ready go on, in their order. */
  end(error: unknown): void {
    this.#error = error;
    for (const place of this.#places) place.ready(() => place.end(error));
    this.#next();
  }

  #next(): void {
    for (let [first] = this.#places; first?.work || first?.isOver; [first] = this.#places) {
      this.#places.shift();
      first.work?.();
    }
  }
}
