/**
 * Long work in slices: after some bytes the host's event loop gets a turn, so that waiting calls are answered
 * meanwhile. Storage in a browser's worker is synchronous, and awaiting it gives no other work a turn.
 */

/** About 4 ms of the most expensive work (short keys into a map) on a desktop; a phone is four or five times slower. */
export const SLICE_BYTES = 256 * 1024;
/** Cost of one record in addition to its bytes, in bytes. */
export const RECORD_COST_BYTES = 64;

export class Slices {
  #bytes = 0;

  constructor(readonly breathe: (() => Promise<void>) | undefined) {}

  /** Counts work that was done. Where it returns a promise, that must be awaited. */
  spent(bytes: number): Promise<void> | undefined {
    this.#bytes += bytes;
    return this.#bytes < SLICE_BYTES ? undefined : this.turn();
  }

  /** Gives a turn now, so that the next work begins a new slice. */
  turn(): Promise<void> | undefined {
    this.#bytes = 0;
    return this.breathe?.();
  }
}
