/**
 * How long to wait before something that failed is tried again: after each failure in a row twice as long, up to a
 * bound. Whoever hands in `random` gets between half of that time and all of it, so that those who failed at once do
 * not come again at once.
 *
 * The edge uses it. Two loops of the browser write the same doubling in place, because their files are part of a first
 * visit, where bytes count: browser-tide.ts (loads) and worker-host.ts (opens again).
 */

export interface BackOff {
  /** After the first failure. */
  readonly minMs: number;
  /** No pause is longer, however often it failed. */
  readonly maxMs: number;
}

/** The pause after this many failures in a row, 1 or more. `random` is in [0, 1]. */
export const pauseMs = ({ minMs, maxMs }: BackOff, failures: number, random = 1): number =>
  Math.round(Math.min(maxMs, minMs * 2 ** (failures - 1)) * (0.5 + random / 2));
