/** Tools that look into a log: how a seek proceeds, and a segment as Kafka's own files. */
import type { LogApi } from "../../log/types.ts";
import { offsetEntryAt } from "../../store/index-entries.ts";
import { timeEntryAt } from "../../store/index-tools.ts";
import { type KafkaFiles, kafkaFiles } from "../../store/kafka-files.ts";
import { segmentBody, explain } from "../../store/inspect.ts";
import type { SegmentedLog } from "../../store/segmented-log.ts";
import { checkTarget } from "./check-calls.ts";
import type { SeekExplanation } from "../api.ts";

/** Undefined if the target is behind the end. */
export async function explainSeek(
  store: SegmentedLog,
  target: unknown,
  log: LogApi,
): Promise<SeekExplanation | undefined> {
  const { offset: asked, timestamp = 0 } = checkTarget("target", target);
  const byOffset = asked !== undefined;
  const offset = await log.resolve(byOffset ? asked : { timestamp });
  const index = byOffset ? "offset" : "time";
  const found = await explain(store, offset, index, byOffset ? 0 : timestamp);
  if (!found) return undefined;
  const { segment, entries, probed, scanFrom, batchPosition, batch } = found;
  const steps = probed.map((entry) => {
    if (byOffset) {
      const { relativeOffset, position } = offsetEntryAt(entries, entry);
      return { entry, key: segment.baseOffset + relativeOffset, position };
    }
    const { timestamp: key, relativeOffset } = timeEntryAt(entries, entry);
    return { entry, key, position: segment.baseOffset + relativeOffset };
  });
  return { offset, segment, index, steps, scanFrom, scannedBytes: batchPosition - scanFrom, batchPosition, batch };
}

/** CORRUPT_RANGE where the segment is damaged. */
export async function exportSegment(
  log: SegmentedLog,
  { baseOffset, leaderEpoch }: { readonly baseOffset: number; readonly leaderEpoch?: number },
): Promise<KafkaFiles> {
  return kafkaFiles(log.store.kernel, await segmentBody(log, baseOffset), { baseOffset, leaderEpoch });
}
