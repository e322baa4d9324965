/** How appendAll ends: when it rejects, all records that it had appended before are acked or have failed. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, test } from "vitest";
import { appendAll, type AppendAllInput } from "../../src/browser/page/append-all.ts";
import type { RecordInput } from "../../src/browser/index.ts";
import { connect } from "../../src/client/index.ts";
import type { ProducerAck } from "../../src/delivery/producer.ts";
import { TidemarkError } from "../../src/errors.ts";
import { open } from "../../src/node/index.ts";

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

test("a record that is none ends it: the error has its index in the source; nothing behind is appended", async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-append-all-"));
  const tide = await open(folder);
  const topic = tide.topic<number>("t");
  const records = [{ value: 1 }, { value: 2 }, { key: "a" }, { value: 3 }] as RecordInput<number>[];
  const refused = { code: "INVALID_ARGUMENT", details: { field: "value", record: 2 } };
  await expect(topic.appendAll(records)).rejects.toMatchObject(refused);
  expect((await topic.state()).logEndOffset).toBe(2);
  await tide.close();
  rmSync(folder, { recursive: true });
  const sent: string[] = [];
  const fetch = (url: string): Promise<Response> => {
    sent.push(url);
    return new Promise(() => undefined);
  };
  const stop = new AbortController();
  const edge = connect("https://edge.example", { fetch, transport: "http", signal: stop.signal });
  await expect(edge.topic<number>("t").appendAll(records.slice(2))).rejects.toMatchObject({
    details: { field: "value", record: 0 },
  });
  stop.abort();
  expect(sent).toEqual([]);
});

test("what an append rejects with has the index of its record; an error of middleware stays as it is", async () => {
  const ends = async (failure: unknown): Promise<unknown> => {
    const { producer } = heldProducer();
    Object.assign(producer, { drained: () => Promise.resolve() });
    const append = (record: number): Promise<{ offset: number }> =>
      record < 0 ? Promise.reject(failure) : Promise.resolve({ offset: record });
    const tide = { on: () => () => undefined, ended: undefined };
    return appendAll<number>({ records: [0, 1, -1], append, producer, inFlightBytesMax: 1, tide, options: {} }).catch(
      (thrown: unknown) => thrown,
    );
  };
  const mine = new RangeError("mine");
  expect(await ends(mine)).toBe(mine);
  const found = (await ends(new TidemarkError("RECORD_TOO_LARGE", "too large", { bytes: 9 }))) as TidemarkError;
  expect([found.code, found.details]).toEqual(["RECORD_TOO_LARGE", { bytes: 9, record: 2, appended: 3, acked: 2 }]);
});

test("a tide that closes meanwhile: CLOSED says how many records were taken, and how many are acked", async () => {
  const { append, producer } = heldProducer();
  const closed = new TidemarkError("CLOSED", "the tide is closed", { reason: "closed" });
  let close = (): void => undefined;
  const tide = {
    ended: undefined as TidemarkError | undefined,
    on: (_: unknown, heard: () => void) => ((close = heard), () => undefined),
  };
  const acks: number[] = [];
  const records = (async function* () {
    yield* [1, 2, 3];
    tide.ended = closed;
    close();
    await new Promise(() => undefined);
  })();
  const all = appendAll<number>({
    records,
    append: (record) => (record === 2 ? append() : Promise.resolve({ offset: acks.push(record) })),
    producer,
    inFlightBytesMax: 1,
    tide: tide as never,
    options: {},
  });
  await expect(all).rejects.toMatchObject({
    code: "CLOSED",
    details: { reason: "closed", appended: 3, acked: 2 },
    cause: closed,
  });
});

test("records that are larger than all that may wait are appended, with and without middleware", async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-append-all-"));
  const tide = await open(folder);
  const large = { inFlightBytesMax: 1000, serializer: "text" } as const;
  for (const topic of [tide.topic("t", large), tide.topic("m", { ...large, use: [(_, next) => next()] })]) {
    const values = ["x".repeat(900), ..."abc"].map((text) => ({ value: text.repeat(5) }));
    expect(await topic.appendAll([...values, ...values])).toMatchObject({ appended: 8, lastOffset: 7 });
  }
  await tide.close();
  rmSync(folder, { recursive: true });
});
