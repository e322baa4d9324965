/** Interoperation with kafkajs: it reads what we write, and we read what it writes. */
import { beforeAll, describe, expect, test } from "vitest";
import { Status, type Kernel } from "../../src/kernel/types.ts";
import { BatchBuilder, type BuilderRecord } from "../../src/record/batch-builder.ts";
import { compressBatch } from "../../src/record/codec.ts";
import {
  ATTRIBUTE_CONTROL,
  ATTRIBUTE_TRANSACTIONAL,
  readHeader,
  stampBaseOffset,
  stampLeaderEpoch,
} from "../../src/record/format.ts";
import { decodeBatch } from "../../src/record/record-batch.ts";
import { concat, craft, utf8 } from "../contract/kernel-samples.ts";
import { allKernels, releaseKernel } from "../support/kernels.ts";
import { kafkaFetch, kafkaRead, kafkaWrite, type KafkaMessage, type KafkaRecord } from "./kafkajs.ts";

let kernel: Kernel;
beforeAll(async () => {
  kernel = await releaseKernel();
});

const NOW = 1_700_000_000_000;
const OWNER = { producerId: 2 ** 40 + 1, producerEpoch: 3, baseSequence: 77 };

const SAMPLES: Readonly<Record<string, readonly BuilderRecord[]>> = {
  "one record": [{ key: utf8("key"), value: utf8("value"), timestamp: NOW }],
  "nulls and empties": [
    { key: null, value: utf8("v"), timestamp: NOW },
    { key: utf8("k"), value: null, timestamp: NOW },
    { key: null, value: null, timestamp: NOW },
    { key: new Uint8Array(0), value: new Uint8Array(0), timestamp: NOW },
  ],
  headers: [
    {
      key: null,
      value: utf8("v"),
      headers: [
        ["trace", utf8("abc")],
        ["ключ", utf8("ü")],
        ["empty", new Uint8Array(0)],
      ],
      timestamp: NOW,
    },
    { key: null, value: utf8("v"), headers: [["none", null]], timestamp: NOW },
  ],
  "old and future timestamps": [0, 1, NOW, 2 ** 52, 5, Number.MAX_SAFE_INTEGER, 3].map((timestamp) => ({
    key: null,
    value: utf8(`${timestamp}`),
    timestamp,
  })),
  "lengths around a varint's steps": [0, 1, 62, 63, 64, 65, 8190, 8191, 8192, 100_000].map((length) => ({
    key: new Uint8Array(length).fill(1),
    value: new Uint8Array(length).fill(2),
    timestamp: NOW + length,
  })),
  "10,000 records": Array.from({ length: 10_000 }, (_, i) => ({
    key: utf8(`k${i}`),
    value: utf8(`value ${i}`),
    timestamp: NOW + (i % 7),
  })),
};

function written(records: readonly BuilderRecord[], attributes = 0): Uint8Array {
  const builder = new BatchBuilder(kernel);
  for (const record of records) expect(builder.tryAppend(record)).toBe(true);
  const batch = builder.build({ ...OWNER, attributes });
  stampBaseOffset(batch, 5_000_000_000);
  stampLeaderEpoch(batch, 9);
  return batch;
}

const plain = (bytes: Uint8Array | null | undefined): Uint8Array | null =>
  bytes == null ? null : Uint8Array.from(bytes);
const seenByKafka = ({ key, value, timestamp, offset, headers }: KafkaRecord) => ({
  key: plain(key),
  value: plain(value),
  timestamp: Number(timestamp),
  offset: Number(offset),
  headers: Object.entries(headers).map(([name, header]) => [name, plain(header as Buffer | null)]),
});
const expected = (records: readonly BuilderRecord[]) =>
  records.map((record, i) => ({ ...record, headers: record.headers ?? [], offset: 5_000_000_000 + i }));

describe.each(Object.entries(SAMPLES))("kafkajs reads our %s", (_, records) => {
  test("uncompressed", async () => {
    const batch = await kafkaRead(written(records, ATTRIBUTE_TRANSACTIONAL));
    expect(batch).toMatchObject({
      firstOffset: "5000000000",
      lastOffsetDelta: records.length - 1,
      producerId: String(OWNER.producerId),
      producerEpoch: 3,
      firstSequence: 77,
      partitionLeaderEpoch: 9,
      inTransaction: true,
      isControlBatch: false,
      maxTimestamp: String(Math.max(...records.map(({ timestamp }) => timestamp))),
    });
    expect(batch.records.map(seenByKafka)).toEqual(expected(records));
  });

  test("gzip", async () => {
    const batch = await kafkaRead(await compressBatch(kernel, written(records)));
    expect(batch.records.map(seenByKafka)).toEqual(expected(records));
  });

  test("several batches as one fetch", async () => {
    const batch = written(records);
    const fetched = await kafkaFetch(concat(batch, await compressBatch(kernel, batch), batch.subarray(0, -1)));
    expect(fetched.map(seenByKafka)).toEqual([...expected(records), ...expected(records)]);
  });
});

