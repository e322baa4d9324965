/** The output of a codec of the LZ family: bytes, and repetitions of bytes that came before. */
import { TidemarkError } from "../src/errors.ts";

const FIRST_BYTES = 64 * 1024;

export class Output {
  #held: Uint8Array;
  #length = 0;
  readonly #bytesMax: number;

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax;
    this.#held = new Uint8Array(Math.min(FIRST_BYTES, bytesMax));
  }

  get length(): number {
    return this.#length;
  }

  add(bytes: Uint8Array): void {
    const at = this.#take(bytes.length);
    this.#held.set(bytes, at);
  }

  /** Adds `length` bytes that begin `distance` before the end. They may overlap what is added: then they repeat. */
  repeat(distance: number, length: number): void {
    if (distance === 0 || distance > this.#length) throw new Error("a match before the first byte");
    const at = this.#take(length);
    const held = this.#held;
    if (distance >= length) held.copyWithin(at, at - distance, at - distance + length);
    else for (let i = at; i < at + length; i++) held[i] = held[i - distance]!;
  }

  /** A view of what has been added. */
  bytes(): Uint8Array {
    return this.#held.subarray(0, this.#length);
  }

  /** Makes room for that many bytes more, and returns where they begin. DECOMPRESSION_LIMIT: it would be too much. */
  #take(length: number): number {
    const at = this.#length;
    const end = at + length;
    const bytesMax = this.#bytesMax;
    if (end > bytesMax)
      throw new TidemarkError("DECOMPRESSION_LIMIT", `batch of more than ${bytesMax} bytes`, { bytesMax });
    if (end > this.#held.length) {
      const larger = new Uint8Array(Math.min(bytesMax, Math.max(end, 2 * this.#held.length)));
      larger.set(this.#held.subarray(0, at));
      this.#held = larger;
    }
    this.#length = end;
    return at;
  }
}
