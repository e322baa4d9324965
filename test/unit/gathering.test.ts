/**
 * Calls of appendBatch that are made in one turn or have to wait share a batch: as many messages and flushes fewer, and
 * each call still has its own outcome.
 */
import { expect, it } from "vitest";
import { type Acks, type AppendResult } from "../../src/log/types.ts";
import { Producer, type ProducerRecord } from "../../src/delivery/producer.ts";
import { readHeader } from "../../src/record/format.ts";
import { fails } from "../contract/check.ts";
import { kernel } from "./log-fixtures.ts";

/** A producer whose batches stay under way until `answer`, in order, each behind the one before. */
function held() {
  const sent: { readonly count: number; readonly acks: Acks; readonly ifEnd: number | undefined }[] = [];
  const answers: (() => void)[] = [];
  let end = 0;
  const producer = new Producer({
    kernel,
    send: (batch, { acks = "flushed", ifEnd }) => {
      const { recordCount: count } = readHeader(batch);
      sent.push({ count, acks, ifEnd });
      return new Promise<AppendResult>((resolve) =>
        answers.push(() => {
          resolve({ baseOffset: end, lastOffset: end + count - 1, duplicate: false, leaderEpoch: 1, acks });
          end += count;
        }),
      );
    },
    reopened: () => Promise.resolve(),
    schedule: queueMicrotask,
    newId: () => 1,
    codec: "none",
    batchBytes: 1000,
    recordBytesMax: 8000,
    batchBytesMax: 16_000,
    inFlightBytesMax: 100_000,
  });
  const records = (count: number, size = 10): ProducerRecord[] =>
    Array.from({ length: count }, (_, i) => ({ key: null, value: new Uint8Array(size), timestamp: i + 1 }));
  const batch = (count: number, size?: number, acks: Acks = "flushed", ifEnd?: number) =>
    producer.appendBatch(records(count, size), acks, ifEnd);
  const counts = (): number[] => sent.map(({ count }) => count);
  const answerAll = async (): Promise<void> => {
    for (let next = answers.shift(); next; next = answers.shift()) {
      next();
      // The ack goes through the producer, which sends what waited.
      for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    }
  };
  /** Batches of these counts, each sent before the next call: nothing joins them. */
  const apart = async (...each: readonly number[]) => {
    const calls: ReturnType<typeof batch>[] = [];
    for (const count of each) {
      calls.push(batch(count));
      await Promise.resolve();
    }
    return calls;
  };
  return { producer, records, batch, apart, sent, counts, answerAll };
}

it("calls of one turn share batches of up to twice batchBytes, and each call has its offsets", async () => {
  const { batch, counts, answerAll } = held();
  // 900, 600, 600 and 30 bytes: the third would pass 2,000.
  const acks = Promise.all([90, 60, 60, 3].map((count) => batch(count)));
  await Promise.resolve();
  expect(counts()).toEqual([90 + 60, 60 + 3]);
  const next = batch(3);
  await Promise.resolve();
  expect(counts()).toEqual([150, 63, 3]);
  await answerAll();
  expect((await acks).map(({ baseOffset, offset, timestamp }) => [baseOffset, offset, timestamp])).toEqual([
    [0, 89, 90],
    [90, 149, 60],
    [150, 209, 60],
    [210, 212, 3],
  ]);
  expect((await next).baseOffset).toBe(213);
});

it("five go out as they are; those behind them share one, and each call has its offsets and timestamp", async () => {
  const { batch, apart, counts, answerAll } = held();
  const first = await apart(1, 2, 3, 4, 5);
  const acks = Promise.all([...first, ...[6, 7, 8].map((count) => batch(count))]);
  await Promise.resolve();
  expect(counts()).toEqual([1, 2, 3, 4, 5]);
  const later = Promise.all([2, 3].map((count) => batch(count)));
  await answerAll();
  expect(counts().slice(5)).toEqual([6 + 7 + 8 + 2 + 3]);
  let end = 0;
  expect(await acks).toEqual(
    [1, 2, 3, 4, 5, 6, 7, 8].map((count) => {
      const baseOffset = end;
      end += count;
      return { baseOffset, offset: end - 1, timestamp: count, acks: "flushed", duplicate: false };
    }),
  );
  expect((await later).map(({ baseOffset, offset }) => [baseOffset, offset])).toEqual([
    [36, 37],
    [38, 40],
  ]);
});

it("apart stay: other acks, a condition, what would be too large, and what has single appends before it", async () => {
  const { producer, records, batch, apart, sent, answerAll } = held();
  const calls: Promise<unknown>[] = await apart(1, 1, 1, 1, 1);
  calls.push(batch(2), batch(2, 10, "written"), batch(2, 10, "written"), batch(2, 10, "flushed", 9), batch(3));
  calls.push(producer.append(records(1)[0]!, "flushed"), batch(4, 300), batch(3, 300), batch(2, 300));
  await answerAll();
  await Promise.all(calls);
  expect(sent.slice(5).map(({ count, acks, ifEnd }) => [count, acks, ifEnd])).toEqual([
    [2, "flushed", undefined],
    [4, "written", undefined],
    [2, "flushed", 9],
    [3, "flushed", undefined],
    [1, "flushed", undefined],
    // 1,200 bytes; 900 more would pass twice 1,000.
    [4, "flushed", undefined],
    [5, "flushed", undefined],
  ]);
});

it("a record near the largest size is refused, if it is, without another call's records", async () => {
  const { batch, apart, counts, answerAll } = held();
  const calls = await apart(1, 1, 1, 1, 1);
  calls.push(batch(1), batch(1, 7990), batch(1), batch(1));
  await answerAll();
  await Promise.all(calls);
  expect(counts().slice(5)).toEqual([1, 1, 2]);
});

it("records that fit no batch are told both of its bounds", async () => {
  const { producer } = held();
  const empty = { key: null, value: null, timestamp: 0 };
  const bounds = /: a batch has at most \d+ bytes and 65536 records$/;
  await expect(producer.appendBatch(Array(65_537).fill(empty) as (typeof empty)[], "flushed")).rejects.toThrow(bounds);
});

it("a call that is refused leaves nothing in the batch that it would have shared", async () => {
  const { producer, records, batch, apart, counts, answerAll } = held();
  const calls = await apart(1, 1, 1, 1, 1);
  calls.push(batch(2));
  const bad = [...records(3), { key: null, value: null, timestamp: 0.5 }];
  await fails("INVALID_ARGUMENT", producer.appendBatch(bad, "flushed"));
  await fails("RECORD_TOO_LARGE", batch(1, 8001));
  await fails("BATCH_TOO_LARGE", batch(3, 7000));
  calls.push(batch(3));
  await answerAll();
  expect((await Promise.all(calls)).map(({ offset }) => offset)).toEqual([0, 1, 2, 3, 4, 6, 9]);
  expect(counts().slice(5)).toEqual([5]);
  expect(producer.pendingBytes).toBe(0);
});
