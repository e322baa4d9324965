/**
 * A seek by time, in a fork as well: records below its offset are in its source. The source passes over what is older,
 * so usually one batch crosses.
 */
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { EdgeError } from "../errors.ts";
import type { Stream } from "./stream.ts";

/** The first record whose timestamp is at least `timestamp`; the stream's end without one. */
export async function seekTime(stream: Stream, timestamp: number): Promise<number> {
  const below = stream.config.fork?.offset ?? 0;
  for (let at = stream.start; at < below;) {
    const found = await stream.readBatches(at, below, 1, timestamp).catch((thrown: unknown) => {
      // The source is gone, so the stream begins elsewhere now.
      if (EdgeError.from(thrown).code !== "OFFSET_OUT_OF_RANGE" || stream.start <= at) throw thrown;
      return { bytes: new Uint8Array(0), nextOffset: stream.start };
    });
    for (const bytes of splitBatches(found.bytes)) {
      const batch = await decodeBatch(stream.kernel, bytes);
      for (let i = 0; i < batch.count; i++) {
        const offset = batch.offsetAt(i);
        if (offset >= at && offset < below && batch.timestampAt(i) >= timestamp) return offset;
      }
    }
    at = found.nextOffset;
  }
  return stream.log.resolve({ timestamp });
}
