/**
 * Writes what a log remembers of its producers (src/log/producer-state.ts) for a segment that is sealed.
 * producer-layout.ts draws it. Loaded with all else that sealing needs.
 */
import type { Kernel } from "../kernel/types.ts";
import {
  SNAPSHOT_BASE_OFFSET_AT,
  SNAPSHOT_BASE_SEQUENCE_AT,
  SNAPSHOT_BATCH_CRC_AT,
  SNAPSHOT_BATCHES_AT,
  SNAPSHOT_EPOCH_AT,
  SNAPSHOT_FORGOTTEN_AT,
  SNAPSHOT_ID_AT,
  SNAPSHOT_LAST_SEQUENCE_AT,
  SNAPSHOT_MAGIC_AT,
  SNAPSHOT_PRODUCERS_AT,
  SNAPSHOT_BATCH_BYTES,
  SNAPSHOT_HEAD_BYTES,
  SNAPSHOT_MAGIC,
  SNAPSHOT_PRODUCER_BYTES,
} from "./producer-layout.ts";

export interface SeenProducers {
  /** Highest offset at which a producer that was forgotten had written; -1 if there is none. */
  readonly forgotten: number;
  /** By producer id, the one that was silent longest first. Of each at least one batch, the newest last. */
  entries(): Iterable<readonly [number, { readonly epoch: number; readonly batches: readonly SeenBatch[] }]>;
}

interface SeenBatch {
  readonly baseSequence: number;
  readonly lastSequence: number;
  readonly baseOffset: number;
  readonly crc: number;
}

/** The whole state in at most `maxBytes`. The producers that have been silent longest are left out first. */
export function takeSnapshot(seen: SeenProducers, kernel: Kernel, maxBytes: number): Uint8Array {
  const all = [...seen.entries()];
  const kept: typeof all = [];
  let length = SNAPSHOT_HEAD_BYTES + 4;
  let { forgotten } = seen;
  let isFull = false;
  for (const [id, entry] of all.reverse()) {
    const size = SNAPSHOT_PRODUCER_BYTES + entry.batches.length * SNAPSHOT_BATCH_BYTES;
    isFull ||= length + size > maxBytes;
    if (isFull) {
      forgotten = Math.max(forgotten, entry.batches.at(-1)!.baseOffset);
      continue;
    }
    length += size;
    kept.push([id, entry]);
  }
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(SNAPSHOT_MAGIC_AT, SNAPSHOT_MAGIC);
  view.setUint32(SNAPSHOT_PRODUCERS_AT, kept.length);
  view.setBigInt64(SNAPSHOT_FORGOTTEN_AT, BigInt(forgotten));
  let at = SNAPSHOT_HEAD_BYTES;
  for (const [id, { epoch, batches }] of kept.reverse()) {
    view.setBigInt64(at + SNAPSHOT_ID_AT, BigInt(id));
    view.setInt16(at + SNAPSHOT_EPOCH_AT, epoch);
    view.setUint16(at + SNAPSHOT_BATCHES_AT, batches.length);
    at += SNAPSHOT_PRODUCER_BYTES;
    for (const batch of batches) {
      view.setInt32(at + SNAPSHOT_BASE_SEQUENCE_AT, batch.baseSequence);
      view.setInt32(at + SNAPSHOT_LAST_SEQUENCE_AT, batch.lastSequence);
      view.setBigInt64(at + SNAPSHOT_BASE_OFFSET_AT, BigInt(batch.baseOffset));
      view.setUint32(at + SNAPSHOT_BATCH_CRC_AT, batch.crc);
      at += SNAPSHOT_BATCH_BYTES;
    }
  }
  view.setUint32(at, kernel.crc32c(bytes.subarray(0, at)));
  return bytes;
}
