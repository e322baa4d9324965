/**
 * Producer, reader and data port over the real log: the two sides of a data port, page and worker, in one process.
 */
import { describe, expect, it } from "vitest";
import { PortClient } from "../../src/browser/port/port-client.ts";
import { type PortHost, PortServer } from "../../src/browser/port/port-server.ts";
import { CREDIT_BYTES } from "../../src/browser/port/protocol.ts";
import { Producer, type ProducerOptions } from "../../src/delivery/producer.ts";
import type { AnyRecord } from "../../src/delivery/read-record.ts";
import { readBatches } from "../../src/delivery/reader.ts";
import { serializerOf } from "../../src/topic/serializer.ts";
import { TidemarkError } from "../../src/errors.ts";
import type { LogAppendOptions, AppendResult } from "../../src/log/types.ts";
import { readHeader } from "../../src/record/format.ts";
import { fails } from "../contract/check.ts";
import { batchOf, dump, type Fixture, fixture, kernel } from "./log-fixtures.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const text = serializerOf<string>("text");

function producing(made: Fixture, overrides: Partial<ProducerOptions> = {}) {
  const sent: { sequence: number; epoch: number; count: number }[] = [];
  let ids = 0;
  const producer = new Producer({
    kernel,
    send: (batch, options) => {
      const { baseSequence: sequence, producerEpoch: epoch, recordCount: count } = readHeader(batch);
      sent.push({ sequence, epoch, count });
      return made.log.append(batch, options);
    },
    reopened: () => made.reopen(),
    schedule: queueMicrotask,
    newId: () => ++ids,
    codec: "none",
    batchBytes: 4096,
    recordBytesMax: 8192,
    batchBytesMax: 16_384,
    inFlightBytesMax: 64 * 1024,
    ...overrides,
  });
  const append = (value: string, timestamp = 5) =>
    producer.append({ key: null, value: bytes(value), timestamp }, "flushed");
  return { producer, append, sent };
}

async function readAll(made: Fixture, options: Parameters<typeof readBatches>[3] = {}): Promise<string[]> {
  const found: string[] = [];
  for await (const batch of readBatches(made.log, kernel, text, options))
    for (const record of batch) found.push(`${record.offset}:${record.value}`);
  return found;
}