test("kafkajs sees our control batch as one", async () => {
  // A commit marker: its key is version 0 and type 1.
  const batch = await kafkaRead(
    written(
      [{ key: new Uint8Array([0, 0, 0, 1]), value: new Uint8Array(6), timestamp: NOW }],
      ATTRIBUTE_CONTROL | ATTRIBUTE_TRANSACTIONAL,
    ),
  );
  expect([batch.isControlBatch, batch.records[0]?.isControlRecord]).toEqual([true, true]);
});

test("kafkajs reads log append time, and a compacted batch, as we do", async () => {
  for (const bytes of [
    craft({ attributes: 8, maxTimestamp: 77, baseOffset: 4 }),
    craft({ baseOffset: 4, lastOffsetDelta: 9, records: [{ offsetDelta: 3 }, { offsetDelta: 8 }] }),
  ]) {
    const ours = await decodeBatch(kernel, bytes);
    const theirs = (await kafkaRead(bytes)).records.map(seenByKafka);
    expect(theirs.map(({ offset, timestamp }) => [offset, timestamp])).toEqual(
      Array.from({ length: ours.count }, (_, i) => [ours.offsetAt(i), ours.timestampAt(i)]),
    );
  }
});

describe.each(Object.entries(SAMPLES))("we read kafkajs' %s", (_, records) => {
  const messages: KafkaMessage[] = records.map(({ key, value, headers = [], timestamp }) => ({
    key: key && Buffer.from(key),
    value: value && Buffer.from(value),
    // kafkajs cannot write a null header.
    headers: Object.fromEntries(headers.map(([name, header]) => [name, Buffer.from(header ?? [])])),
    // kafkajs takes 0 for "now" and compares timestamps as strings, so all timestamps here have the same number of
    // digits.
    timestamp: String(NOW + (timestamp % 1_000_000)),
  }));

  test.each([false, true])("gzip: %s", async (gzip) => {
    const bytes = await kafkaWrite(messages, { producerId: 12, producerEpoch: 1, firstSequence: 3, gzip });
    for (const each of await allKernels()) expect(each.validateBatch(bytes)).toBe(Status.OK);
    const batch = await decodeBatch(kernel, bytes);
    expect(batch.header).toMatchObject({
      producerId: 12,
      producerEpoch: 1,
      baseSequence: 3,
      recordCount: records.length,
      attributes: gzip ? 1 : 0,
    });
    const seen = Array.from({ length: batch.count }, (_, i) => ({
      key: plain(batch.keyAt(i)),
      value: plain(batch.valueAt(i)),
      timestamp: String(batch.timestampAt(i)),
      headers: Object.fromEntries(batch.headersAt(i).map(([name, header]) => [name, header && Buffer.from(header)])),
    }));
    expect(seen).toEqual(
      messages.map((message) => ({ ...message, key: plain(message.key), value: plain(message.value) })),
    );
  });
});

describe("what kafkajs writes by default", () => {
  test("no producer id, no timestamps, a transaction", async () => {
    const bytes = await kafkaWrite([{ value: Buffer.from("a") }, { value: Buffer.from("b") }], {
      transactionalId: "tx",
    });
    expect(kernel.validateBatch(bytes)).toBe(Status.OK);
    expect(readHeader(bytes)).toMatchObject({
      producerId: -1,
      producerEpoch: 0,
      baseSequence: 0,
      leaderEpoch: 0,
      attributes: ATTRIBUTE_TRANSACTIONAL,
    });
  });

  test("its batches written by us are the same bytes", async () => {
    const messages = [
      { key: Buffer.from("k"), value: Buffer.from("v"), timestamp: String(NOW) },
      { key: null, value: null, timestamp: String(NOW + 5) },
    ];
    const theirs = await kafkaWrite(messages, { producerId: 12, producerEpoch: 1, firstSequence: 3 });
    const builder = new BatchBuilder(kernel);
    for (const { key, value, timestamp } of messages) builder.tryAppend({ key, value, timestamp: Number(timestamp) });
    const ours = builder.build({ producerId: 12, producerEpoch: 1, baseSequence: 3 });
    // kafkajs writes leader epoch 0, which the checksum does not cover.
    stampLeaderEpoch(ours, 0);
    expect(ours).toEqual(theirs);
  });

  test("a wrong maximum timestamp, as kafkajs writes it, is refused on append and still readable", async () => {
    // kafkajs sorts timestamps as strings and ignores those that it fills in itself. A broker corrects the field; we
    // would have to change the bytes under the producer's checksum.
    const bytes = await kafkaWrite([
      { value: Buffer.from("a"), timestamp: "999" },
      { value: Buffer.from("b"), timestamp: "1000" },
    ]);
    expect(readHeader(bytes).maxTimestamp).toBe(999);
    expect(kernel.validateBatch(bytes)).toBe(Status.BAD_TIMESTAMP);
    const batch = await decodeBatch(kernel, bytes);
    expect([batch.timestampAt(0), batch.timestampAt(1)]).toEqual([999, 1000]);
  });
});
