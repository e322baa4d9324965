/**
 * One small world on its way: a state, the rules it lives by, and what was seen broken while a step was made.
 *
 *   edge.ts    what the edge does with a join, a frame, a power cut
 *   device.ts  what a device does: opens, joins, pushes; replica.ts: follows, trims; claim.ts: claims
 *   moves.ts   every step that anybody can make now, and the faults; steps.ts makes them
 *   judge.ts   what must hold in each state, and what must come of it once nothing fails any more
 *   search.ts  all states, breadth first
 */
import type { Rules } from "./rules.ts";
import type { Memory, Space, State, Volume } from "./state.ts";

/** How often each may happen in one history. */
export const BUDGETS = [
  "append",
  "cut",
  "crash",
  "backup",
  "copy",
  "inPlace",
  "forget",
  "foreign",
  "compact",
  "trim",
  "edgeBackup",
  "putBack",
  "discard",
  "reset",
  "retry",
  "seal",
  "evict",
] as const;
export type Budget = (typeof BUDGETS)[number];
export const budgetAt = Object.fromEntries(BUDGETS.map((name, at) => [name, at])) as Record<Budget, number>;

export interface Config extends Space {
  readonly budgets: Readonly<Record<Budget, number>>;
  /** Pushes in flight, and batches of a frame. */
  readonly window: number;
  readonly frame: number;
  /** The replica begins at the log's end. */
  readonly latest: boolean;
  /** Between taking a push and its commit there is time. */
  readonly queue: boolean;
  /** An answer comes when it comes; else at once. */
  readonly late: boolean;
  /** An append may have two records. */
  readonly wide: boolean;
  /** The registry has rows, a snapshot and a memory that a reset takes. */
  readonly registry: boolean;
  /** Judged, too: IN_DOUBT without need; DIVERGED although nothing was put back. */
  readonly needless: boolean;
  readonly falseStop: boolean;
  /** What one copy discards is still owed by the others. */
  readonly ownChoice: boolean;
}

export const Bad = {
  NONE: 0,
  TWICE: 1,
  ORDER: 2,
  BOTH: 3,
  NOWHERE: 4,
  DIFFERS: 5,
  LOST: 6,
  ENDLESS: 7,
  FULL: 8,
  NEEDLESS: 9,
  FALSE_STOP: 10,
  FELL: 11,
} as const;

/** `FULL` is no violation: the state has no room for what happened, and is left out. */
export const BAD_NAMES = [
  "",
  "twice at the edge",
  "out of order at the edge",
  "visible twice",
  "visible nowhere",
  "the replica differs from the edge",
  "lost",
  "never level",
  "no room",
  "in doubt without need",
  "stopped although nothing was put back",
  "the edge told a lower standing or position than before",
] as const;

export interface World {
  state: State;
  readonly rules: Rules;
  readonly config: Config;
  bad: number;
}

export const volumeOf = (w: World, device: number): Volume => w.state.volumes[device]!;
export const memoryOf = (w: World, device: number): Memory => w.state.memories[device]!;
export const isSpent = (w: World, budget: Budget): boolean =>
  w.state.spent[budgetAt[budget]]! >= w.config.budgets[budget];
export const spend = (w: World, budget: Budget): void => {
  w.state.spent[budgetAt[budget]]!++;
};
export const isIn = (mask: number, at: number): boolean => ((mask >> at) & 1) === 1;
export const recordsOf = ({ state }: World, batch: number): number => 1 + ((state.wide >> batch) & 1);
/** End of the batch that stands at `at` in a list of positions or offsets. */
export function batchEnd(list: readonly number[], at: number, end: number): number {
  let next = at + 1;
  while (next < end && list[next] === list[at] && list[at] !== 0) next++;
  return next;
}

export const isSettled = (w: World, device: number, position: number): boolean => {
  const v = volumeOf(w, device);
  return position < v.start || (((memoryOf(w, device).settled | v.retracted) >> position) & 1) === 1;
};
export function firstUnsettled(w: World, device: number): number {
  const v = volumeOf(w, device);
  let p = v.start;
  while (p < v.end && isSettled(w, device, p)) p++;
  return p;
}