describe("producer", () => {
  it("makes one batch of appends that nobody awaited, in order", async () => {
    const made = await fixture();
    const { append, sent } = producing(made);
    const acks = await Promise.all(Array.from({ length: 100 }, (_, i) => append(`v${i}`, i)));
    expect(sent).toEqual([{ sequence: 0, epoch: 0, count: 100 }]);
    expect(acks.map(({ offset, timestamp }) => [offset, timestamp])).toEqual(
      Array.from({ length: 100 }, (_, i) => [i, i]),
    );
    await append("next");
    expect(sent[1]).toEqual({ sequence: 100, epoch: 0, count: 1 });
  });

  it("keeps at most five batches in flight and lets records gather behind them", async () => {
    const made = await fixture();
    let open: () => void = () => undefined;
    made.volume.gate = new Promise((resolve) => (open = resolve));
    const { append, sent } = producing(made);
    const appends: Promise<unknown>[] = [];
    for (let i = 0; i < 50; i++) {
      appends.push(append(`v${i}`));
      await Promise.resolve();
    }
    expect(sent).toHaveLength(5);
    open();
    await Promise.all(appends);
    expect(sent).toHaveLength(6);
    expect(await readAll(made)).toEqual(Array.from({ length: 50 }, (_, i) => `${i}:v${i}`));
  });

  it("sends again with the same sequence when the outcome is unknown; the log has each record once", async () => {
    for (const call of ["write", "flush"] as const) {
      const made = await fixture();
      const { append, sent } = producing(made);
      await append("first");
      made.volume.failures.set(call, new TidemarkError("STORAGE_FAILED", "power"));
      const appends: Promise<{ offset: number }>[] = [];
      for (let i = 0; i < 4; i++) {
        appends.push(append(`v${i}`));
        await Promise.resolve();
      }
      expect(
        (await Promise.all(appends)).map(({ offset }) => offset),
        call,
      ).toEqual([1, 2, 3, 4]);
      expect(sent.length).toBeGreaterThan(5);
      expect(await readAll(made)).toEqual(["0:first", "1:v0", "2:v1", "3:v2", "4:v3"]);
    }
  });

  it("a batch refused for certain fails alone; those behind it go in under a new epoch, in order", async () => {
    const made = await fixture({ recordBytesMax: 300 });
    const { producer, append, sent } = producing(made, { recordBytesMax: 8000 });
    const appends: Promise<unknown>[] = [];
    for (let i = 0; i < 12; i++) {
      appends.push(
        i === 3 ? producer.append({ key: null, value: new Uint8Array(400), timestamp: 1 }, "flushed") : append(`v${i}`),
      );
      await Promise.resolve();
    }
    const settled = await Promise.allSettled(appends);
    const refused = settled
      .map((each, i) => (each.status === "rejected" ? [i, (each.reason as TidemarkError).code] : undefined))
      .filter(Boolean);
    expect(refused).toEqual([[3, "RECORD_TOO_LARGE"]]);
    expect(await readAll(made)).toEqual([0, 1, 2, 4, 5, 6, 7, 8, 9, 10, 11].map((v, i) => `${i}:v${v}`));
    expect(Math.max(...sent.map(({ epoch }) => epoch))).toBe(1);
    await append("after");
    expect((await readAll(made)).at(-1)).toBe("11:after");
  });

  it("gives up with OUTCOME_UNKNOWN when the log will not open again", async () => {
    const made = await fixture();
    const closed = new TidemarkError("CLOSED", "for good");
    const { append } = producing(made, { reopened: () => Promise.reject(closed) });
    made.volume.failures.set("flush", new TidemarkError("STORAGE_FAILED", "gone"));
    await fails("OUTCOME_UNKNOWN", append("v"));
    await fails("CLOSED", append("w"));
  });

  it("an outcome once unknown stays so when the next try finds the log closed", async () => {
    const made = await fixture();
    let tries = 0;
    const { append } = producing(made, {
      reopened: () => (tries++ === 0 ? Promise.resolve() : Promise.reject(new TidemarkError("CLOSED", "for good"))),
    });
    made.volume.failures.set("flush", new TidemarkError("STORAGE_FAILED", "gone"));
    await fails("OUTCOME_UNKNOWN", append("v"));
    await made.reopen();
    expect(await readAll(made)).toEqual(["0:v"]);
  });

  it("limits: a record too large, too much pending, an oversize batch; drained tells when there is room", async () => {
    const made = await fixture();
    let open: () => void = () => undefined;
    made.volume.gate = new Promise((resolve) => (open = resolve));
    const { producer, append } = producing(made, { inFlightBytesMax: 10_000 });
    await fails("RECORD_TOO_LARGE", append("x".repeat(9000)));
    const taken: Promise<unknown>[] = [];
    let refused: TidemarkError | undefined;
    while (!refused) {
      const attempt = append("y".repeat(1000)).catch((error: TidemarkError) => (refused = error));
      taken.push(attempt);
      await Promise.resolve();
      await Promise.resolve();
    }
    expect(refused.code).toBe("BACKPRESSURE");
    expect(producer.pendingBytes).toBeGreaterThan(10_000);
    open();
    await producer.drained();
    await Promise.all(taken);
    expect(producer.pendingBytes).toBe(0);
    const many = Array.from({ length: 30 }, () => ({ key: null, value: new Uint8Array(900), timestamp: 1 }));
    await fails("BATCH_TOO_LARGE", producer.appendBatch(many, "flushed"));
    expect(await producer.appendBatch(many.slice(0, 10), "flushed")).toMatchObject({
      offset: made.log.logEndOffset - 1,
    });
    await fails("OFFSET_CONFLICT", producer.append({ key: null, value: null, timestamp: 1 }, "flushed", 0));
    await append("last");
  });

  it("a log without room gets a batch again after growing pauses, once, in order", async () => {
    const made = await fixture();
    let now = 0;
    let roomAt = 2_000;
    const tries: number[] = [];
    const { append } = producing(made, {
      pause: async (ms) => void (now += ms),
      send: async (batch, options) => {
        tries.push(now);
        // Only a pause moves the clock, so without pauses there is never room.
        if (tries.length > 100) throw new TidemarkError("INTERNAL", "the producer sends again without a pause");
        if (now < roomAt) throw new TidemarkError("BACKPRESSURE", "the append queue is full");
        return made.log.append(batch, options);
      },
    });
    expect(await append("a")).toMatchObject({ offset: 0, duplicate: false });
    expect(tries).toEqual([0, 10, 30, 70, 150, 310, 630, 950, 1270, 1590, 1910, 2230]);
    roomAt = now + 15;
    tries.length = 0;
    expect((await append("b")).offset).toBe(1);
    expect(tries).toEqual([2230, 2240, 2260]);
    expect(await readAll(made)).toEqual(["0:a", "1:b"]);
  });

  it("gzip batches go out in sequence", async () => {
    const made = await fixture();
    const { append } = producing(made, { codec: "gzip", batchBytes: 2000 });
    await Promise.all(Array.from({ length: 40 }, (_, i) => append(`${i}-${"z".repeat(i % 3 ? 20 : 900)}`)));
    expect((await readAll(made)).map((each) => each.split("-")[0])).toEqual(
      Array.from({ length: 40 }, (_, i) => `${i}:${i}`),
    );
    expect(readHeader((await made.log.fetch(0)).bytes).attributes).toBe(1);
  });
});

