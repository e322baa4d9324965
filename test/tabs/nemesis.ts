/** Decides by the seed which fault strikes next, which tab it strikes, and for how long. */
import { Random } from "../simulation/prng.ts";

/**
 * The weight of each fault. close, crash, reload: the tab does so. left: it goes away and comes back through the
 * back-forward cache. worker: its worker is terminated. hang: its process is stopped and continued later. frozen: the
 * browser freezes it. slow: its processor is throttled. seen: another tab comes to the front. kill: SIGKILL to the
 * whole browser.
 */
const WEIGHTS = { close: 20, crash: 20, reload: 8, left: 8, worker: 6, hang: 5, frozen: 7, slow: 5, seen: 6, kill: 2 };
export type Fault = keyof typeof WEIGHTS;
export const FAULTS = Object.keys(WEIGHTS) as Fault[];

export interface Strike {
  readonly fault: Fault;
  readonly atLeader: boolean;
  /** Chooses among the tabs that may be struck: a number from 0 to below 1. */
  readonly whom: number;
  /** How long the fault lasts, if it does not end by itself. */
  readonly lastsMs: number;
  /** Pause before the next strike. */
  readonly pauseMs: number;
}

/** Pause before each strike in a run of a single fault: the effects of the last strike have ended. */
const SETTLED_MS = 500;

/** With `only`, every strike is this fault and hits the leader. */
export function strikeOf(seed: number, step: number, only?: Fault): Strike {
  const random = new Random(seed, 11, step);
  if (only) return { fault: only, atLeader: true, whom: random.int(1000) / 1000, lastsMs: 300, pauseMs: SETTLED_MS };
  // First every fault strikes the leader once, so that the shortest run has all of them. Then chance decides.
  const fault = step < FAULTS.length ? FAULTS[(step + seed) % FAULTS.length]! : random.weighted(WEIGHTS);
  const atLeader = step < FAULTS.length || random.chance(0.75);
  return {
    fault,
    atLeader,
    whom: random.int(1000) / 1000,
    lastsMs: random.between(300, random.pick([1000, 3000, 6000])),
    pauseMs: random.int(random.pick([20, 200, 2000])),
  };
}
