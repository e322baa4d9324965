/**
 * One batch for each way of being wrong, and the status that the kernel must answer. Every CRC is right unless the case
 * is about it, so that the later checks are reached. Release build, debug build and reference kernel must agree on all
 * of them.
 */
import { KERNEL_BATCH_BYTES_MAX, KERNEL_BATCH_RECORDS_MAX, Status } from "../../src/kernel/types.ts";
import { concat, craft, framed, recordBytes, utf8, varint, type SampleBatch } from "./kernel-samples.ts";

export interface Refusal {
  readonly name: string;
  readonly bytes: () => Uint8Array;
  readonly status: Status;
}

const SAFE = Number.MAX_SAFE_INTEGER;
const OVER = 2n ** 53n;
const batch = (name: string, status: Status, sample: SampleBatch): Refusal => ({
  name,
  status,
  bytes: () => craft(sample),
});
const bytes = (name: string, status: Status, make: () => Uint8Array): Refusal => ({ name, status, bytes: make });
/** One record whose body is given byte by byte. */
const body = (name: string, status: Status, ...parts: readonly (number | readonly number[])[]): Refusal =>
  batch(name, status, { count: 1, maxTimestamp: 1000, section: framed(parts.flat()) });

const HEAD = [0, 0, 0];
const NULL = 1;

export const framing: readonly Refusal[] = [
  bytes("no bytes", Status.NEED_MORE, () => new Uint8Array(0)),
  bytes("60 bytes", Status.NEED_MORE, () => craft().subarray(0, 60)),
  bytes("60 zeros", Status.NEED_MORE, () => new Uint8Array(60)),
  bytes("zeros", Status.BAD_MAGIC, () => new Uint8Array(100)),
  bytes("one byte short", Status.NEED_MORE, () => craft().subarray(0, -1)),
  bytes("one byte too many", Status.BAD_LENGTH, () => concat(craft(), [0])),
  bytes("a second batch behind", Status.BAD_LENGTH, () => concat(craft(), craft())),
  batch("magic 1", Status.BAD_MAGIC, { magic: 1 }),
  batch("magic -2", Status.BAD_MAGIC, { magic: -2 }),
  batch("length 48", Status.BAD_LENGTH, { length: 48 }),
  batch("length 0", Status.BAD_LENGTH, { length: 0 }),
  batch("negative length", Status.BAD_LENGTH, { length: -1 }),
  batch("largest length", Status.BAD_LENGTH, { length: 2 ** 31 - 1 }),
  batch("length at the limit, bytes missing", Status.NEED_MORE, { length: KERNEL_BATCH_BYTES_MAX - 12 }),
  batch("length above the limit", Status.BAD_LENGTH, { length: KERNEL_BATCH_BYTES_MAX - 11 }),
  bytes("more bytes than a batch may have", Status.BAD_LENGTH, () => new Uint8Array(KERNEL_BATCH_BYTES_MAX + 1)),
  batch("negative base offset", Status.BAD_OFFSET, { baseOffset: -1 }),
  batch("base offset no safe integer", Status.BAD_OFFSET, { baseOffset: OVER }),
  batch("offset behind the batch no safe integer", Status.BAD_OFFSET, { baseOffset: SAFE - 1 }),
  batch("leader epoch -2", Status.BAD_EPOCH, { leaderEpoch: -2 }),
  batch("wrong CRC", Status.BAD_CRC, { crc: 1 }),
  bytes("a flipped bit", Status.BAD_CRC, () => {
    const flipped = craft();
    flipped[61 + 7]! ^= 4; // the first byte of a value
    return flipped;
  }),
];

export const fields: readonly Refusal[] = [
  batch("attribute bit 7", Status.BAD_ATTRIBUTES, { attributes: 0x80 }),
  batch("negative attributes", Status.BAD_ATTRIBUTES, { attributes: -1 }),
  batch("codec 5", Status.BAD_ATTRIBUTES, { attributes: 5 }),
  batch("codec 7", Status.BAD_ATTRIBUTES, { attributes: 7 }),
  batch("negative last offset delta", Status.BAD_COUNT, { lastOffsetDelta: -1 }),
  batch("negative count", Status.BAD_COUNT, { count: -1, lastOffsetDelta: 1 }),
  batch("more records than offsets", Status.BAD_COUNT, { count: 2, lastOffsetDelta: 0 }),
  batch("count above the limit", Status.BAD_COUNT, {
    count: KERNEL_BATCH_RECORDS_MAX + 1,
    lastOffsetDelta: 2 ** 31 - 1,
  }),
  batch("count at the limit, records missing", Status.BAD_RECORD, { count: KERNEL_BATCH_RECORDS_MAX }),
  batch("base timestamp no safe integer", Status.BAD_TIMESTAMP, { baseTimestamp: OVER }),
  batch("smallest base timestamp", Status.BAD_TIMESTAMP, { baseTimestamp: -(2n ** 63n) }),
  batch("max timestamp no safe integer", Status.BAD_TIMESTAMP, { maxTimestamp: -OVER }),
  batch("max timestamp below the records'", Status.BAD_TIMESTAMP, { maxTimestamp: 1000 }),
  batch("max timestamp above the records'", Status.BAD_TIMESTAMP, { maxTimestamp: 1002 }),
  batch("producer id -2", Status.BAD_PRODUCER, { producerId: -2 }),
  batch("producer id no safe integer", Status.BAD_PRODUCER, { producerId: OVER }),
  batch("producer epoch -2", Status.BAD_PRODUCER, { producerEpoch: -2 }),
  batch("base sequence -2", Status.BAD_PRODUCER, { baseSequence: -2 }),
];

