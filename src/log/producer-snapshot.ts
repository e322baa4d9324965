/** Reads the snapshot that producer-state.ts draws and writes. A new log has none. */
import type { Kernel } from "../kernel/types.ts";
import { viewOf } from "../record/bytes.ts";
import {
  SNAPSHOT_BATCH_BYTES,
  SNAPSHOT_HEAD_BYTES,
  SNAPSHOT_PRODUCER_BYTES,
  type ProducerBatch,
  type ProducerEntry,
  type ProducerState,
  SNAPSHOT_MAGIC,
} from "./producer-state.ts";

/** The earlier snapshot format. Its entries held the time of last use, and it did not record forgotten producers. */
const MAGIC_1 = 0x50524431; // "PRD1"
const HEAD_1_BYTES = 8;
const PRODUCER_1_BYTES = 20;

/**
 * Takes over a snapshot's entries; `offset` is the log's end when it was made. False, with nothing taken, if it is
 * damaged.
 */
export function loadSnapshot(state: ProducerState, kernel: Kernel, bytes: Uint8Array, offset: number): boolean {
  const end = bytes.length - 4;
  const view = viewOf(bytes);
  if (end < HEAD_1_BYTES || view.getUint32(end) !== kernel.crc32c(bytes.subarray(0, end))) return false;
  const isFirst = view.getUint32(0) === MAGIC_1;
  const [headBytes, producerBytes] = isFirst
    ? [HEAD_1_BYTES, PRODUCER_1_BYTES]
    : [SNAPSHOT_HEAD_BYTES, SNAPSHOT_PRODUCER_BYTES];
  if (end < headBytes || (!isFirst && view.getUint32(0) !== SNAPSHOT_MAGIC)) return false;
  const forgotten = isFirst ? offset - 1 : Number(view.getBigInt64(8));
  if (!Number.isSafeInteger(forgotten)) return false;
  const found: [number, ProducerEntry][] = [];
  let at = headBytes;
  // A count that does not fit the bytes means damage.
  for (let left = view.getUint32(4); left > 0; left--) {
    const count = at + producerBytes <= end ? view.getUint16(at + producerBytes - 2) : 0;
    if (count === 0 || at + producerBytes + count * SNAPSHOT_BATCH_BYTES > end) return false;
    const id = Number(view.getBigInt64(at));
    const epoch = view.getInt16(at + 8);
    at += producerBytes;
    const batches: ProducerBatch[] = [];
    for (let i = 0; i < count; i++, at += SNAPSHOT_BATCH_BYTES) {
      batches.push({
        baseSequence: view.getInt32(at),
        lastSequence: view.getInt32(at + 4),
        baseOffset: Number(view.getBigInt64(at + 8)),
        crc: view.getUint32(at + 16),
      });
    }
    found.push([id, { epoch, batches }]);
  }
  state.forget(forgotten);
  for (const [id, entry] of found) state.put(id, entry);
  return true;
}
