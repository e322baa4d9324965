/** Retention and compaction as headers: what a PUT asks for, and how HEAD describes a stream. */
import type { CompactionSettings, RetentionSettings } from "../../src/log/types.ts";
import { badRequest } from "../errors.ts";
import { type HeadersOf, parseInteger, parseSeconds } from "./durable-streams.ts";
import { quoted } from "./fields.ts";

const BYTES = "Tidemark-Retention-Bytes";
const RECORDS = "Tidemark-Retention-Records";
const SECONDS = "Tidemark-Retention-Seconds";

/** What a PUT asks for. Undefined: all records stay. */
export function retentionOf(headers: HeadersOf): RetentionSettings | undefined {
  const of = (name: string, parse: (text: string, name: string) => number): number | undefined => {
    const text = headers.get(name);
    return text === null ? undefined : parse(text, name);
  };
  // 0 would keep nothing. Without a limit the header is left out.
  const count = (text: string, name: string): number => parseInteger(text, name, { min: 1 });
  const [maxBytes, maxRecords, maxAgeMs] = [
    of(BYTES, count),
    of(RECORDS, count),
    of(SECONDS, (text, name) => parseSeconds(text, name, 1)),
  ];
  if (maxBytes === undefined && maxRecords === undefined && maxAgeMs === undefined) return undefined;
  return {
    ...(maxBytes !== undefined && { maxBytes }),
    ...(maxRecords !== undefined && { maxRecords }),
    ...(maxAgeMs !== undefined && { maxAgeMs }),
  };
}

export function describeRetention({ maxBytes, maxRecords, maxAgeMs }: RetentionSettings = {}): Record<string, string> {
  return {
    ...(maxBytes !== undefined && { [BYTES]: String(Math.ceil(maxBytes)) }),
    ...(maxRecords !== undefined && { [RECORDS]: String(Math.ceil(maxRecords)) }),
    // The header has whole seconds; it is rounded up, so it never shows less than was asked for.
    ...(maxAgeMs !== undefined && { [SECONDS]: String(Math.ceil(maxAgeMs / 1000)) }),
  };
}

const BY_KEY = "Tidemark-Compaction";
const LAG = "Tidemark-Compaction-Lag-Seconds";
const TOMBSTONES = "Tidemark-Compaction-Tombstone-Seconds";

/** All of them. */
export const POLICIES = [BYTES, RECORDS, SECONDS, BY_KEY, LAG, TOMBSTONES];

/** What a PUT asks for. Undefined: nothing is compacted. */
export function compactionOf(headers: HeadersOf): CompactionSettings | undefined {
  const kind = headers.get(BY_KEY);
  const ms = (name: string): number | undefined => {
    const text = headers.get(name);
    if (text !== null && kind === null) throw badRequest(`${name} needs ${BY_KEY}`);
    return text === null ? undefined : parseSeconds(text, name);
  };
  const [minLagMs, tombstoneRetentionMs] = [ms(LAG), ms(TOMBSTONES)];
  if (kind === null) return undefined;
  if (kind !== "key") throw badRequest(`${BY_KEY} is ${quoted(kind)}; it must be key`);
  return {
    ...(minLagMs !== undefined && { minLagMs }),
    ...(tombstoneRetentionMs !== undefined && { tombstoneRetentionMs }),
  };
}

export function describeCompaction(compaction: CompactionSettings | undefined): Record<string, string> {
  if (!compaction) return {};
  const { minLagMs, tombstoneRetentionMs } = compaction;
  return {
    [BY_KEY]: "key",
    // The headers have whole seconds; they are rounded up, so they never show less than was asked for.
    ...(minLagMs !== undefined && { [LAG]: String(Math.ceil(minLagMs / 1000)) }),
    ...(tombstoneRetentionMs !== undefined && { [TOMBSTONES]: String(Math.ceil(tombstoneRetentionMs / 1000)) }),
  };
}
