/** A seek by time, to the record. Loaded by the first such seek. */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { decodeBatch, type RecordBatch } from "../record/record-batch.ts";
import type { LogStore } from "../store/log-store.ts";
import { RECORD_COST_BYTES, Slices } from "./slices.ts";
import type { LogSettings } from "./types.ts";

/** The memory of the batch that was read last is used again: it would be most of a seek's garbage. */
let spare: Uint8Array | undefined;

interface Sought {
  readonly store: LogStore;
  readonly kernel: Kernel;
  readonly settings: () => LogSettings;
  readonly breathe: () => Promise<void>;
}

/**
 * The first record from the log start whose timestamp is at least `timestamp`; `limit` without one. INVALID_ARGUMENT:
 * it is no number.
 */
export async function firstAt(
  { store, kernel, settings, breathe }: Sought,
  timestamp: number,
  limit: number,
): Promise<number> {
  if (typeof timestamp !== "number" || Number.isNaN(timestamp)) {
    throw new TidemarkError(
      "INVALID_ARGUMENT",
      `timestamp is ${String(timestamp)}; it must be a number of milliseconds`,
      { field: "timestamp" },
    );
  }
  let offset = (await store.offsetForTimestamp(timestamp)) ?? limit;
  const slices = new Slices(breathe);
  // Usually one batch. More if the records that gave the batch its maximum timestamp lie below the log start.
  while (offset < limit) {
    const memory = spare;
    // Another seek may read meanwhile.
    spare = undefined;
    const { bytes, nextOffset } = await store.read(offset, 1, limit, false, memory);
    if (bytes.length === 0) return Math.max(nextOffset, offset);
    const batch = await decodeBatch(kernel, bytes, { decompressedBytesMax: settings().decompressedBytesMax });
    const found = firstIn(batch, offset, timestamp);
    spare = bytes.length > (memory?.length ?? 0) ? bytes : memory;
    if (found !== undefined) return Math.min(found, limit);
    offset = nextOffset;
    await slices.spent(bytes.length + batch.count * RECORD_COST_BYTES);
  }
  return limit;
}

/** The offset of the first record from `offset` that is not older than `timestamp`. */
export function firstIn(batch: RecordBatch, offset: number, timestamp: number): number | undefined {
  for (let i = 0; i < batch.count; i++)
    if (batch.offsetAt(i) >= offset && batch.timestampAt(i) >= timestamp) return batch.offsetAt(i);
  return undefined;
}
