/** The producers' state of a log whose records came from elsewhere. */
import type { Kernel } from "../kernel/types.ts";
import { takeSnapshot } from "../store/take-snapshot.ts";
import { DEFAULT_SETTINGS } from "./limits.ts";
import { ProducerState } from "./producer-state.ts";

const SNAPSHOT_BYTES_MAX = 1024;

/**
 * A snapshot without producers that says: records below `nextOffset` may be anybody's. So the log does not take a
 * repeat of one of their batches for a new batch.
 */
export function nobodyKnownBelow(kernel: Kernel, nextOffset: number): Uint8Array {
  const producers = new ProducerState(DEFAULT_SETTINGS.producersMax);
  producers.forget(nextOffset - 1);
  return takeSnapshot(producers, kernel, SNAPSHOT_BYTES_MAX);
}