export const records: readonly Refusal[] = [
  batch("no record where one is due", Status.BAD_RECORD, { count: 1, section: [] }),
  batch("a record too many", Status.BAD_LENGTH, { count: 1, maxTimestamp: 1000 }),
  batch("a byte behind the records", Status.BAD_LENGTH, {
    count: 1,
    maxTimestamp: 1000,
    section: [...recordBytes(), 0],
  }),
  batch("bytes in an empty batch", Status.BAD_LENGTH, { count: 0, lastOffsetDelta: 0, section: [0] }),
  batch("record length beyond the batch", Status.BAD_RECORD, { count: 1, section: varint(1) }),
  batch("record length 2^31-1", Status.BAD_RECORD, { count: 1, section: [...varint(2 ** 31 - 1), ...recordBytes()] }),
  batch("negative record length", Status.BAD_RECORD, { count: 1, section: [...varint(-1), ...recordBytes()] }),
  batch("record length 0", Status.BAD_RECORD, { count: 1, section: varint(0) }),
  batch("record length without an end", Status.BAD_RECORD, { count: 1, section: [0x80] }),
  batch("record length of 6 bytes", Status.BAD_RECORD, { count: 1, section: [0x80, 0x80, 0x80, 0x80, 0x80, 0] }),
  batch("record length beyond 32 bits", Status.BAD_RECORD, { count: 1, section: [0xff, 0xff, 0xff, 0xff, 0x1f] }),
  // Cut to 32 bits it would be the right length.
  batch("record length with a 33rd bit", Status.BAD_RECORD, {
    count: 1,
    maxTimestamp: 1000,
    section: [recordBytes()[0]! | 0x80, 0x80, 0x80, 0x80, 0x10, ...recordBytes().slice(1)],
  }),
  batch("record length in a longer form", Status.BAD_RECORD, {
    count: 1,
    maxTimestamp: 1000,
    section: [recordBytes()[0]! | 0x80, 0, ...recordBytes().slice(1)],
  }),
  body("timestamp delta without an end", Status.BAD_RECORD, 0, 0x80),
  body("timestamp delta of 11 bytes", Status.BAD_RECORD, 0, Array<number>(10).fill(0x80), 0, 0, NULL, NULL, 0),
  body("timestamp delta beyond 64 bits", Status.BAD_RECORD, 0, Array<number>(9).fill(0xff), 2, 0, NULL, NULL, 0),
  body("timestamp delta with a 65th bit", Status.BAD_RECORD, 0, Array<number>(9).fill(0x80), 2, 0, NULL, NULL, 0),
  body("timestamp delta in a longer form", Status.BAD_RECORD, 0, 0x80, 0, 0, NULL, NULL, 0),
  body("largest timestamp delta", Status.BAD_TIMESTAMP, 0, varint(2n ** 63n - 1n), 0, NULL, NULL, 0),
  body("smallest timestamp delta", Status.BAD_TIMESTAMP, 0, varint(-(2n ** 63n)), 0, NULL, NULL, 0),
  body("timestamp past the safe integers", Status.BAD_TIMESTAMP, 0, varint(SAFE - 999), 0, NULL, NULL, 0),
  body("offset delta missing", Status.BAD_RECORD, 0, 0),
  body("negative offset delta", Status.BAD_RECORD, 0, 0, varint(-1), NULL, NULL, 0),
  body("offset delta beyond the last one", Status.BAD_RECORD, 0, 0, varint(1), NULL, NULL, 0),
  batch("offset deltas that do not rise", Status.BAD_RECORD, {
    lastOffsetDelta: 9,
    records: [{ offsetDelta: 3 }, { offsetDelta: 3 }],
  }),
  batch("offset deltas that fall", Status.BAD_RECORD, {
    lastOffsetDelta: 9,
    records: [{ offsetDelta: 3 }, { offsetDelta: 2 }],
  }),
  body("key length missing", Status.BAD_RECORD, HEAD),
  body("key length -2", Status.BAD_RECORD, HEAD, varint(-2), NULL, 0),
  body("key length beyond the record", Status.BAD_RECORD, HEAD, varint(3), NULL, 0),
  body("key length 2^31-1", Status.BAD_RECORD, HEAD, varint(2 ** 31 - 1), NULL, 0),
  body("key length -2^31", Status.BAD_RECORD, HEAD, varint(-(2 ** 31)), NULL, 0),
  // Two bytes before is the offset delta, 5. Read as the value's length, it would end the record at the right byte.
  batch("key length -2 that leads back", Status.BAD_RECORD, {
    count: 1,
    lastOffsetDelta: 5,
    maxTimestamp: 1000,
    section: framed([0, 0, ...varint(5), ...varint(-2), 0, 0, 0, 0, 0]),
  }),
  body("value length missing", Status.BAD_RECORD, HEAD, NULL),
  body("value length -2", Status.BAD_RECORD, HEAD, NULL, varint(-2), 0),
  body("value length beyond the record", Status.BAD_RECORD, HEAD, NULL, varint(2), 0),
  body("header count missing", Status.BAD_RECORD, HEAD, NULL, NULL),
  body("header count -1", Status.BAD_RECORD, HEAD, NULL, NULL, varint(-1)),
  body("header count beyond the bytes left", Status.BAD_RECORD, HEAD, NULL, NULL, varint(2 ** 30)),
  body("header key null", Status.BAD_RECORD, HEAD, NULL, NULL, varint(1), NULL, NULL),
  body("header key beyond the record", Status.BAD_RECORD, HEAD, NULL, NULL, varint(1), varint(5), NULL),
  body("header value missing", Status.BAD_RECORD, HEAD, NULL, NULL, varint(1), 0),
  body("header value -2", Status.BAD_RECORD, HEAD, NULL, NULL, varint(1), 0, varint(-2)),
  body("header value beyond the record", Status.BAD_RECORD, HEAD, NULL, NULL, varint(1), 0, varint(1)),
  body("bytes behind the headers", Status.BAD_RECORD, HEAD, NULL, NULL, 0, 0),
  batch("a field that reaches into the next record", Status.BAD_RECORD, {
    section: [...framed([0, 0, 0, ...varint(8), NULL, 0]), ...recordBytes({ value: utf8("next one") }, 1)],
  }),
];

