/**
 * A seek by time, in a fork as well: records below its offset are in its source. The source passes over what is older,
 * so usually one batch crosses.
 */
import { firstIn } from "../../src/log/time-seek.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import type { Stream } from "./stream.ts";

/** The first record whose timestamp is at least `timestamp`; the stream's end without one. */
export async function seekTime(stream: Stream, timestamp: number): Promise<number> {
  const below = stream.config.fork?.offset ?? 0;
  for (let at = stream.start; at < below;) {
    const { bytes, nextOffset } = await stream.readBatches(at, below, 1, timestamp);
    for (const each of splitBatches(bytes)) {
      const found = firstIn(await decodeBatch(stream.kernel, each), at, timestamp);
      if (found !== undefined && found < below) return found;
    }
    at = nextOffset;
  }
  return stream.log.resolve({ timestamp });
}
