/**
 * What a stream remembers of its writers, rebuilt when it is opened: producers and sequence, from the records behind
 * the snapshot.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import type { Log } from "../../src/log/log.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import type { ChunkLog } from "../store/chunk-log.ts";
import type { StreamState } from "./writer-state.ts";

const REPLAY_BYTES = 1024 * 1024;

/** Damage is skipped: its producers are unknown anyway. */
export async function replay(
  kernel: Kernel,
  { log, store }: { readonly log: Log; readonly store: ChunkLog },
  state: StreamState,
  from: number,
): Promise<void> {
  for (let offset = from; offset < log.highWatermark;) {
    try {
      const { bytes, nextOffset } =
        offset < log.logStartOffset ? store.readKept(offset, REPLAY_BYTES) : await log.fetch(offset);
      if (bytes.length === 0) return;
      for (const batch of splitBatches(bytes)) state.replay(await decodeBatch(kernel, batch, { checkCrc: false }));
      offset = nextOffset;
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError) || thrown.code !== "CORRUPT_RANGE") throw thrown;
      offset = Math.max(offset + 1, Number(thrown.details["to"]));
    }
  }
}
