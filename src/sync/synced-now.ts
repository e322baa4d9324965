/** What ends reads of a topic that were open as it became synced: their offsets mean nothing any more. */
import { TidemarkError } from "../errors.ts";

export const becameSynced = (topic: string): TidemarkError =>
  new TidemarkError("OFFSET_OUT_OF_RANGE", `the topic ${topic} is synced now: read it again`, {
    topic,
    reason: "synced",
  });
