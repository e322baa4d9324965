/** The log's named limits: every queue, buffer and table is bounded by one of these. docs/limits.md repeats the reasons. */
import { TidemarkError } from "../errors.ts";
import { KERNEL_BATCH_BYTES_MAX } from "../kernel/types.ts";
import { BATCH_HEADER_BYTES } from "../record/format.ts";
import type { LogSettings } from "./types.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const HOUR_MS = 3_600_000;

export const DEFAULT_SETTINGS: LogSettings = {
  retention: {},
  compaction: undefined,
  // Kafka's segment.ms: an old segment can leave by retention even if little is written.
  segmentMaxAgeMs: 7 * 24 * HOUR_MS,
  // Kafka's max.message.bytes; a Durable Object's row holds 2 MB.
  recordBytesMax: MIB,
  // One record of the largest size and its batch header must fit.
  batchBytesMax: MIB + 64 * KIB,
  // Two active segments' worth: more waiting than the disk takes in a second helps nobody.
  queueBytesMax: 16 * MIB,
  queueAppendsMax: 10_000,
  // A parked read is a closure; a thousand are some hundred KiB.
  waitersMax: 1_000,
  // Some 200 bytes each in memory and in each sealed segment's snapshot.
  producersMax: 1_000,
  // Longer than any retry: after this a producer id counts as unknown.
  producerMaxAgeMs: 7 * 24 * HOUR_MS,
  // A million short keys are some 100 MiB of strings.
  compactionKeysMax: 1_000_000,
  // What the kernel's memory holds.
  decompressedBytesMax: KERNEL_BATCH_BYTES_MAX,
};

/** Tombstones stay for a day after their segment was sealed, so that a reader that was away sees them (Kafka's default). */
export const TOMBSTONE_RETENTION_MS = 24 * HOUR_MS;

/** Defaults filled in and sums checked. */
export function withDefaults(settings: Partial<LogSettings>): LogSettings {
  const full = { ...DEFAULT_SETTINGS, ...settings };
  for (const [name, value] of Object.entries(full)) {
    const isNumber = typeof DEFAULT_SETTINGS[name as keyof LogSettings] === "number";
    if (isNumber ? !(typeof value === "number" && value > 0) : value !== undefined && Object(value) !== value) {
      throw new TidemarkError("INVALID_ARGUMENT", `${name} must be ${isNumber ? "positive" : "an object"}`, { name });
    }
  }
  const fits = full.batchBytesMax <= KERNEL_BATCH_BYTES_MAX && full.recordBytesMax + BATCH_HEADER_BYTES <= full.batchBytesMax;
  if (!fits) {
    throw new TidemarkError("INVALID_ARGUMENT", "a record must fit a batch, and a batch the kernel", {
      recordBytesMax: full.recordBytesMax,
      batchBytesMax: full.batchBytesMax,
      kernelBytesMax: KERNEL_BATCH_BYTES_MAX,
    });
  }
  return full;
}
