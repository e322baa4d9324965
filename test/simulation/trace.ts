/**
 * The trace of a run, as one number and, on request, as lines for people. Two runs of a seed must give the same number.
 * All that the simulation decides or the product answers is mixed into it: volume operations, results, faults.
 */
export class Trace {
  #a = 0x811c9dc5;
  #b = 0x1000193;
  #count = 0;
  readonly lines: string[] | undefined;

  constructor(keepLines: boolean) {
    this.lines = keepLines ? [] : undefined;
  }

  /** Mixes `word` and `numbers` into the trace. */
  add(word: string, ...numbers: readonly number[]): void {
    for (let i = 0; i < word.length; i++) this.#mix(word.charCodeAt(i));
    for (const number of numbers) {
      this.#mix(number | 0);
      this.#mix((number / 0x100000000) | 0);
    }
    this.#count++;
    this.lines?.push(`${word} ${numbers.join(" ")}`);
  }

  #mix(value: number): void {
    this.#a = Math.imul(this.#a ^ value, 0x01000193);
    this.#b = Math.imul(this.#b ^ (value + this.#a), 0x5bd1e995);
    this.#b ^= this.#b >>> 15;
  }

  get hash(): string {
    const hex = (part: number): string => (part >>> 0).toString(16).padStart(8, "0");
    return `${hex(this.#a)}${hex(this.#b)}-${this.#count}`;
  }
}
