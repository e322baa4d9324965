/**
 * A set of states, known by 64 bits of hash each: two arrays of integers, open addressing, doubled when half full. With
 * 16 million states the chance that two share a hash is one in 10^5.
 */
export class StateSet {
  #low = new Int32Array(1 << 16);
  #high = new Int32Array(1 << 16);
  #mask = (1 << 16) - 1;
  size = 0;

  /** True when these bytes were not there. `length` is a multiple of four. */
  add(words: Int32Array, length: number): boolean {
    let a = 0x9e3779b9 | 0;
    let b = 0x85ebca6b | 0;
    for (let i = 0; i < length >> 2; i++) {
      const word = words[i]!;
      a = Math.imul(a ^ word, 0xcc9e2d51);
      a ^= a >>> 15;
      b = Math.imul((b << 13) ^ (b >>> 19) ^ word, 0x1b873593);
      b = (b ^ (b >>> 13)) + (a | 0);
    }
    a = Math.imul(a ^ (a >>> 16), 0x85ebca6b);
    b = Math.imul(b ^ (b >>> 16), 0xc2b2ae35);
    a ^= a >>> 13;
    b ^= b >>> 16;
    // Nothing stands for an empty place.
    return this.#put(a === 0 && b === 0 ? 1 : a, b | 0);
  }

  #put(low: number, high: number): boolean {
    let at = (low ^ Math.imul(high, 0x9e3779b1)) & this.#mask;
    while (this.#low[at] !== 0 || this.#high[at] !== 0) {
      if (this.#low[at] === low && this.#high[at] === high) return false;
      at = (at + 1) & this.#mask;
    }
    this.#low[at] = low;
    this.#high[at] = high;
    if (++this.size * 2 > this.#mask) this.#grow();
    return true;
  }

  #grow(): void {
    const [lows, highs] = [this.#low, this.#high];
    this.#mask = this.#mask * 2 + 1;
    this.#low = new Int32Array(this.#mask + 1);
    this.#high = new Int32Array(this.#mask + 1);
    this.size = 0;
    for (let i = 0; i < lows.length; i++) if (lows[i] !== 0 || highs[i] !== 0) this.#put(lows[i]!, highs[i]!);
  }
}
