/**
 * What Kafka's transactions leave in a log. Here they are only read: nothing of the library writes them.
 *
 *   │ records of producer 7 │ others' │ records of producer 7 │ control batch of producer 7: "commit" or "abort" │
 */
import { viewOf } from "./bytes.ts";
import { ATTRIBUTE_TRANSACTIONAL } from "./format.ts";
import type { RecordBatch } from "./record-batch.ts";

/** Names of the types of a control record. */
const MARKERS = ["abort", "commit"] as const;

/**
 * True if the batch is part of a transaction. Only a marker behind it says whether that was aborted: the next marker
 * of the same producer.
 */
export const isTransactional = ({ header }: RecordBatch): boolean =>
  (header.attributes & ATTRIBUTE_TRANSACTIONAL) !== 0;

/**
 * How a transaction ended, if this control batch says so; its producer is in the header. The key holds int16 version
 * and int16 type.
 */
export function markerOf(batch: RecordBatch): "abort" | "commit" | undefined {
  const key = batch.isControl && batch.count > 0 ? batch.keyAt(0) : null;
  return key && key.length >= 4 ? MARKERS[viewOf(key).getInt16(2)] : undefined;
}
