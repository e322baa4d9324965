/**
 * Keeps the order of calls whose preparations take different times: each takes its turn when it is called, and goes on
 * when all before it have gone on or have given up. All that are ready go on in one run, so they share a batch.
 */
class Place {
  work: (() => void) | undefined;
  isOver = false;
  ready(work: () => void): void {
    this.work = work;
  }
}

export interface Turn {
  /** Runs `work` once it is its turn. */
  go<T>(work: () => Promise<T>): Promise<T>;
  /** Lets the later ones pass, if it has not gone on. */
  leave(): void;
}

export class Turns {
  readonly #places: Place[] = [];

  get isEmpty(): boolean {
    return this.#places.length === 0;
  }

  take(): Turn {
    const place = new Place();
    this.#places.push(place);
    return {
      go: (work) =>
        new Promise((resolve, reject) => {
          place.ready(() => work().then(resolve, reject));
          this.#next();
        }),
      leave: () => {
        place.isOver = true;
        this.#next();
      },
    };
  }

  #next(): void {
    for (let [first] = this.#places; first?.work || first?.isOver; [first] = this.#places) {
      this.#places.shift();
      first.work?.();
    }
  }
}
