/** Takes Kafka's .log files into a topic that is empty or new, where its log is. Loaded with the other tools. */
import { TidemarkError } from "../../errors.ts";
import { nobodyKnownBelow } from "../../log/nobody-known.ts";
import type { LogApi } from "../../log/types.ts";
import { importSegments, type ImportResult } from "../../store/import-segments.ts";
import { importedFiles } from "../../topic/imported-files.ts";
import { logName } from "../../topic/log-names.ts";
import type { ImportedFile, SegmentImport } from "../api.ts";
import type { Topics } from "./topics.ts";

/** What is taken, and the topic's log as it is read now. */
export interface Taking {
  readonly files: Iterable<ImportedFile>;
  readonly options?: SegmentImport | undefined;
  readonly into: Pick<LogApi, "ownRecord">;
}

export async function takeSegments(
  topics: Pick<Topics, "writable">,
  topic: string,
  born: number | undefined,
  { files, options = {}, into }: Taking,
): Promise<ImportResult> {
  const sources = importedFiles(files, options);
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
    (nextOffset) => nobodyKnownBelow(open.store.kernel, nextOffset),
  );
}