describe("reader", () => {
  it("starts anywhere, stops at `to`, and skips what lies before the start inside a batch", async () => {
    const made = await fixture();
    for (let i = 0; i < 20; i++) await made.log.append(batchOf([`=a${i}`, `=b${i}`, `=c${i}`], {}, 1000 + i * 10));
    expect(await readAll(made, { from: 31, to: 34 })).toEqual(["31:b10", "32:c10", "33:a11"]);
    expect(await readAll(made, { from: { last: 2 } })).toEqual(["58:b19", "59:c19"]);
    expect((await readAll(made, { from: { timestamp: 1101 } }))[0]).toBe("31:b10");
    expect(await readAll(made, { maxBytes: 1 })).toHaveLength(60);
    expect(await readAll(made, { from: "latest" })).toEqual([]);
  });

  it("follows, and ends with its signal or when the loop is left", async () => {
    const made = await fixture();
    const controller = new AbortController();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const batch of readBatches(made.log, kernel, text, { follow: true, signal: controller.signal })) {
        for (const record of batch) seen.push(record.value!);
        if (seen.length === 3) controller.abort(new Error("enough"));
      }
    })();
    for (const value of ["a", "b", "c"]) await made.log.append(batchOf([`=${value}`]));
    await expect(reading).rejects.toThrow("enough");
    expect(seen).toEqual(["a", "b", "c"]);
    for await (const batch of readBatches(made.log, kernel, text, { follow: true })) {
      expect(batch.count).toBe(1);
      break;
    }
    await made.log.close();
  });

  it("damage is CORRUPT_RANGE with the exact range, after all records before it; reads behind it work", async () => {
    const made = await fixture();
    for (let i = 0; i < 10; i++) await made.log.append(batchOf([`=a${i}`, `=b${i}`]));
    await made.log.clean();
    const { slot, bodyPosition, bytes: size } = made.log.segments()[0]!;
    const at = bodyPosition! + Math.floor(size / 10) * 4 + 66;
    const byte = new Uint8Array(1);
    await made.volume.read(slot!, at, byte);
    await made.volume.write(
      slot!,
      at,
      byte.map((value) => value ^ 4),
    );
    const before: string[] = [];
    const reading = (async () => {
      for await (const batch of readBatches(made.log, kernel, text, {}))
        for (const record of batch) before.push(record.value!);
    })();
    const error = await fails("CORRUPT_RANGE", reading);
    expect(error.details).toMatchObject({ from: 8, to: 10 });
    expect(before).toEqual(["a0", "b0", "a1", "b1", "a2", "b2", "a3", "b3"]);
    expect(await readAll(made, { from: 10 })).toHaveLength(10);
  });

  it("a record's fields: null key and value, headers without a prototype, views of the bytes", async () => {
    const made = await fixture();
    const { producer } = producing(made);
    await producer.append(
      {
        key: bytes("k"),
        value: null,
        timestamp: 7,
        headers: [
          ["__proto__", bytes("p")],
          ["n", null],
          ["__proto__", bytes("q")],
        ],
      },
      "flushed",
    );
    let record: AnyRecord<unknown> | undefined;
    for await (const batch of readBatches(made.log, kernel, serializerOf("json"), {})) [record] = batch;
    expect([record!.key, record!.value, record!.timestamp]).toEqual(["k", null, 7]);
    expect(Object.getPrototypeOf(record!.headers)).toBeNull();
    expect(Object.entries(record!.headers)).toEqual([
      ["__proto__", "q"],
      ["n", null],
    ]);
  });
});

