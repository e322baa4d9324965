/**
 * What an application asks for one synced topic. It is kept in the outbox's note, so that an opening that is not told
 * goes on with it. A later call of sync() changes what it names, and leaves the rest as it was.
 *
 *   sync({ topics: { orders: { keep } } })  ─▶  note { …, options: { keep, … } }  ─▶  every later opening
 */
import type { CompactionSettings, RetentionSettings } from "../log/types.ts";
import type { ReplicaStart } from "./replica-start.ts";

/** What the values of a topic are. A serializer of the application's own makes bytes. */
export type ValueKind = "json" | "text" | "bytes";

export interface KeptOptions {
  readonly from?: ReplicaStart | undefined;
  readonly create?:
    | false
    | { readonly retention?: RetentionSettings | undefined; readonly compaction?: CompactionSettings | undefined }
    | undefined;
  readonly outboxBytesMax?: number | undefined;
  readonly keep?: RetentionSettings | undefined;
  readonly onTrimmed?: "skip" | "stop" | undefined;
  readonly serializer?: ValueKind | undefined;
}

/** What belongs to the link, and so to all topics of a tide: each topic's note has it. */
export interface LinkWishes {
  /** A person has paused sync, and it goes on only when one resumes it. */
  readonly paused?: boolean | undefined;
  readonly background?: "pause" | "keep" | undefined;
}

const NAMES = ["from", "create", "outboxBytesMax", "keep", "onTrimmed", "serializer"] as const;

/** The options after these were given; the same object if nothing changes. */
export function optionsAfter(before: KeptOptions, given: KeptOptions): KeptOptions {
  const named = NAMES.filter((name) => given[name] !== undefined).map((name) => [name, given[name]]);
  // As the catalog stores them: plain, and without fields that are undefined.
  const after = JSON.parse(JSON.stringify({ ...before, ...Object.fromEntries(named) })) as KeptOptions;
  return NAMES.every((name) => JSON.stringify(after[name]) === JSON.stringify(before[name])) ? before : after;
}

const CONTENT_TYPES: Readonly<Record<ValueKind, string>> = {
  json: "application/json",
  text: "text/plain",
  bytes: "application/octet-stream",
};
const JSON_TYPE = /^\s*application\/json\s*(;|$)/i;

/** True if a log of this content type takes such values. Only a log of JSON is choosy. */
export const fitsType = (kind: ValueKind = "json", contentType: string): boolean =>
  kind === "json" || !JSON_TYPE.test(contentType);

const seconds = (ms: number): string => String(Math.ceil(ms / 1000));

/** The headers of the request that makes the log at the edge. Times are whole seconds there, and rounded up. */
export function creationHeaders({ create, serializer = "json" }: KeptOptions): Record<string, string> {
  const { retention = {}, compaction } = create || {};
  const { maxAgeMs, maxBytes, maxRecords } = retention;
  const { minLagMs, tombstoneRetentionMs } = compaction ?? {};
  return {
    "content-type": CONTENT_TYPES[serializer],
    ...(maxAgeMs !== undefined && { "tidemark-retention-seconds": seconds(maxAgeMs) }),
    ...(maxBytes !== undefined && { "tidemark-retention-bytes": String(Math.ceil(maxBytes)) }),
    ...(maxRecords !== undefined && { "tidemark-retention-records": String(Math.ceil(maxRecords)) }),
    ...(compaction && { "tidemark-compaction": "key" }),
    ...(minLagMs !== undefined && { "tidemark-compaction-lag-seconds": seconds(minLagMs) }),
    ...(tombstoneRetentionMs !== undefined && {
      "tidemark-compaction-tombstone-seconds": seconds(tombstoneRetentionMs),
    }),
  };
}
