/** Runs histories of sync, seed after seed, and counts what went wrong in them on purpose. */
import { kindOfSeed, type SyncPlan, type WorldKind } from "./kinds.ts";
import { World } from "./world.ts";

export interface FailedSeed {
  readonly seed: number;
  readonly why: string;
}

export interface SyncSeeds {
  readonly seeds: number;
  readonly failures: readonly FailedSeed[];
  readonly counts: Readonly<Record<string, number>>;
  readonly records: number;
}

export interface SyncRun {
  readonly seed: number;
  readonly seeds: number;
  readonly ops: number;
  /** Default "first". */
  readonly plan?: SyncPlan;
  /** Only histories with all of these. Default: any. */
  readonly having?: readonly (keyof WorldKind)[];
  /** The run ends after so many failures. */
  readonly failuresMax?: number;
}

/** A stack costs more than most of what a history does: a single history has them. */
const STACK_LINES = 10;

export async function runSync(
  { seed, seeds, ops, plan = "first", having = [], failuresMax = Infinity }: SyncRun,
  onSeed: (failed: FailedSeed | undefined) => void = () => undefined,
): Promise<SyncSeeds> {
  const before = Error.stackTraceLimit;
  Error.stackTraceLimit = seeds === 1 ? STACK_LINES : 0;
  try {
    return await runAll();
  } finally {
    Error.stackTraceLimit = before;
  }

  async function runAll(): Promise<SyncSeeds> {
    const counts: Record<string, number> = {};
    const failures: FailedSeed[] = [];
    let records = 0;
    let done = 0;
    for (let each = seed; each < seed + seeds && failures.length < failuresMax; each++) {
      if (having.length > 0 && !having.every((wanted) => kindOfSeed(each, plan)[wanted])) continue;
      const result = await new World(each, plan).run(ops);
      done++;
      const failed = result.failed === undefined ? undefined : { seed: each, why: result.failed };
      if (failed) failures.push(failed);
      onSeed(failed);
      records += result.records;
      for (const [name, times] of Object.entries(result.faults)) counts[name] = (counts[name] ?? 0) + times;
    }
    return { seeds: done, failures, counts, records };
  }
}

/** The fewest steps of this history that still fail, as far as halving finds them. */
export async function fewestSteps({
  seed,
  ops,
  plan,
}: SyncRun): Promise<{ readonly ops: number; readonly why: string }> {
  let best: { readonly ops: number; readonly why: string } | undefined;
  for (let [low, high] = [0, ops]; low < high;) {
    const tried: number = best === undefined && low === 0 ? high : (low + high) >> 1;
    const { failures } = await runSync({ seed, seeds: 1, ops: tried, ...(plan && { plan }) });
    if (failures[0]) best = { ops: (high = tried), why: failures[0].why };
    else if (tried === high) break;
    else low = tried + 1;
  }
  return best ?? { ops, why: "" };
}
