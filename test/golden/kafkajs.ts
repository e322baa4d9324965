/**
 * kafkajs, an independent reader and writer of Kafka's record batches, reached through its own protocol modules:
 * batches are written by its produce request and read by its fetch response, the very code that would talk to a broker.
 */
import { createRequire } from "node:module";
import { viewOf } from "../../src/store/bytes.ts";

const require = createRequire(import.meta.url);
const decodeMessages = require("kafkajs/src/protocol/requests/fetch/v4/decodeMessages");
const Decoder = require("kafkajs/src/protocol/decoder");
const Encoder = require("kafkajs/src/protocol/encoder");
const RecordBatchDecoder = require("kafkajs/src/protocol/recordBatch/v0/decoder");
const produceRequest = require("kafkajs/src/protocol/requests/produce/v3/request");
const Long = require("kafkajs/src/utils/long");

export interface KafkaMessage {
  readonly key?: Buffer | null;
  readonly value: Buffer | null;
  readonly headers?: Record<string, Buffer | readonly Buffer[]>;
  /** Milliseconds as a decimal string, which is what kafkajs takes. */
  readonly timestamp?: string;
}

export interface KafkaRecord {
  readonly offset: string;
  readonly timestamp: string;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  readonly headers: Record<string, Buffer | null | readonly (Buffer | null)[]>;
  readonly isControlRecord: boolean;
}

export interface KafkaBatch {
  readonly firstOffset: string;
  readonly lastOffsetDelta: number;
  readonly maxTimestamp: string;
  readonly producerId: string;
  readonly producerEpoch: number;
  readonly firstSequence: number;
  readonly partitionLeaderEpoch: number;
  readonly inTransaction: boolean;
  readonly isControlBatch: boolean;
  readonly records: readonly KafkaRecord[];
}

export interface KafkaOwner {
  readonly producerId?: number;
  readonly producerEpoch?: number;
  readonly firstSequence?: number;
  readonly transactionalId?: string;
  readonly gzip?: boolean;
}

/** The record batch inside the produce request that kafkajs would send. */
export async function kafkaWrite(messages: readonly KafkaMessage[], owner: KafkaOwner = {}): Promise<Uint8Array> {
  const { producerId = -1, producerEpoch = 0, firstSequence = 0, transactionalId = null, gzip = false } = owner;
  const partitions = [{ partition: 0, firstSequence, messages }];
  const request = produceRequest({
    acks: -1,
    timeout: 1,
    transactionalId,
    producerId: Long.fromValue(producerId),
    producerEpoch,
    compression: gzip ? 1 : 0,
    topicData: [{ topic: "t", partitions }],
  });
  const bytes = Uint8Array.from((await request.encode()).buffer as Buffer);
  const view = viewOf(bytes);
  // Transactional id, acks, timeout, one topic with its name, one partition and its number; then the size of the
  // records.
  const at = 2 + (transactionalId === null ? 0 : transactionalId.length) + 2 + 4 + 4 + 2 + 1 + 4 + 4;
  const size = view.getInt32(at);
  if (at + 4 + size !== bytes.length) throw new Error("the produce request is not laid out as this reader expects");
  return bytes.slice(at + 4);
}

/** The records that a kafkajs consumer sees in these batches. */
export async function kafkaFetch(batches: Uint8Array): Promise<KafkaRecord[]> {
  return decodeMessages(new Decoder(new Encoder().writeBytes(Buffer.from(batches)).buffer));
}

export async function kafkaRead(batch: Uint8Array): Promise<KafkaBatch> {
  return RecordBatchDecoder(new Decoder(Buffer.from(batch)));
}
