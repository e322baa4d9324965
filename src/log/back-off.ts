/**
 * How long to wait before something that failed is tried again: twice as long after each failure in a row, up to a
 * bound. With `random` the pause is between half of that time and all of it, so that callers that failed together do
 * not all return together.
 *
 * The edge uses it. In the browser, browser-tide.ts (loading) and worker-host.ts (opening again) write the same
 * doubling in place, because they are part of a first visit, where every byte counts.
 */

export interface BackOff {
  /** The pause after the first failure. */
  readonly minMs: number;
  /** The longest pause. */
  readonly maxMs: number;
}

/** The pause after this many failures in a row, 1 or more. `random` is in [0, 1]. */
export const pauseMs = ({ minMs, maxMs }: BackOff, failures: number, random = 1): number =>
  Math.round(Math.min(maxMs, minMs * 2 ** (failures - 1)) * (0.5 + random / 2));
