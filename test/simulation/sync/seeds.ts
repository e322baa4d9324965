/** Runs histories of sync, seed after seed, and counts what went wrong in them on purpose. */
import { World } from "./world.ts";

export interface FailedSeed {
  readonly seed: number;
  readonly why: string;
}

export interface SyncSeeds {
  readonly failures: readonly FailedSeed[];
  readonly counts: Readonly<Record<string, number>>;
  readonly records: number;
}

export interface SyncRun {
  readonly seed: number;
  readonly seeds: number;
  readonly ops: number;
  /** The run ends after so many failures. */
  readonly failuresMax?: number;
}

export async function runSync(
  { seed, seeds, ops, failuresMax = Infinity }: SyncRun,
  onFailure: (failed: FailedSeed) => void = () => undefined,
): Promise<SyncSeeds> {
  const counts: Record<string, number> = {};
  const failures: FailedSeed[] = [];
  let records = 0;
  for (let each = seed; each < seed + seeds && failures.length < failuresMax; each++) {
    const result = await new World(each).run(ops);
    if (result.failed !== undefined) {
      const failed = { seed: each, why: result.failed };
      failures.push(failed);
      onFailure(failed);
    }
    records += result.records;
    for (const [name, times] of Object.entries(result.faults)) counts[name] = (counts[name] ?? 0) + times;
  }
  return { failures, counts, records };
}
