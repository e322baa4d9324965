/** Takes Kafka's .log files into a topic that is empty or new, where its log is. Loaded with the other tools. */
import { TidemarkError } from "../../errors.ts";
import { ProducerState } from "../../log/producer-state.ts";
import { DEFAULT_SETTINGS } from "../../log/limits.ts";
import type { LogApi } from "../../log/types.ts";
import { importSegments, type ImportResult, type SegmentSource } from "../../store/import-segments.ts";
import { takeSnapshot } from "../../store/take-snapshot.ts";
import { checkOptions, isObject, oneOf, refused } from "../../topic/check.ts";
import { logName } from "../../topic/log-names.ts";
import type { ImportedFile, SegmentImport } from "../api.ts";
import type { OpenLogs, Topics } from "./topics.ts";

/** What is taken, and the topic's log as it is read now. */
export interface Taking {
  readonly files: Iterable<ImportedFile>;
  readonly options?: SegmentImport | undefined;
  readonly into: Pick<LogApi, "ownRecord">;
}

const OPTIONS = { damage: oneOf("refuse", "skip") };
const SNAPSHOT_BYTES_MAX = 1024;

function sourceOf(file: unknown, at: number): SegmentSource {
  const { name = `files[${at}]`, log = file } = (isObject(file) ? file : {}) as { name?: unknown; log?: unknown };
  const label = String(name);
  if (log instanceof Uint8Array)
    return { name: label, bytes: log.length, read: async (from, length) => log.subarray(from, from + length) };
  if (log instanceof Blob)
    return {
      name: label,
      bytes: log.size,
      read: async (from, length) => new Uint8Array(await log.slice(from, from + length).arrayBuffer()),
    };
  throw refused(`files[${at}]`, file, "a File, a Blob, bytes, or what exportSegment() gives");
}

/** The state of no producer: who wrote below is not known, so a batch that is sent again is not taken for a new one. */
function snapshotAt({ store }: OpenLogs, nextOffset: number): Uint8Array {
  const producers = new ProducerState(DEFAULT_SETTINGS.producersMax);
  producers.forget(nextOffset - 1);
  return takeSnapshot(producers, store.kernel, SNAPSHOT_BYTES_MAX);
}

export async function takeSegments(
  topics: Pick<Topics, "writable">,
  topic: string,
  born: number | undefined,
  { files, options = {}, into }: Taking,
): Promise<ImportResult> {
  checkOptions("importSegments()", options, OPTIONS);
  if (!isObject(files) || typeof files[Symbol.iterator] !== "function" || files instanceof Uint8Array)
    throw refused("files", files, "an array of files");
  const sources = [...files].map(sourceOf);
  if (into.ownRecord)
    throw new TidemarkError("INVALID_ARGUMENT", `the topic ${topic} is synced: its records come from the edge`, {
      topic,
      reason: "synced",
    });
  const { log, open } = await topics.writable(topic, born);
  const stored = (await open.store.find(logName(topic)))!;
  const again = new TidemarkError("CLOSED", "segments were imported: look at the topic again", { reason: "imported" });
  return importSegments(
    open.store,
    stored,
    sources,
    options,
    async (work) => {
      await log.delete(work, again);
      // The next call opens the log as it is now.
      open.logs.delete(topic);
    },
    (nextOffset) => snapshotAt(open, nextOffset),
  );
}