/** Batches that are only just allowed and must be taken. */
export const accepted: readonly { readonly name: string; readonly bytes: () => Uint8Array }[] = [
  { name: "two plain records", bytes: () => craft() },
  {
    name: "no records, as compaction leaves it",
    bytes: () => craft({ records: [], lastOffsetDelta: 6, maxTimestamp: -1 }),
  },
  {
    name: "fewer records than offsets",
    bytes: () => craft({ lastOffsetDelta: 2 ** 31 - 1, records: [{ offsetDelta: 5 }, { offsetDelta: 900 }] }),
  },
  { name: "the last safe offset", bytes: () => craft({ baseOffset: SAFE - 2 }) },
  { name: "any record attributes", bytes: () => craft({ records: [{ attributes: 0xff }, {}] }) },
  { name: "smallest safe timestamps", bytes: () => craft({ baseTimestamp: -SAFE, maxTimestamp: -SAFE + 1 }) },
  {
    name: "from the smallest to the largest timestamp",
    bytes: () =>
      craft({ baseTimestamp: -SAFE, maxTimestamp: SAFE, records: [{}, { timestampDelta: 2n * BigInt(SAFE) }] }),
  },
  { name: "timestamps that fall", bytes: () => craft({ maxTimestamp: 1000, records: [{}, { timestampDelta: -5 }] }) },
  { name: "log append time, whatever the deltas say", bytes: () => craft({ attributes: 8, maxTimestamp: 5 }) },
  { name: "every known attribute", bytes: () => craft({ attributes: 0x70 }) },
  {
    name: "what kafkajs writes without a producer id: epoch 0, sequence 0",
    bytes: () => craft({ producerEpoch: 0, baseSequence: 0, leaderEpoch: 0 }),
  },
  {
    name: "what a coordinator writes: an id, sequence -1",
    bytes: () => craft({ attributes: 0x30, producerId: 5, producerEpoch: 0 }),
  },
  {
    name: "largest producer",
    bytes: () => craft({ producerId: SAFE, producerEpoch: 32767, baseSequence: 2 ** 31 - 1 }),
  },
  { name: "compressed records are opaque", bytes: () => craft({ attributes: 1, section: [1, 2, 3], maxTimestamp: 7 }) },
];
