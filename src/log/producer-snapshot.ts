/** Reads the snapshot that src/store/take-snapshot.ts writes. A new log has none. */
import type { Kernel } from "../kernel/types.ts";
import { viewOf } from "../record/bytes.ts";
import {
  SNAPSHOT_BASE_OFFSET_AT,
  SNAPSHOT_BASE_SEQUENCE_AT,
  SNAPSHOT_BATCH_CRC_AT,
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
} from "../store/producer-layout.ts";
import type { ProducerBatch, ProducerEntry, ProducerState } from "./producer-state.ts";

/** The earlier snapshot format. Its entries held the time of last use, and it did not record forgotten producers. */
const MAGIC_1 = 0x50524431; // "PRD1"
const HEAD_1_BYTES = 8;
const PRODUCER_1_BYTES = 20;

/**
 * Takes over a snapshot's entries; `offset` is the log's end when it was made. False, with nothing taken, if it is
 * damaged.
 */
export function loadSnapshot(
  state: Pick<ProducerState, "forget" | "put">,
  kernel: Kernel,
  bytes: Uint8Array,
  offset: number,
): boolean {
  const end = bytes.length - 4;
  const view = viewOf(bytes);
  if (end < HEAD_1_BYTES || view.getUint32(end) !== kernel.crc32c(bytes.subarray(0, end))) return false;
  const isFirst = view.getUint32(SNAPSHOT_MAGIC_AT) === MAGIC_1;
  const [headBytes, producerBytes] = isFirst
    ? [HEAD_1_BYTES, PRODUCER_1_BYTES]
    : [SNAPSHOT_HEAD_BYTES, SNAPSHOT_PRODUCER_BYTES];
  if (end < headBytes || (!isFirst && view.getUint32(SNAPSHOT_MAGIC_AT) !== SNAPSHOT_MAGIC)) return false;
  const forgotten = isFirst ? offset - 1 : Number(view.getBigInt64(SNAPSHOT_FORGOTTEN_AT));
  if (!Number.isSafeInteger(forgotten)) return false;
  const found: [number, ProducerEntry][] = [];
  let at = headBytes;
  // A count that does not fit the bytes means damage.
  for (let left = view.getUint32(SNAPSHOT_PRODUCERS_AT); left > 0; left--) {
    const count = at + producerBytes <= end ? view.getUint16(at + producerBytes - 2) : 0;
    if (count === 0 || at + producerBytes + count * SNAPSHOT_BATCH_BYTES > end) return false;
    const id = Number(view.getBigInt64(at + SNAPSHOT_ID_AT));
    const epoch = view.getInt16(at + SNAPSHOT_EPOCH_AT);
    at += producerBytes;
    const batches: ProducerBatch[] = [];
    for (let i = 0; i < count; i++, at += SNAPSHOT_BATCH_BYTES) {
      batches.push({
        baseSequence: view.getInt32(at + SNAPSHOT_BASE_SEQUENCE_AT),
        lastSequence: view.getInt32(at + SNAPSHOT_LAST_SEQUENCE_AT),
        baseOffset: Number(view.getBigInt64(at + SNAPSHOT_BASE_OFFSET_AT)),
        crc: view.getUint32(at + SNAPSHOT_BATCH_CRC_AT),
      });
    }
    found.push([id, { epoch, batches }]);
  }
  state.forget(forgotten);
  for (const [id, entry] of found) state.put(id, entry);
  return true;
}
