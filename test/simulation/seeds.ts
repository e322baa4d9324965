/** Runs many seeds and adds up their counters, for the command line, the tests and the planted bugs. */
import type { Kernel } from "../../src/kernel/types.ts";
import { Counters } from "./counters.ts";
import { makePlan, type Plan } from "./plan.ts";
import { type Failure, Simulation } from "./simulation.ts";
import { installSyncGzip } from "./sync-gzip.ts";

export interface SeedsWish {
  readonly kernel: Kernel;
  readonly seeds: Iterable<number>;
  /** Operations per history. */
  readonly ops: number;
  /** True for seeds that run twice, to compare their traces. */
  readonly twice?: (seed: number) => boolean;
  /** The run stops after this many failures. */
  readonly failuresMax?: number;
  readonly onSeed?: (seed: number) => void;
  readonly plan?: (seed: number, ops: number) => Plan;
}

export interface FailedSeed extends Failure {
  readonly seed: number;
}

export interface SeedsResult {
  readonly seeds: number;
  readonly twice: number;
  readonly failures: readonly FailedSeed[];
  readonly counts: Readonly<Record<string, number>>;
  /** Hash of the traces of all seeds. */
  readonly hash: string;
}

export const OPS_DEFAULT = 60;

/** Collects unhandled rejections, which count for the seed that is running. */
function watchRejections(): { readonly take: () => unknown; readonly end: () => void } {
  let seen: unknown;
  const note = (reason: unknown): void => {
    seen ??= reason ?? "a rejection";
  };
  process.on("unhandledRejection", note);
  const take = (): unknown => {
    const reason = seen;
    seen = undefined;
    return reason;
  };
  return { take, end: () => process.off("unhandledRejection", note) };
}

export async function runSeeds(wish: SeedsWish): Promise<SeedsResult> {
  installSyncGzip();
  const counters = new Counters();
  const failures: FailedSeed[] = [];
  const rejections = watchRejections();
  let seeds = 0;
  let twice = 0;
  let hash = 0;
  const make = wish.plan ?? makePlan;
  for (const seed of wish.seeds) {
    const plan = make(seed, wish.ops);
    const result = await new Simulation(plan, wish.kernel).run();
    seeds++;
    counters.merge(result.counters);
    for (const char of result.hash) hash = (Math.imul(hash, 31) + char.charCodeAt(0)) | 0;
    const failed = result.failure ?? unhandled(rejections.take());
    if (failed) failures.push({ seed, ...failed });
    if (wish.twice?.(seed)) {
      twice++;
      const again = await new Simulation(plan, wish.kernel).run();
      if (again.hash !== result.hash) failures.push({ seed, ...notRepeatable(result.hash, again.hash) });
    }
    wish.onSeed?.(seed);
    if (failures.length >= (wish.failuresMax ?? Infinity)) break;
  }
  rejections.end();
  return { seeds, twice, failures, counts: counters.counts, hash: (hash >>> 0).toString(16).padStart(8, "0") };
}

function unhandled(reason: unknown): Failure | undefined {
  if (reason === undefined) return undefined;
  const stack = reason instanceof Error ? (reason.stack ?? reason.message) : String(reason);
  return { check: "unhandled-rejection", message: String(reason), stack, op: undefined };
}

function notRepeatable(first: string, second: string): Failure {
  return { check: "not-repeatable", message: `trace ${first}, then ${second}`, stack: "", op: undefined };
}

export function* range(from: number, count: number): Generator<number> {
  for (let seed = from; seed < from + count; seed++) yield seed;
}
