/** Runs histories of sync, seed after seed, and counts what went wrong in them on purpose. */
import { MemoryDisk, MemoryTopicStore } from "./memory-store.ts";
import type { SimDisk } from "./storages.ts";
import { VolumeDisk } from "./volume-store.ts";
import { World } from "./world.ts";

/** Of every second seed the storage is the real one. */
export const diskOf = (seed: number) => (): SimDisk =>
  seed % 2 === 0 ? new VolumeDisk() : new MemoryDisk(MemoryTopicStore);

export interface SyncSeeds {
  readonly failures: readonly { readonly seed: number; readonly why: string }[];
  readonly counts: Readonly<Record<string, number>>;
  readonly records: number;
}

export async function runSync(
  { seed, seeds, ops }: { readonly seed: number; readonly seeds: number; readonly ops: number },
  onSeed: () => void = () => undefined,
): Promise<SyncSeeds> {
  const counts: Record<string, number> = {};
  const failures: { seed: number; why: string }[] = [];
  let records = 0;
  for (let each = seed; each < seed + seeds; each++) {
    const result = await new World(each, diskOf(each)).run(ops);
    if (result.failed !== undefined) failures.push({ seed: each, why: result.failed });
    records += result.records;
    for (const [name, times] of [...Object.entries(result.faults), ["claim", result.claims] as const])
      counts[name] = (counts[name] ?? 0) + times;
    onSeed();
  }
  return { failures, counts, records };
}
