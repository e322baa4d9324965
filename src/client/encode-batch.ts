/**
 * Writes one record batch (src/record/format.ts draws its header) without a kernel.
 *
 *   record    ┌ length ┬ attributes ┬ timestamp delta ┬ offset delta ┬ key ┬ value ┬ header count ┬ headers … ┐
 *             │ varint │ 0          │ varint          │ varint       │ a field each: varint length, or -1; bytes │
 *             └────────┴────────────┴─────────────────┴──────────────┴──────────────────────────────────────────┘
 */
import { textEncoder, viewOf } from "../record/bytes.ts";
import {
  BASE_SEQUENCE_AT,
  BASE_TIMESTAMP_AT,
  BATCH_HEADER_BYTES,
  CRC_AT,
  CRC_FROM,
  LAST_OFFSET_DELTA_AT,
  LEADER_EPOCH_AT,
  LENGTH_AT,
  LENGTH_OVERHEAD,
  MAGIC,
  MAGIC_AT,
  MAX_TIMESTAMP_AT,
  PRODUCER_EPOCH_AT,
  PRODUCER_ID_AT,
  RECORD_COUNT_AT,
} from "../record/format.ts";
import type { RecordOwner } from "../record/record-id.ts";
import type { ProducerRecord } from "../delivery/producer.ts";
import { crc32c } from "./crc32c.ts";

/** More than the varints of one record and the attributes take: 5 + 1 + 10 + 5 + 5 + 5 + 5 bytes. */
const RECORD_OVERHEAD = 36;
/** The same for a header: the lengths of its name and its value. */
const HEADER_OVERHEAD = 10;

/** Bytes that a record takes in a batch, at most. A character of a header's name has at most three bytes. */
export function sizeOf({ key, value, headers = [] }: ProducerRecord): number {
  let bytes = RECORD_OVERHEAD + (key?.length ?? 0) + (value?.length ?? 0);
  for (const [name, text] of headers) bytes += HEADER_OVERHEAD + 3 * name.length + (text?.length ?? 0);
  return bytes;
}

class Writer {
  readonly bytes: Uint8Array<ArrayBuffer>;
  at = 0;

  constructor(size: number) {
    this.bytes = new Uint8Array(size);
  }

  /** A zigzag varint of a whole number. Numbers up to 2^52 keep every bit in a double's arithmetic. */
  number(value: number): void {
    let rest = value < 0 ? -2 * value - 1 : 2 * value;
    for (; rest > 0x7f; rest = Math.floor(rest / 128)) this.bytes[this.at++] = (rest % 128) | 0x80;
    this.bytes[this.at++] = rest;
  }

  raw(bytes: Uint8Array): void {
    this.bytes.set(bytes, this.at);
    this.at += bytes.length;
  }

  field(bytes: Uint8Array | null): void {
    this.number(bytes ? bytes.length : -1);
    if (bytes) this.raw(bytes);
  }
}

/** At least one record; timestamps that differ by less than 2^51. Base offset 0, leader epoch -1. */
export function encodeBatch(records: readonly ProducerRecord[], owner: RecordOwner): Uint8Array<ArrayBuffer> {
  const sizes = records.map(sizeOf);
  const batch = new Writer(sizes.reduce((sum, size) => sum + size, BATCH_HEADER_BYTES));
  batch.at = BATCH_HEADER_BYTES;
  const scratch = new Writer(Math.max(...sizes));
  const base = records[0]!.timestamp;
  let max = base;
  for (const [i, { key, value, headers = [], timestamp }] of records.entries()) {
    max = Math.max(max, timestamp);
    scratch.at = 1;
    scratch.number(timestamp - base);
    scratch.number(i);
    scratch.field(key);
    scratch.field(value);
    scratch.number(headers.length);
    for (const [name, text] of headers) {
      scratch.field(textEncoder.encode(name));
      scratch.field(text);
    }
    batch.number(scratch.at);
    batch.raw(scratch.bytes.subarray(0, scratch.at));
  }
  const bytes = batch.bytes.subarray(0, batch.at);
  const view = viewOf(bytes);
  view.setInt32(LENGTH_AT, bytes.length - LENGTH_OVERHEAD);
  view.setInt32(LEADER_EPOCH_AT, -1);
  view.setInt8(MAGIC_AT, MAGIC);
  view.setInt32(LAST_OFFSET_DELTA_AT, records.length - 1);
  view.setBigInt64(BASE_TIMESTAMP_AT, BigInt(base));
  view.setBigInt64(MAX_TIMESTAMP_AT, BigInt(max));
  view.setBigInt64(PRODUCER_ID_AT, BigInt(owner.producerId));
  view.setInt16(PRODUCER_EPOCH_AT, owner.producerEpoch);
  view.setInt32(BASE_SEQUENCE_AT, owner.baseSequence);
  view.setInt32(RECORD_COUNT_AT, records.length);
  view.setUint32(CRC_AT, crc32c(bytes.subarray(CRC_FROM)));
  return bytes;
}
