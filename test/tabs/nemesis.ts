/** What strikes tabs of one browser next, whom, and for how long; all from the seed. */
import { Random } from "../simulation/prng.ts";

/**
 * close, crash, reload: of the tab. left: away and back through the back-forward cache. worker: terminated. hang: its
 * process stopped, and let go on later. frozen: by the browser. slow: its processor throttled. seen: another tab comes
 * to the front. kill: SIGKILL to the whole browser.
 */
const WEIGHTS = { close: 20, crash: 20, reload: 8, left: 8, worker: 6, hang: 5, frozen: 7, slow: 5, seen: 6, kill: 2 };
export type Fault = keyof typeof WEIGHTS;
export const FAULTS = Object.keys(WEIGHTS) as Fault[];

export interface Strike {
  readonly fault: Fault;
  readonly atLeader: boolean;
  /** Which of those that may be struck: anything below 1. */
  readonly whom: number;
  /** How long it lasts, where it does not end by itself. */
  readonly lastsMs: number;
  /** Before the next one. */
  readonly pauseMs: number;
}

/** Before each strike of one fault alone: what the last one set going has come to its end. */
const SETTLED_MS = 500;

/** `only`: this fault, and the leader, every time. */
export function strikeOf(seed: number, step: number, only?: Fault): Strike {
  const random = new Random(seed, 11, step);
  if (only) return { fault: only, atLeader: true, whom: random.int(1000) / 1000, lastsMs: 300, pauseMs: SETTLED_MS };
  // Every fault once at the leader, before chance has its way: the shortest run has all of them.
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
