/** How appendAll ends: when it rejects, all records that it had appended before are acked or have failed. */
import { expect, test } from "vitest";
import { appendAll, type AppendAllInput } from "../../src/browser/page/append-all.ts";
import type { ProducerAck } from "../../src/delivery/producer.ts";

/** A log that acks nothing until the test says so. */
function heldProducer() {
  const acks: (() => void)[] = [];
  const drained: (() => void)[] = [];
  const append = (): Promise<ProducerAck> =>
    new Promise((resolve) => acks.push(() => resolve({ offset: 0, timestamp: 0, acks: "flushed", duplicate: false })));
  const wait = (): Promise<void> => new Promise((resolve) => drained.push(resolve));
  const producer = { pendingBytes: 0, drained: wait } as AppendAllInput<number>["producer"];
  const release = (): void => [...acks, ...drained].forEach((settle) => settle());
  return { append, producer, release, drained };
}

function run(records: Iterable<number | Promise<number>>, onProgress?: () => void) {
  const held = heldProducer();
  let ended = false;
  const result = appendAll<number>({
    records: records as Iterable<number>,
    append: held.append,
    producer: held.producer,
    inFlightBytesMax: 1,
    tide: { on: () => () => undefined, ended: undefined },
    options: { onProgress },
  }).finally(() => (ended = true));
  result.catch(() => undefined);
  return { ...held, result, isEnded: () => ended };
}

/** Waits until appendAll has asked the producer to drain: everything that needs no ack has run by then. */
async function untilDraining({ drained }: { readonly drained: readonly unknown[] }): Promise<void> {
  for (let turns = 0; drained.length === 0 && turns < 100; turns++) await Promise.resolve();
}

test("a source that throws: appendAll rejects with that, once the records before it are acked", async () => {
  const failure = new Error("the source broke");
  const all = run(
    (function* () {
      yield 1;
      throw failure;
    })(),
  );
  await untilDraining(all);
  expect(all.drained.length).toBe(1);
  expect(all.isEnded()).toBe(false);
  all.release();
  await expect(all.result).rejects.toBe(failure);
});

test("a rejected promise in a list: the same, and the source's iterator is closed", async () => {
  const failure = new Error("no such record");
  let returned = false;
  const all = run(
    (function* () {
      try {
        yield 1;
        yield Promise.reject<number>(failure);
      } finally {
        returned = true;
      }
    })(),
  );
  await untilDraining(all);
  expect(all.isEnded()).toBe(false);
  all.release();
  await expect(all.result).rejects.toBe(failure);
  expect(returned).toBe(true);
});

test("where schema or middleware can't be loaded, its source stays unlocked for another call", async () => {
  const failure = new Error("no such file");
  const stream = new ReadableStream<number>();
  const { append } = heldProducer();
  const producer = { producer: () => Promise.reject(failure) };
  const tide = { on: () => () => undefined, ended: undefined };
  const all = appendAll<number>({ records: stream, append, producer, inFlightBytesMax: 1, tide, options: {} });
  await expect(all).rejects.toBe(failure);
  expect(stream.locked).toBe(false);
});
