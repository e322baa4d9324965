/** A topic's settings as headers of requests and answers. */
import type { CompactionSettings, RetentionSettings } from "../log/types.ts";

const RETENTION = "tidemark-retention-";
const COMPACTION = "tidemark-compaction";
const BOUNDS = [
  ["bytes", "maxBytes", 1],
  ["records", "maxRecords", 1],
  ["seconds", "maxAgeMs", 1000],
] as const;
const TIMES = [
  ["-lag-seconds", "minLagMs"],
  ["-tombstone-seconds", "tombstoneRetentionMs"],
] as const;

export function settingsHeaders(
  retention: RetentionSettings = {},
  compaction: CompactionSettings | boolean | undefined,
): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [name, field, unit] of BOUNDS) {
    const value = retention[field];
    if (value !== undefined) headers[RETENTION + name] = String(Math.ceil(value / unit));
  }
  if (!compaction) return headers;
  headers[COMPACTION] = "key";
  for (const [name, field] of TIMES) {
    const value = compaction === true ? undefined : compaction[field];
    if (value !== undefined) headers[COMPACTION + name] = String(Math.ceil(value / 1000));
  }
  return headers;
}

export function retentionIn(headers: Headers): RetentionSettings | undefined {
  const found = BOUNDS.flatMap(([name, field, unit]) => {
    const text = headers.get(RETENTION + name);
    return text === null ? [] : [[field, Number(text) * unit]];
  });
  return found.length > 0 ? Object.fromEntries(found) : undefined;
}

export function compactionIn(headers: Headers): CompactionSettings | undefined {
  if (headers.get(COMPACTION) === null) return undefined;
  return Object.fromEntries(
    TIMES.flatMap(([name, field]) => {
      const text = headers.get(COMPACTION + name);
      return text === null ? [] : [[field, Number(text) * 1000]];
    }),
  );
}
