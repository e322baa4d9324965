/**
 * Ranges of offsets whose batches a row-book has counted. They are added in rising order and found by binary search.
 */
export class Counted {
  readonly #from: number[] = [];
  readonly #to: number[] = [];

  add(from: number, to: number): void {
    this.#from.push(from);
    this.#to.push(to);
  }

  has(offset: number): boolean {
    let low = 0;
    let high = this.#from.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#to[middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    return low < this.#from.length && this.#from[low]! <= offset;
  }
}
