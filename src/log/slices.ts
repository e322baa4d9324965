/**
 * Long work in slices: after some bytes it lets the host's event loop have a turn, so that whoever waits is answered
 * meanwhile. Storage in a browser's worker is synchronous, and awaiting it gives nobody a turn.
 */

/** Some 4 ms of the dearest work (short keys into a map) on a desktop; a phone is four or five times slower. */
export const SLICE_BYTES = 256 * 1024;
/** What a record costs beside its bytes, as bytes. */
export const RECORD_COST_BYTES = 64;

export class Slices {
  #bytes = 0;

  constructor(readonly breathe: (() => Promise<void>) | undefined) {}

  /** Counts work that was done; to be awaited where it is a promise. */
  spent(bytes: number): Promise<void> | undefined {
    this.#bytes += bytes;
    return this.#bytes < SLICE_BYTES ? undefined : this.turn();
  }

  /** A turn now: what comes next is a slice of its own. */
  turn(): Promise<void> | undefined {
    this.#bytes = 0;
    return this.breathe?.();
  }
}
