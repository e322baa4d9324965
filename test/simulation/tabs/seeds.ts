/** Runs many histories, one after the other, for the command line, the tests and the planted bugs. */
import { Counters } from "../counters.ts";
import { type Failure, History } from "./history.ts";
import { makeTabsPlan, type Op, type TabsPlan } from "./plan.ts";
import type { Product } from "./platform.ts";

export interface TabsFailure extends Failure {
  readonly seed: number;
}
export interface TabsSeeds {
  readonly seeds: number;
  readonly twice: number;
  readonly failures: readonly TabsFailure[];
  readonly counts: Readonly<Record<string, number>>;
  readonly hash: string;
}
export interface TabsWish {
  readonly product: Product;
  readonly kernel: WebAssembly.Module;
  readonly seeds: Iterable<number>;
  readonly twice?: (seed: number) => boolean;
  readonly failuresMax?: number;
  readonly onSeed?: () => void;
  readonly plan?: (seed: number) => TabsPlan;
}

const EVERYWHERE = [
  "append",
  "roll.leader",
  "close-tab.leader",
  "crash-tab.leader",
  "close-tide.leader",
  "kill-worker.leader",
  "kill-broker",
  "hang-worker.leader",
  "hang-page.leader",
  "stop.leader",
  "freeze.leader",
  "way-back.leader",
  "hide.leader",
  "stopped.write",
  "stopped.clock",
  "stopped.post",
  "stopped.query",
  "lock.stolen",
  "lock.late",
  "broadcast.late",
  "broadcast.lost",
  "via.worker",
  "via.port",
  "via.broadcast",
  "acked.duplicate",
];
/** Kinds of faults and events that a run of some hundred seeds must count at least once. */
export const TABS_EXPECTED = {
  opfs: [...EVERYWHERE, "write.late", "handle.locked", "stopped.file"],
  indexeddb: [...EVERYWHERE, "connection.lost", "transaction.undone", "transaction.fenced"],
};

export async function runTabsSeeds({
  product,
  kernel,
  seeds,
  twice,
  failuresMax = Infinity,
  onSeed,
  plan: make = makeTabsPlan,
}: TabsWish): Promise<TabsSeeds> {
  const counters = new Counters();
  const failures: TabsFailure[] = [];
  let unhandled: unknown;
  const note = (reason: unknown): void => void (unhandled ??= reason ?? "a rejection");
  process.on("unhandledRejection", note);
  let [count, repeated, hash] = [0, 0, 0];
  for (const seed of seeds) {
    const plan = make(seed);
    const result = await new History(plan, product, kernel).run();
    count++;
    counters.merge(result.counts);
    for (const char of result.hash) hash = (Math.imul(hash, 31) + char.charCodeAt(0)) | 0;
    if (result.failure) failures.push({ seed, ...result.failure });
    else if (unhandled)
      failures.push({
        seed,
        check: "unhandled-rejection",
        message: unhandled instanceof Error ? (unhandled.stack ?? unhandled.message) : String(unhandled),
      });
    unhandled = undefined;
    if (twice?.(seed)) {
      repeated++;
      const again = await new History(plan, product, kernel).run();
      if (again.hash !== result.hash)
        failures.push({ seed, check: "not-repeatable", message: `trace ${result.hash}, then ${again.hash}` });
    }
    onSeed?.();
    if (failures.length >= failuresMax) break;
  }
  process.off("unhandledRejection", note);
  return {
    seeds: count,
    twice: repeated,
    failures,
    counts: counters.counts,
    hash: (hash >>> 0).toString(16).padStart(8, "0"),
  };
}

/** Leaves out operations while the same check fails, and returns the shortest plan that it found. */
export async function shrinkTabs(
  plan: TabsPlan,
  check: string,
  product: Product,
  kernel: WebAssembly.Module,
  runsMax = 400,
): Promise<TabsPlan> {
  let best = plan;
  let runs = 0;
  const fails = async (ops: readonly Op[]): Promise<boolean> => {
    runs++;
    const plan = { ...best, ops };
    if ((await new History(plan, product, kernel).run()).failure?.check !== check) return false;
    best = plan;
    return true;
  };
  for (let size = best.ops.length >> 1; size >= 1 && runs < runsMax;) {
    let shorter = false;
    for (let at = 0; at < best.ops.length && runs < runsMax;) {
      if (await fails([...best.ops.slice(0, at), ...best.ops.slice(at + size)])) shorter = true;
      else at += size;
    }
    if (!shorter) size >>= 1;
  }
  return best;
}
