/** Finds a record by its id, and says what became of it. */
import { ATTRIBUTE_CONTROL, type BatchHeader, nextOffsetOf } from "../../record/format.ts";
import type { SegmentedLog } from "../../store/segmented-log.ts";
import { refused } from "../../topic/check.ts";
import type { LogApi } from "../../log/types.ts";
import type { RecordStatus } from "../api.ts";

const SEQUENCES = 2 ** 31;

/** What an id says, taken apart (src/record/record-id.ts). */
export type NamedRecord =
  | { readonly offset: number }
  | { readonly producerId: number; readonly producerEpoch: number; readonly sequence: number };

/** Place of the record among the offsets of the batch with this header; undefined if it is none of them. */
export function placeIn(header: BatchHeader, record: NamedRecord): number | undefined {
  const { producerId, producerEpoch, baseSequence, baseOffset, lastOffsetDelta } = header;
  const isNamed = producerId >= 0;
  if (isNamed === "offset" in record) return undefined;
  if (!("offset" in record) && (record.producerId !== producerId || record.producerEpoch !== producerEpoch))
    return undefined;
  const place =
    "offset" in record ? record.offset - baseOffset : (record.sequence - baseSequence + SEQUENCES) % SEQUENCES;
  return place >= 0 && place <= lastOffsetDelta ? place : undefined;
}

const NAMED = /^([0-9a-z]{1,11})-([0-9a-z]{1,4})-([0-9a-z]{1,6})$/;

/** INVALID_ARGUMENT if it is no record's id. */
export function parsedId(id: unknown): NamedRecord {
  if (typeof id === "string") {
    if (/^\d{1,16}$/.test(id)) return { offset: Number(id) };
    const [producerId, producerEpoch, sequence] = (NAMED.exec(id) ?? []).slice(1).map((part) => parseInt(part, 36));
    if (sequence !== undefined) return { producerId: producerId!, producerEpoch: producerEpoch!, sequence };
  }
  throw refused("id", id, "the id of a record");
}

/** `store`: where committed records are stored; undefined while there are none. */
export async function statusOf(
  record: NamedRecord,
  log: Pick<LogApi, "ownRecord" | "highWatermark">,
  store: SegmentedLog | undefined,
): Promise<RecordStatus> {
  const own = await log.ownRecord?.((header) => placeIn(header, record));
  if (own) return own;
  const offset = store && (await offsetOf(store, record, log.highWatermark));
  return offset === undefined ? { state: "unknown" } : { state: "committed", offset };
}

/** The offset of the record. Undefined where no batch below `end` holds it. One that compaction took is found, too. */
async function offsetOf(log: SegmentedLog, record: NamedRecord, end: number): Promise<number | undefined> {
  const { logStartOffset } = log;
  if (logStartOffset >= end) return undefined;
  const from = Math.max(logStartOffset, "offset" in record ? record.offset : 0);
  // The batch that holds this offset may begin before it.
  for await (const header of log.headers(log.segmentFor(from)?.baseOffset ?? from)) {
    if (header.baseOffset >= end) return undefined;
    if (nextOffsetOf(header) <= logStartOffset || (header.attributes & ATTRIBUTE_CONTROL) !== 0) continue;
    const place = placeIn(header, record);
    if (place !== undefined) return header.baseOffset + place < logStartOffset ? undefined : header.baseOffset + place;
    if ("offset" in record && header.baseOffset > record.offset) return undefined;
  }
  return undefined;
}
