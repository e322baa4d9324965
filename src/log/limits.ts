/**
 * The log's named limits: every queue, buffer and table is bounded by one of these. docs/limits.md gives the reasons.
 */
import { TidemarkError } from "../errors.ts";
import { KERNEL_BATCH_BYTES_MAX } from "../kernel/types.ts";
import { BATCH_HEADER_BYTES } from "../record/format.ts";
import type { CompactionSettings, LogSettings, RetentionSettings } from "./types.ts";

const MIB = 1024 * 1024;
const HOUR_MS = 3_600_000;

/**
 * Largest batch that any log takes, in the browser and at the edge. It is Kafka's default of message.max.bytes (1 MiB
 * plus the 12 bytes in front of a batch): a larger batch could be sent to no edge and no broker. Larger ones that older
 * versions stored are still read.
 */
export const BATCH_BYTES_MAX = MIB + 12;

export const DEFAULT_SETTINGS: LogSettings = {
  retention: {},
  compaction: undefined,
  // Kafka's default of segment.ms: retention can remove an old segment even if little is written.
  segmentMaxAgeMs: 7 * 24 * HOUR_MS,
  // One record may fill the largest batch.
  recordBytesMax: BATCH_BYTES_MAX - BATCH_HEADER_BYTES,
  batchBytesMax: BATCH_BYTES_MAX,
  // Two active segments' worth. A longer queue would not be faster, only later.
  queueBytesMax: 16 * MIB,
  queueAppendsMax: 10_000,
  // A parked read is a closure; a thousand of them take some hundred KiB.
  waitersMax: 1_000,
  // Each takes some 200 bytes, in memory and in the snapshot of each sealed segment.
  producersMax: 1_000,
  // A million keys of 8 bytes take 32 MiB (newest-by-key.ts).
  compactionKeysMax: 1_000_000,
  // The kernel's memory holds no more.
  decompressedBytesMax: KERNEL_BATCH_BYTES_MAX,
};

/**
 * Kafka's default: a tombstone stays for a day after its segment was sealed, so that a reader that was away for less
 * sees it.
 */
export const TOMBSTONE_RETENTION_MS = 24 * HOUR_MS;

const RETENTION = ["maxAgeMs", "maxBytes", "maxRecords"];
const COMPACTION = ["minLagMs", "tombstoneRetentionMs"];

const shown = (value: unknown): string =>
  typeof value === "string"
    ? JSON.stringify(value.slice(0, 60))
    : typeof value === "number" || value === null
      ? String(value)
      : typeof value;
const isPositive = (value: unknown): value is number => typeof value === "number" && value > 0 && value < Infinity;
const isDelay = (value: unknown): value is number => typeof value === "number" && value >= 0 && value < Infinity;

/** INVALID_ARGUMENT that names the field, its value and what is allowed. */
export function refuse(field: string, value: unknown, allowed: string): never {
  throw new TidemarkError("INVALID_ARGUMENT", `${field} is ${shown(value)}; it must be ${allowed}`, { field });
}

/** Checks that the group has only known fields, and that each passes `isAllowed`. */
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
    if (!names.includes(name)) refuse(`${group}.${name}`, each, `left out: ${group} has ${names.join(", ")}`);
    if (each !== undefined && !isAllowed(each)) refuse(`${group}.${name}`, each, allowed);
  }
}

/** Retention removes records, so a limit that is not a positive number must be refused. */
export function checkRetention(retention: unknown, group = "retention"): void {
  checkGroup(group, retention, RETENTION, isPositive, "a finite number above 0, or left out for no limit");
}

export function checkCompaction(compaction: unknown, group = "compaction"): void {
  checkGroup(group, compaction, COMPACTION, isDelay, "a finite number of milliseconds, 0 or more");
}

/**
 * INVALID_ARGUMENT names the first wrong field, its value and what is allowed. A field that is undefined gets its
 * default.
 */
export function checkSettings(settings: unknown): asserts settings is Partial<LogSettings> {
  if (typeof settings !== "object" || settings === null || Array.isArray(settings))
    refuse("settings", settings, "an object");
  for (const [name, value] of Object.entries(settings as object)) {
    if (value === undefined) continue;
    if (name === "retention") checkRetention(value);
    else if (name === "compaction") checkCompaction(value);
    else if (!Object.hasOwn(DEFAULT_SETTINGS, name)) refuse(name, value, "left out: a log has no such setting");
    // All other settings count bytes, entries or milliseconds. None of them has a value for "no limit".
    else {
      const isTime = name.endsWith("Ms");
      if (!isPositive(value) || !(isTime || Number.isSafeInteger(value)))
        refuse(name, value, `a ${isTime ? "finite" : "whole"} number above 0`);
    }
  }
}

/** The usable part of retention settings that were stored: a value that would be refused today counts as no limit. */
export function saneRetention(retention: unknown): RetentionSettings {
  return Object.fromEntries(
    Object.entries(Object(retention)).filter(([name, value]) => RETENTION.includes(name) && isPositive(value)),
  );
}

/** The usable part of stored compaction settings: a value that would be refused today counts as not set. */
export function saneCompaction(compaction: CompactionSettings): CompactionSettings {
  // Infinity is used inside the edge for "never" (a fork's tombstones).
  return Object.fromEntries(
    Object.entries(compaction).filter(
      ([name, value]) => COMPACTION.includes(name) && (isDelay(value) || value === Infinity),
    ),
  );
}

/** Fills in defaults, and checks every value and how the sizes fit together. */
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
      `at most ${batchBytesMax - BATCH_HEADER_BYTES}, to fit a batch of batchBytesMax`,
    );
  }
  if (decompressedBytesMax > KERNEL_BATCH_BYTES_MAX)
    refuse("decompressedBytesMax", decompressedBytesMax, `at most ${KERNEL_BATCH_BYTES_MAX}, the kernel's memory`);
  return full;
}
