/**
 * The records that producers send. Each is unique: a header holds its id, from which key and value follow. So a record
 * that is read can be compared with the one that was sent, byte for byte.
 */
import { gzipSync } from "node:zlib";
import type { Kernel } from "../../src/kernel/types.ts";
import type { Acks } from "../../src/log/types.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import {
  ATTRIBUTES_AT,
  BATCH_HEADER_BYTES,
  CODEC_GZIP,
  CRC_AT,
  CRC_FROM,
  LENGTH_AT,
  LENGTH_OVERHEAD,
} from "../../src/record/format.ts";
import type { RecordBatch } from "../../src/record/record-batch.ts";
import type { Random } from "./prng.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export interface Rec {
  readonly id: string;
  readonly batch: SentBatch;
  readonly at: number;
  readonly key: string | null;
  readonly value: Uint8Array | null;
  readonly timestamp: number;
  /** When the record arrived, by the log's clock. Retention counts from this time at the earliest. */
  readonly arrivedAt: number;
  /** When a tombstone's segment was sealed. Undefined while that is not known. */
  sealedAt: number | undefined;
  /** The last time at which a tombstone's segment was certainly not sealed. */
  unsealedAt: number;
  /** True once a cleaning may have dropped the record. */
  mayDrop: boolean;
}

export interface SentBatch {
  readonly producerId: number;
  readonly epoch: number;
  readonly baseSequence: number;
  readonly records: Rec[];
  readonly bytes: Uint8Array;
  /** sent: outcome unknown · acked · refused: not in the log · abandoned: unknown, and never sent again */
  state: "sent" | "acked" | "refused" | "abandoned";
  /** Offset and level of the best ack. */
  offset: number;
  level: Acks | undefined;
  /** Appends of this batch without an answer. */
  underWay: number;
  /** The log's flushed end when the batch was first sent; undefined before that. */
  since: number | undefined;
}

export interface BatchWish {
  readonly kernel: Kernel;
  readonly random: Random;
  readonly producerId: number;
  readonly epoch: number;
  readonly baseSequence: number;
  readonly records: number;
  readonly bytes: number;
  /** Number of distinct keys; with 0 all keys are null. */
  readonly keys: number;
  readonly tombstones: boolean;
  /** All values have one size, and there are no tombstones. */
  readonly uniform: boolean;
  readonly gzip: boolean;
  readonly now: number;
  /** The records' timestamps are this many milliseconds before they are sent. */
  readonly lateMs: number;
  readonly nextId: () => string;
}

export function makeBatch(wish: BatchWish): SentBatch {
  const { kernel, random, producerId, epoch, baseSequence, now } = wish;
  const builder = new BatchBuilder(kernel);
  const records: Rec[] = [];
  const batch = {
    producerId,
    epoch,
    baseSequence,
    records,
    state: "sent",
    offset: -1,
    level: undefined,
    underWay: 0,
    since: undefined,
  } as SentBatch;
  for (let at = 0; at < wish.records; at++) {
    const id = wish.nextId();
    const key = wish.keys === 0 ? null : `key-${random.int(wish.keys)}`;
    const value =
      wish.tombstones && key !== null && !wish.uniform && random.chance(0.25)
        ? null
        : makeValue(id, wish.uniform ? 100 : random.int(wish.bytes + 1));
    const timestamp = now - wish.lateMs + random.int(2000) - 1000;
    records.push({
      id,
      batch,
      at,
      key,
      value,
      timestamp,
      arrivedAt: now,
      sealedAt: undefined,
      unsealedAt: now,
      mayDrop: false,
    });
    builder.tryAppend({
      key: key === null ? null : encoder.encode(key),
      value,
      headers: [["id", encoder.encode(id)]],
      timestamp,
    });
  }
  const plain = builder.build({ producerId, producerEpoch: epoch, baseSequence });
  return Object.assign(batch, { bytes: wish.gzip ? gzipped(kernel, plain) : plain });
}

function makeValue(id: string, filler: number): Uint8Array {
  return encoder.encode(id + ".".repeat(filler));
}

/** The same bytes as the product's codec, made synchronously: the platform's stream answers at any time. */
function gzipped(kernel: Kernel, plain: Uint8Array): Uint8Array {
  const packed = gzipSync(plain.subarray(BATCH_HEADER_BYTES));
  const bytes = new Uint8Array(BATCH_HEADER_BYTES + packed.length);
  bytes.set(plain.subarray(0, BATCH_HEADER_BYTES));
  bytes.set(packed, BATCH_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setInt32(LENGTH_AT, bytes.length - LENGTH_OVERHEAD);
  view.setInt16(ATTRIBUTES_AT, view.getInt16(ATTRIBUTES_AT) | CODEC_GZIP);
  view.setUint32(CRC_AT, kernel.crc32c(bytes.subarray(CRC_FROM)));
  return bytes;
}

/** The id in the header of a record that was read, or undefined. */
export function idAt(batch: RecordBatch, i: number): string | undefined {
  const [header] = batch.headersAt(i);
  return header?.[0] === "id" && header[1] ? decoder.decode(header[1]) : undefined;
}

/** The difference between a record that was read and the one that was sent; undefined when they are equal. */
export function difference(batch: RecordBatch, i: number, sent: Rec): string | undefined {
  const key = batch.keyAt(i);
  if ((key === null ? null : decoder.decode(key)) !== sent.key) return "key";
  if (batch.timestampAt(i) !== sent.timestamp) return "timestamp";
  const value = batch.valueAt(i);
  if (value === null || sent.value === null) return value === sent.value ? undefined : "value";
  if (value.length !== sent.value.length || value.some((byte, at) => byte !== sent.value![at])) return "value";
  return undefined;
}
