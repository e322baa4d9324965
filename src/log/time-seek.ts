/** A seek by time, to the record. Loaded by the first such seek. */
import type { Kernel } from "../kernel/types.ts";
import { decodeBatch } from "../record/record-batch.ts";
import type { LogStore } from "../store/log-store.ts";
import { RECORD_COST_BYTES, Slices } from "./slices.ts";
import type { LogSettings } from "./types.ts";

interface Sought {
  readonly store: LogStore;
  readonly kernel: Kernel;
  readonly settings: LogSettings;
  readonly breathe: () => Promise<void>;
}

/** The first record from the log start whose timestamp is at least `timestamp`; `limit` without one. */
export async function firstAt(
  { store, kernel, settings, breathe }: Sought,
  timestamp: number,
  limit: number,
): Promise<number> {
  let offset = (await store.offsetForTimestamp(timestamp)) ?? limit;
  const slices = new Slices(breathe);
  // Usually one batch. More if the records that gave the batch its maximum timestamp lie below the log start.
  while (offset < limit) {
    const { bytes, nextOffset } = await store.read(offset, 1, limit);
    if (bytes.length === 0) return Math.max(nextOffset, offset);
    const batch = await decodeBatch(kernel, bytes, { decompressedBytesMax: settings.decompressedBytesMax });
    for (let i = 0; i < batch.count; i++) {
      const found = batch.offsetAt(i);
      if (found >= offset && batch.timestampAt(i) >= timestamp) return Math.min(found, limit);
    }
    offset = nextOffset;
    await slices.spent(bytes.length + batch.count * RECORD_COST_BYTES);
  }
  return limit;
}
