/** The producers' state of a log whose records came from elsewhere. */
import type { Kernel } from "../kernel/types.ts";
import { takeSnapshot } from "../store/take-snapshot.ts";
import { DEFAULT_SETTINGS } from "./limits.ts";
import { ProducerState } from "./producer-state.ts";

const SNAPSHOT_BYTES_MAX = 1024;

/**
 * The snapshot of no producer: who wrote below is not known, so a batch that is sent again is not taken for a new one.
 */
export function nobodyKnownBelow(kernel: Kernel, nextOffset: number): Uint8Array {
  const producers = new ProducerState(DEFAULT_SETTINGS.producersMax);
  producers.forget(nextOffset - 1);
  return takeSnapshot(producers, kernel, SNAPSHOT_BYTES_MAX);
}
