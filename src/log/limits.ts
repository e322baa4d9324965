/**
 * The log's named limits: every queue, buffer and table is bounded by one of these. docs/limits.md repeats the reasons.
 */
import { TidemarkError } from "../errors.ts";
import { KERNEL_BATCH_BYTES_MAX } from "../kernel/types.ts";
import { BATCH_HEADER_BYTES } from "../record/format.ts";
import type { CompactionSettings, LogSettings, RetentionSettings } from "./types.ts";

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;

/**
 * Largest batch that any log takes, in the browser and at the edge: Kafka's default of message.max.bytes (1 MiB and the
 * 12 bytes in front of a batch). A larger one could go up to no edge and to no broker. What older versions stored is
 * still read.
 */
export const BATCH_BYTES_MAX = MIB + 12;

export const DEFAULT_SETTINGS: LogSettings = {
  retention: {},
  compaction: undefined,
  // Kafka's segment.ms: an old segment can leave by retention even if little is written.
  segmentMaxAgeMs: 7 * 24 * HOUR_MS,
  // One record may fill the largest batch.
  recordBytesMax: BATCH_BYTES_MAX - BATCH_HEADER_BYTES,
  batchBytesMax: BATCH_BYTES_MAX,
  // Two active segments' worth: more waiting than the disk takes in a second helps nobody.
  queueBytesMax: 16 * MIB,
  queueAppendsMax: 10_000,
  // A parked read is a closure; a thousand are some hundred KiB.
  waitersMax: 1_000,
  // Some 200 bytes each in memory and in each sealed segment's snapshot.
  producersMax: 1_000,
  // A million short keys are some 100 MiB of strings.
  compactionKeysMax: 1_000_000,
  // What the kernel's memory holds.
  decompressedBytesMax: KERNEL_BATCH_BYTES_MAX,
};

/**
 * Tombstones stay for a day after their segment was sealed, so that a reader that was away sees them (Kafka's default).
 */
export const TOMBSTONE_RETENTION_MS = 24 * HOUR_MS;

const RETENTION = ["maxAgeMs", "maxBytes", "maxRecords"];
const COMPACTION = ["minLagMs", "tombstoneRetentionMs"];

const shown = (value: unknown): string =>
  typeof value === "string"
    ? JSON.stringify(value)
    : typeof value === "number"
      ? String(value)
      : value === null
        ? "null"
        : typeof value;
const isPositive = (value: unknown): value is number => typeof value === "number" && value > 0 && value < Infinity;
const isDelay = (value: unknown): value is number => typeof value === "number" && value >= 0 && value < Infinity;

function refuse(field: string, value: unknown, allowed: string): never {
  throw new TidemarkError("INVALID_ARGUMENT", `${field} is ${shown(value)}; it must be ${allowed}`, { field });
}

/** The group's own fields and no others, each as `isAllowed` has it. */
function checkGroup(
  group: string,
  value: unknown,
  names: readonly string[],
  isAllowed: (value: unknown) => boolean,
  allowed: string,
): void {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    refuse(group, value, `an object with ${names.join(", ")}`);
  for (const [name, each] of Object.entries(value as object)) {
    if (!names.includes(name))
      throw new TidemarkError("INVALID_ARGUMENT", `${group}.${name} is not known; ${group} has ${names.join(", ")}`, {
        field: `${group}.${name}`,
      });
    if (each !== undefined && !isAllowed(each)) refuse(`${group}.${name}`, each, allowed);
  }
}

/** Retention removes records, so a limit that is no positive number is refused, never compared with. */
export function checkRetention(retention: unknown): void {
  checkGroup("retention", retention, RETENTION, isPositive, "a finite number above 0, or left out for no limit");
}

export function checkCompaction(compaction: unknown): void {
  checkGroup("compaction", compaction, COMPACTION, isDelay, "a finite number of milliseconds, 0 or more");
}

/**
 * INVALID_ARGUMENT names the first field that is wrong, what was given and what is allowed. A field that is undefined
 * has its default.
 */
export function checkSettings(settings: unknown): asserts settings is Partial<LogSettings> {
  if (typeof settings !== "object" || settings === null || Array.isArray(settings))
    refuse("settings", settings, "an object");
  for (const [name, value] of Object.entries(settings as object)) {
    if (value === undefined) continue;
    if (name === "retention") checkRetention(value);
    else if (name === "compaction") checkCompaction(value);
    else if (!Object.hasOwn(DEFAULT_SETTINGS, name))
      throw new TidemarkError("INVALID_ARGUMENT", `${name} is no setting of a log`, { field: name });
    // Everything else is a count, of bytes, entries or milliseconds. None of them has a word for "no limit".
    else if (!isPositive(value) || (!name.endsWith("Ms") && !Number.isSafeInteger(value)))
      refuse(name, value, "a finite number above 0");
  }
}

/**
 * What is usable of retention settings that come from storage: a value that would be refused today counts as no limit.
 */
export function saneRetention(retention: unknown): RetentionSettings {
  return Object.fromEntries(
    Object.entries(Object(retention)).filter(([name, value]) => RETENTION.includes(name) && isPositive(value)),
  );
}

/** The same for compaction: a value that would be refused today counts as left out. */
export function saneCompaction(compaction: CompactionSettings): CompactionSettings {
  // Infinity is the edge's own word for "never" (a fork's tombstones).
  return Object.fromEntries(
    Object.entries(compaction).filter(
      ([name, value]) => COMPACTION.includes(name) && (isDelay(value) || value === Infinity),
    ),
  );
}

/** Defaults filled in, every value checked, and their sums. */
export function withDefaults(settings: Partial<LogSettings>): LogSettings {
  checkSettings(settings);
  const given = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
  const full: LogSettings = { ...DEFAULT_SETTINGS, ...given };
  const { recordBytesMax, batchBytesMax, decompressedBytesMax } = full;
  if (batchBytesMax > BATCH_BYTES_MAX) refuse("batchBytesMax", batchBytesMax, `at most ${BATCH_BYTES_MAX}`);
  if (recordBytesMax > batchBytesMax - BATCH_HEADER_BYTES) {
    refuse(
      "recordBytesMax",
      recordBytesMax,
      `at most ${batchBytesMax - BATCH_HEADER_BYTES}: with a header of ${BATCH_HEADER_BYTES} bytes it ` +
        "must fit a batch of batchBytesMax",
    );
  }
  if (decompressedBytesMax > KERNEL_BATCH_BYTES_MAX)
    refuse("decompressedBytesMax", decompressedBytesMax, `at most ${KERNEL_BATCH_BYTES_MAX}, the kernel's memory`);
  return full;
}
