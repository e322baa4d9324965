/** How the edge's bench measures contenders beside each other: they take turns, round by round. */
import { median } from "../../support/figures.mjs";
import type { Contenders } from "./contenders.ts";
import { note } from "./note.ts";

/** Slices of each contender in a round. */
export const TURNS = 6;
export const FULL = {
  rounds: 4,
  appendMs: 3_600,
  batches: 2_000,
  commits: 512,
  rowBatches: 1_000,
  followers: 1_000,
  appends: 60,
  liveRecords: 20,
  catchUp: 100,
  streams: 10_000,
  /** An object sleeps some 10 s after its last request. */
  asleepMs: 14_000,
  /** Numbers of live readers, beside `followers`. */
  growing: [1, 10, 100],
  /** Sizes of logs. */
  logMiB: [10, 100, 1_000],
};
export const QUICK = {
  rounds: 1,
  appendMs: 200,
  batches: 20,
  commits: 16,
  rowBatches: 20,
  followers: 20,
  appends: 3,
  liveRecords: 3,
  catchUp: 5,
  streams: 40,
  asleepMs: 0,
  growing: [2],
  logMiB: [2],
};
type Lists = "growing" | "logMiB";
export type Size = Readonly<Record<Exclude<keyof typeof FULL, Lists>, number>> &
  Readonly<Record<Lists, readonly number[]>>;

type Rounds = Record<string, number[]>;
export interface Result {
  readonly ratios: Record<string, number>;
  readonly figures: Record<string, number>;
  readonly targets: Record<string, boolean>;
  /** The ratio of every round, in the order of the rounds. */
  readonly rounds: Rounds;
  environment: Record<string, unknown>;
}

export const least = (values: readonly number[]): number => Math.min(...values);
export { note };
export const number = (value: number): string =>
  value >= 1000 ? Math.round(value).toLocaleString("en-US") : value.toFixed(2);
export type Workload = (result: Result, size: Size, contenders: Contenders) => Promise<void>;

/**
 * The rates of each round. Contenders take turns in short slices, so that a machine whose speed drifts favours none of
 * them.
 */
export async function versus(
  rounds: number,
  names: readonly string[],
  round: (n: number) => Promise<{ slice(name: string): Promise<void>; rate(name: string): number; end(): void }>,
  turns = TURNS,
): Promise<number[][]> {
  const all: number[][] = names.map(() => []);
  for (let n = 0; n < rounds; n++) {
    const contest = await round(n);
    for (let turn = 0; turn < turns; turn++)
      for (let i = 0; i < names.length; i++) await contest.slice(names[(i + turn) % names.length]!);
    contest.end();
    names.forEach((name, i) => all[i]!.push(contest.rate(name)));
    note(`round ${n + 1}: ${names.map((name, i) => `${name} ${number(all[i]!.at(-1)!)}`).join(", ")}`);
  }
  return all;
}

/** Keeps the median of the rounds' ratios, and each round's. */
export function keep(result: Result, key: string, ours: readonly number[], theirs: readonly number[]): void {
  const ratios = ours.map((value, i) => value / theirs[i]!);
  result.rounds[key] = ratios;
  result.ratios[key] = median(ratios);
}
