/** Calls of appendBatch that wait share a batch: as many flushes fewer, and each call still has its own outcome. */
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
  return { producer, records, batch, sent, counts, answerAll };
}

it("five go out as they are; those behind them share one, and each call has its offsets and timestamp", async () => {
  const { batch, counts, answerAll } = held();
  const acks = Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map((count) => batch(count)));
  await Promise.resolve();
  expect(counts()).toEqual([1, 2, 3, 4, 5 + 6 + 7 + 8]);
  const later = Promise.all([2, 3].map((count) => batch(count)));
  await answerAll();
  expect(counts().slice(5)).toEqual([5]);
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
  const { producer, records, batch, sent, answerAll } = held();
  const calls: Promise<unknown>[] = [1, 1, 1, 1, 1].map((count) => batch(count));
  await Promise.resolve();
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
  const { batch, counts, answerAll } = held();
  const calls = [1, 1, 1, 1, 1].map((count) => batch(count));
  await Promise.resolve();
  calls.push(batch(1), batch(1, 7990), batch(1), batch(1));
  await answerAll();
  await Promise.all(calls);
  expect(counts().slice(5)).toEqual([1, 1, 2]);
});

it("a call that is refused leaves nothing in the batch that it would have shared", async () => {
  const { producer, records, batch, counts, answerAll } = held();
  const calls = [1, 1, 1, 1, 1].map((count) => batch(count));
  await Promise.resolve();
  calls.push(batch(2));
  const bad = [...records(3), { key: null, value: null, timestamp: 0.5 }];
  await fails("INVALID_ARGUMENT", producer.appendBatch(bad, "flushed"));
  await fails("RECORD_TOO_LARGE", batch(1, 8001));
  await fails("BATCH_TOO_LARGE", batch(3, 7000));
  await fails("INVALID_ARGUMENT", batch(0));
  calls.push(batch(3));
  await answerAll();
  expect((await Promise.all(calls)).map(({ offset }) => offset)).toEqual([0, 1, 2, 3, 4, 6, 9]);
  expect(counts().slice(5)).toEqual([5]);
  expect(producer.pendingBytes).toBe(0);
});
