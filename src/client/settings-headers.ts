/** A topic's settings as headers of requests and answers. */
import type { CompactionSettings, RetentionSettings } from "../log/types.ts";

const COMPACTION = "tidemark-compaction";
/** The end of a header's name, the setting that it has, and how many of the setting's units are one of the header's. */
const RETENTION_HEADERS = [
  ["retention-bytes", "maxBytes", 1],
  ["retention-records", "maxRecords", 1],
  ["retention-seconds", "maxAgeMs", 1000],
] as const;
const COMPACTION_HEADERS = [
  ["compaction-lag-seconds", "minLagMs", 1000],
  ["compaction-tombstone-seconds", "tombstoneRetentionMs", 1000],
] as const;

export function settingsHeaders(
  retention: RetentionSettings | undefined,
  compaction: CompactionSettings | boolean | undefined,
): Record<string, string> {
  // A compaction that is `true` has no settings of its own.
  const settings: Readonly<Record<string, number | undefined>> = { ...retention, ...Object(compaction) };
  const headers: Record<string, string> = compaction ? { [COMPACTION]: "key" } : {};
  for (const [name, field, unit] of [...RETENTION_HEADERS, ...COMPACTION_HEADERS]) {
    const value = settings[field];
    if (value !== undefined) headers[`tidemark-${name}`] = String(Math.ceil(value / unit));
  }
  return headers;
}

type SettingHeader = readonly [name: string, field: string, unit: number];

/** Undefined if there is none. */
function settingsIn(headers: Headers, table: readonly SettingHeader[]): Record<string, number> | undefined {
  const found = table.flatMap(([name, field, unit]) => {
    const text = headers.get(`tidemark-${name}`);
    return text === null ? [] : [[field, Number(text) * unit] as const];
  });
  return found[0] && Object.fromEntries(found);
}

export const retentionIn = (headers: Headers): RetentionSettings | undefined => settingsIn(headers, RETENTION_HEADERS);

export const compactionIn = (headers: Headers): CompactionSettings | undefined =>
  headers.has(COMPACTION) ? (settingsIn(headers, COMPACTION_HEADERS) ?? {}) : undefined;