describe("data port", () => {
  const connected = async (made: Fixture, overrides: Partial<PortHost> = {}) => {
    const { port1, port2 } = new MessageChannel();
    const failures: string[] = [];
    new PortServer(port2 as globalThis.MessagePort, {
      readable: async (topic) => {
        if (topic !== "t") throw new TidemarkError("UNKNOWN_TOPIC", topic);
        return { log: made.log, born: 1 };
      },
      writable: async () => ({ log: made.log, born: 1 }),
      manage: async () => undefined,
      appended: () => undefined,
      failed: (error) => failures.push(error.code),
      ...overrides,
    });
    const client = new PortClient(port1 as globalThis.MessagePort);
    await client.ready;
    return { client, failures, port: port1, end: () => client.fail(new TidemarkError("CLOSED", "end")) };
  };

  it("appends and fetches; errors keep code, kind and details", async () => {
    const made = await fixture();
    const { client, end } = await connected(made);
    const result: AppendResult = await client.append({ topic: "t", batch: batchOf(["a=1", "b=2"]), acks: "written" });
    expect(result).toMatchObject({ baseOffset: 0, lastOffset: 1, acks: "written" });
    expect((await client.call({ op: "fetch", topic: "t", from: 0, isolation: "provisional" })).nextOffset).toBe(2);
    expect(await client.call({ op: "resolve", topic: "t", position: "earliest" })).toMatchObject({ offset: 0 });
    const error = await fails("OFFSET_CONFLICT", client.append({ topic: "t", batch: batchOf(["c=3"]), ifEnd: 7 }));
    expect([error.kind, error.details["logEndOffset"]]).toEqual(["refresh", 2]);
    await fails("UNKNOWN_TOPIC", client.call({ op: "fetch", topic: "?", from: 0 }));
    end();
  });

  it("cancels a waiting fetch at both ends", async () => {
    const made = await fixture({ waitersMax: 1 });
    const { client, end } = await connected(made);
    for (let i = 0; i < 3; i++) {
      const controller = new AbortController();
      const parked = client.call({ op: "fetch", topic: "t", from: 0, wait: true }, controller.signal);
      await client.call({ op: "ready" });
      controller.abort(new Error("stop"));
      await expect(parked).rejects.toThrow("stop");
      await client.call({ op: "ready" });
    }
    end();
  });

  it("never has more unacknowledged bytes under way than its credit", async () => {
    const made = await fixture({}, { slotBytes: 8 * 1024 * 1024 });
    // While the first roll loads this, the queue would fill: a producer sends again then, the bare client does not.
    await import("../../src/store/roll.ts");
    let now = 0;
    let most = 0;
    const log = Object.create(made.log) as typeof made.log;
    log.append = async (batch: Uint8Array, options?: LogAppendOptions) => {
      most = Math.max(most, (now += batch.length));
      await new Promise((resolve) => setImmediate(resolve));
      now -= batch.length;
      return made.log.append(batch, options);
    };
    const { client, end } = await connected(made, { writable: async () => ({ log, born: 1 }) });
    const value = "x".repeat(1000 * 1000);
    const results = await Promise.all(
      Array.from({ length: 50 }, () => client.append({ topic: "t", batch: batchOf([`k=${value}`]) })),
    );
    expect(results.map(({ baseOffset }) => baseOffset)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(most).toBeGreaterThan(2_000_000);
    expect(most).toBeLessThanOrEqual(CREDIT_BYTES);
    end();
  });

  it("answers hostile messages with a typed error or not at all, and keeps working", async () => {
    const made = await fixture();
    const { client, port, end } = await connected(made);
    const answers: unknown[] = [];
    port.addEventListener("message", ({ data }) => answers.push(data));
    const hostile: unknown[] = [
      null,
      7,
      "x",
      {},
      { id: "1", op: "append" },
      { id: NaN, op: "fetch" },
      { id: -1 },
      { id: -2, op: "constructor" },
      { id: -3, op: "append", topic: "t" },
      { id: -4, op: "append", topic: "t", batch: new Uint8Array(5) },
      { id: -5, op: "fetch", topic: "t", from: "x" },
      { id: -6, op: "fetch", topic: "t", from: -1 },
      { id: -7, op: "append", topic: "t", batch: [1, 2] },
      { id: -8, op: "cancel" },
      { id: -9, op: "resolve", topic: "t", position: { last: -1 } },
    ];
    for (const message of hostile) port.postMessage(message);
    await client.call({ op: "ready" });
    for (let i = 0; i < 5 && answers.length < 9; i++) await client.call({ op: "ready" });
    const codes = (answers as { id: number; error?: { code: string } }[])
      .filter(({ id }) => id < 0)
      .map(({ id, error }) => [id, error?.code]);
    expect(Object.fromEntries(codes)).toEqual({
      "-1": "INVALID_ARGUMENT",
      "-2": "INVALID_ARGUMENT",
      "-3": "INVALID_ARGUMENT",
      "-4": "INVALID_BATCH",
      "-5": "INVALID_ARGUMENT",
      "-6": "OFFSET_OUT_OF_RANGE",
      "-7": "INVALID_ARGUMENT",
      "-9": "INVALID_ARGUMENT",
    });
    expect(await dump(made.log)).toEqual([]);
    end();
  });

  it("when the worker has ended, appends reject with OUTCOME_UNKNOWN and other calls with CLOSED", async () => {
    const made = await fixture();
    const { client } = await connected(made, {
      readable: () => new Promise(() => undefined),
      writable: () => new Promise(() => undefined),
    });
    const append = client.append({ topic: "t", batch: batchOf(["a=1"]) });
    const fetch = client.call({ op: "fetch", topic: "t", from: 0 });
    client.fail(new TidemarkError("CLOSED", "gone"));
    await fails("OUTCOME_UNKNOWN", append);
    await fails("CLOSED", fetch);
    await fails("CLOSED", client.append({ topic: "t", batch: batchOf(["a=1"]) }));
  });
});
