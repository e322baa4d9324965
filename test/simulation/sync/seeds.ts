/** Runs histories of sync, seed after seed, and counts what went wrong in them on purpose. */
import { World } from "./world.ts";

export interface SyncSeeds {
  readonly failures: readonly { readonly seed: number; readonly why: string }[];
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
  onSeed: () => void = () => undefined,
): Promise<SyncSeeds> {
  const counts: Record<string, number> = {};
  const failures: { seed: number; why: string }[] = [];
  let records = 0;
  for (let each = seed; each < seed + seeds && failures.length < failuresMax; each++) {
    const result = await new World(each).run(ops);
    if (result.failed !== undefined) failures.push({ seed: each, why: result.failed });
    records += result.records;
    for (const [name, times] of Object.entries(result.faults)) counts[name] = (counts[name] ?? 0) + times;
    onSeed();
  }
  return { failures, counts, records };
}
