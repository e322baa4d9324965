/**
 * Reads as an application uses them: records are plain objects, iterators end when they are told to, and a bad record
 * leaves nothing behind in the producer.
 */
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { Producer, type ProducerOptions } from "../../src/delivery/producer.ts";
import type { PlainRecord } from "../../src/delivery/read-record.ts";
import type { ReaderOptions, ReadSource } from "../../src/delivery/reader.ts";
import type { FetchOptions } from "../../src/log/types.ts";
import { type RecordInput, recordOf } from "../../src/topic/input.ts";
import { batchesOf, readingOf } from "../../src/topic/reading.ts";
import { type Serializer, serializerOf } from "../../src/topic/serializer.ts";
import { fails } from "../contract/check.ts";
import { type Fixture, fixture, kernel } from "./log-fixtures.ts";

const json = serializerOf<unknown>();
const DONE = { done: true, value: undefined };

function producing(made: Fixture, overrides: Partial<ProducerOptions> = {}) {
  const options: ProducerOptions = {
    kernel,
    send: (batch, options) => made.log.append(batch, options),
    reopened: () => made.reopen(),
    schedule: queueMicrotask,
    newId: () => 1,
    codec: "none",
    batchBytes: 4096,
    recordBytesMax: 8192,
    batchBytesMax: 16_384,
    inFlightBytesMax: 64 * 1024,
  };
  // Copies the descriptors, so that getters stay getters.
  const producer = new Producer(Object.defineProperties(options, Object.getOwnPropertyDescriptors(overrides)));
  const append = (record: RecordInput, ifEnd?: number) =>
    producer.append(
      recordOf(record, json, () => 5),
      "flushed",
      ifEnd,
    );
  return { producer, append };
}

async function holding(...records: RecordInput[]): Promise<Fixture> {
  const made = await fixture();
  const { append } = producing(made);
  await Promise.all(records.map((record) => append(record)));
  return made;
}

const reading = <V = unknown>(
  source: ReadSource,
  options?: ReaderOptions,
  serializer: Serializer<V> = json as Serializer<V>,
) => readingOf(() => source, kernel, serializer, options);

async function all<T>(records: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const record of records) found.push(record);
  return found;
}

/** A log's source, and the numbers of the reads that wait in it. */
function watched(made: Fixture) {
  const parked = new Set<number>();
  const resolved: unknown[] = [];
  let arrived!: () => void;
  const source: ReadSource = {
    fetch: async (from, options: FetchOptions) => {
      parked.add(from);
      arrived();
      try {
        return await made.log.fetch(from, options);
      } finally {
        parked.delete(from);
      }
    },
    resolve: (position, isolation) => (resolved.push(position), made.log.resolve(position, isolation)),
  };
  const fetching = new Promise<void>((resolve) => (arrived = resolve));
  return { source, parked, resolved, fetching };
}

describe("records of read()", () => {
  const order = {
    key: "\ufeffo-17",
    value: { total: 42 },
    headers: [
      ["a", "\ufeff1"],
      ["a", new Uint8Array([0, 255])],
      ["n", null],
    ] as never,
    timestamp: 9,
  };

  it("are plain: spread, JSON and the console show them, and each field stays the same object", async () => {
    const [record] = (await all(reading((await holding(order)).log))) as [PlainRecord<{ total: number }>];
    const shown = {
      offset: 0,
      timestamp: 9,
      key: "\ufeffo-17",
      value: { total: 42 },
      headers: { a: "\0\ufffd", n: null },
    };
    expect(JSON.parse(JSON.stringify(record))).toEqual(shown);
    const { ...copy } = record;
    expect({ ...copy, headers: { ...copy.headers } }).toEqual({
      ...shown,
      id: "1-0-0",
      provisional: false,
      keyBytes: new TextEncoder().encode("\ufeffo-17"),
      valueBytes: new TextEncoder().encode('{"total":42}'),
      rawHeaders: [
        ["a", new TextEncoder().encode("\ufeff1")],
        ["a", new Uint8Array([0, 255])],
        ["n", null],
      ],
    });
    expect(Object.keys(record)).toEqual([
      "offset",
      "id",
      "provisional",
      "timestamp",
      "key",
      "value",
      "headers",
      "keyBytes",
      "valueBytes",
      "rawHeaders",
    ]);
    expect(inspect(record)).toMatch(/total: 42/);
    expect(record.value).toBe(record.value);
    expect(structuredClone({ ...record }).value).toEqual({ total: 42 });
  });

  it("of a batch are decoded on first use, and JSON and the console show them, too", async () => {
    const made = await holding(order);
    for await (const batch of batchesOf(() => made.log, kernel, json)) {
      for (const record of batch) {
        expect(JSON.parse(JSON.stringify(record))).toEqual({
          offset: 0,
          timestamp: 9,
          key: "\ufeffo-17",
          value: { total: 42 },
          headers: { a: "\0\ufffd", n: null },
        });
        expect({ ...record.toJSON() }).toMatchObject({ offset: 0, value: { total: 42 } });
        expect(inspect(record)).toMatch(/total: 42/);
        expect(record.rawHeaders).toHaveLength(3);
      }
    }
  });

  it("can be appended again as they are, repeated headers and all", async () => {
    const from = await holding(order, { key: null, value: null });
    const to = await fixture();
    const { append } = producing(to);
    for await (const { key, value, timestamp, rawHeaders } of reading(from.log))
      await append({ key, value, timestamp, headers: rawHeaders });
    expect(
      (await all(reading(to.log))).map(({ rawHeaders, ...rest }) => [rawHeaders, rest.keyBytes, rest.valueBytes]),
    ).toEqual(
      (await all(reading(from.log))).map(({ rawHeaders, ...rest }) => [rawHeaders, rest.keyBytes, rest.valueBytes]),
    );
  });

  it("a value that the serializer cannot read throws when it is used, and not before", async () => {
    const made = await fixture();
    const { producer, append } = producing(made);
    await append({ value: 1 });
    await producer.append({ key: null, value: new TextEncoder().encode("no json"), timestamp: 5 }, "flushed");
    await append({ value: 3 });
    const records = await all(reading(made.log));
    expect(records.map(({ offset, valueBytes }) => [offset, valueBytes!.length])).toEqual([
      [0, 1],
      [1, 7],
      [2, 1],
    ]);
    expect([records[0]!.value, records[2]!.value]).toEqual([1, 3]);
    expect(() => records[1]!.value).toThrow(
      expect.objectContaining({ code: "UNSUPPORTED_FORMAT", details: { offset: 1 } }),
    );
    for await (const batch of batchesOf(() => made.log, kernel, json, { from: 1, to: 2 })) {
      for (const record of batch)
        expect(() => record.value).toThrow(expect.objectContaining({ code: "UNSUPPORTED_FORMAT" }));
    }
  });

  it("text keeps its byte-order mark", async () => {
    const made = await fixture();
    const text = serializerOf<string>("text");
    await producing(made).producer.append(
      recordOf({ value: "\ufeffa" }, text, () => 5),
      "flushed",
    );
    expect((await all(reading(made.log, {}, text)))[0]!.value).toBe("\ufeffa");
  });
});

describe("reads end", () => {
  const kinds = [
    ["read", readingOf],
    ["readBatches", batchesOf],
  ] as const;

  for (const [kind, open] of kinds) {
    const following = (source: ReadSource, options: ReaderOptions = {}) =>
      open(() => source, kernel, json, { from: "latest", follow: true, ...options }) as AsyncIterableIterator<
        unknown,
        undefined
      >;

    it(`${kind}: return() and throw() of a waiting read answer at once, and nothing waits in the log`, async () => {
      for (const way of ["return", "throw"] as const) {
        const made = await holding({ value: 1 });
        const { source, parked, fetching } = watched(made);
        const it = following(source);
        const waiting = [it.next(), it.next()];
        await fetching;
        if (way === "return") expect(await it.return!()).toEqual(DONE);
        else await expect(it.throw!(new Error("mine"))).rejects.toThrow("mine");
        expect(await Promise.all([...waiting, it.next(), it.return!()])).toEqual([DONE, DONE, DONE, DONE]);
        while (parked.size > 0) await new Promise(setImmediate);
      }
    });

    it(`${kind}: return() before the first next(), and a read that is never begun`, async () => {
      const made = await holding({ value: 1 });
      const { source, parked } = watched(made);
      const it = following(source);
      expect([await it.return!(), await it.next()]).toEqual([DONE, DONE]);
      void following(source);
      await new Promise(setImmediate);
      expect(parked.size).toBe(0);
    });

    it(`${kind}: a plain abort ends a follow; any other reason, and any other read, is rejected with it`, async () => {
      const made = await holding({ value: 1 });
      for (const [options, reason, outcome] of [
        [{}, undefined, "done"],
        [{}, new Error("mine"), "mine"],
        [{ follow: false, from: 0 }, undefined, "AbortError"],
        [{ follow: false, from: 0 }, new Error("mine"), "mine"],
      ] as const) {
        const outcomeOf = (next: Promise<IteratorResult<unknown>>) =>
          next.then(
            ({ done }) => (done ? "done" : "more"),
            (error: Error) => (error.name === "Error" ? error.message : error.name),
          );
        const abort = new AbortController();
        const hangs: ReadSource = {
          ...watched(made).source,
          fetch: () => new Promise(() => undefined),
          resolve: async () => 0,
        };
        const waiting = following(hangs, { ...options, to: 5, signal: abort.signal });
        const first = outcomeOf(waiting.next());
        await new Promise(setImmediate);
        abort.abort(reason);
        expect([await first, await outcomeOf(waiting.next())]).toEqual([outcome, "done"]);
        // The signal was aborted before the read begins.
        const late = following(hangs, { ...options, signal: abort.signal });
        expect([await outcomeOf(late.next()), await outcomeOf(late.next())]).toEqual([outcome, "done"]);
      }
    });

    it(`${kind}: "latest" is the end at the time of the call`, async () => {
      const made = await holding({ value: 1 }, { value: 2 });
      const { append } = producing(made, { newId: () => 2 });
      const latest = following(made.log);
      const whole = open(() => made.log, kernel, json);
      await append({ value: 3 });
      const { value } = await latest.next();
      expect(JSON.stringify(kind === "read" ? [value] : [...(value as Iterable<unknown>)])).toMatch(/^\[\{"offset":2,/);
      await latest.return!();
      let records = 0;
      for await (const each of whole as AsyncIterable<{ count?: number }>) records += each.count ?? 1;
      expect(records).toBe(2);
    });

    it(`${kind}: bad options and a start outside the log reject the first next()`, async () => {
      const made = await holding({ value: 1 });
      for (const options of [{ maxBytes: 0 }, { from: -1 }, { follow: 1 }, null, "earliest"]) {
        const it = open(() => made.log, kernel, json, options as never);
        const error = await fails("INVALID_ARGUMENT", it.next());
        expect(error.message).toMatch(/ must be .*, not /);
        expect(await it.next()).toEqual(DONE);
      }
      await fails("OFFSET_OUT_OF_RANGE", open(() => made.log, kernel, json, { from: 7 }).next());
    });
  }

  it("records keep their order where next() is called without waiting, and stop within a batch when told", async () => {
    const made = await holding(...Array.from({ length: 50 }, (_, value) => ({ value })));
    const it = reading(made.log, { maxBytes: 1 });
    const results = await Promise.all(Array.from({ length: 52 }, () => it.next()));
    expect(results.slice(0, 50).map(({ value }) => value!.offset)).toEqual(Array.from({ length: 50 }, (_, i) => i));
    expect(results.slice(50)).toEqual([DONE, DONE]);
    const abort = new AbortController();
    const seen: number[] = [];
    const reads = (async () => {
      for await (const { offset } of reading(made.log, { signal: abort.signal }))
        if (seen.push(offset) === 3) abort.abort();
    })();
    await expect(reads).rejects.toMatchObject({ name: "AbortError" });
    expect(seen).toEqual([0, 1, 2]);
  });

  it("leaving a stream or a loop ends the read", async () => {
    const made = await holding({ value: 1 });
    const { source, parked, fetching } = watched(made);
    const stream = (
      ReadableStream as typeof ReadableStream & { from<T>(from: AsyncIterable<T>): ReadableStream<T> }
    ).from(reading(source, { from: "latest", follow: true }));
    const reader = stream.getReader();
    const read = reader.read();
    await fetching;
    await reader.cancel();
    expect((await read).done).toBe(true);
    while (parked.size > 0) await new Promise(setImmediate);
  });
});

describe("a read whose place is removed between the answer that says where it is and the first records", () => {
  const positions = ["earliest", { last: 3 }, { timestamp: 0 }, 0] as const;
  it.each(positions)("from %j: begins with what is there, and with an error where it is an offset", async (from) => {
    const made = await holding({ value: 1 });
    await made.log.roll();
    const { append } = producing(made, { newId: () => 2 });
    for (const value of [2, 3]) await append({ value });
    const source: ReadSource = {
      fetch: async (offset, options) => {
        await made.log.trim(1);
        return made.log.fetch(offset, options);
      },
      resolve: (position, isolation) => made.log.resolve(position, isolation),
    };
    if (from === 0) return void (await fails("OFFSET_OUT_OF_RANGE", reading(source, { from }).next()));
    expect((await all(reading(source, { from, maxBytes: 1 }))).map(({ value }) => value)).toEqual([2, 3]);
    const later = { ...source, fetch: made.log.fetch.bind(made.log) };
    const follow = reading(later, { from, follow: true, maxBytes: 1 });
    expect((await follow.next()).value!.value).toBe(2);
    await follow.return!();
  });
});

describe("a read from an offset to another", () => {
  it("asks for its records before it knows that the log has that offset", async () => {
    const { log } = await holding({ value: 1 }, { value: 2 });
    let asked!: () => void;
    const fetched = new Promise<void>((resolve) => (asked = resolve));
    const source: ReadSource = {
      fetch: (from, options) => (asked(), log.fetch(from, options)),
      // Answered only once the records were asked for.
      resolve: async (position, isolation) => (await fetched, log.resolve(position, isolation)),
    };
    expect((await all(reading(source, { from: 1, to: 2 }))).map(({ value }) => value)).toEqual([2]);
    expect((await all(reading(source, { from: 0, to: 9 }))).map(({ value }) => value)).toEqual([1, 2]);
  });

  it("is refused where the log lacks it, whatever was fetched, and what it asked for ends", async () => {
    const made = await holding({ value: 1 });
    for (const options of [{ from: 7, to: 9 }, { from: 2, follow: true }, { from: 7, to: 3 }, { from: 7 }]) {
      const { source, parked } = watched(made);
      await fails("OFFSET_OUT_OF_RANGE", reading(source, options).next());
      await expect.poll(() => parked.size).toBe(0);
    }
  });

  it("that are the same, or the wrong way round, fetches nothing", async () => {
    const { source, resolved } = watched(await holding({ value: 1 }));
    const never: ReadSource = { ...source, fetch: () => Promise.reject(new Error("fetched")) };
    expect(await all(reading(never, { from: 1, to: 1 }))).toEqual([]);
    expect(await all(reading(never, { from: 1, to: 0 }))).toEqual([]);
    expect(resolved).toEqual([1, 1]);
  });
});

describe("a bad record leaves nothing behind in the producer", () => {
  it("leaves neither its condition nor an open batch behind", async () => {
    const made = await fixture();
    const { producer, append } = producing(made);
    const bad = { key: null, value: null, timestamp: NaN };
    await fails("INVALID_ARGUMENT", producer.append(bad, "flushed", 5));
    expect((await append({ value: 2 })).offset).toBe(0);
    const outcomes = await Promise.allSettled([
      append({ value: 1 }),
      producer.append(bad, "flushed", 5),
      append({ value: 2 }),
      append({ value: "x".repeat(9000) }, 7),
      append({ value: 3 }),
    ]);
    expect(
      outcomes.map((each) =>
        each.status === "fulfilled" ? each.value.offset : (each.reason as { code: string }).code,
      ),
    ).toEqual([1, "INVALID_ARGUMENT", 2, "RECORD_TOO_LARGE", 3]);
    await fails("INVALID_ARGUMENT", producer.appendBatch([{ key: null, value: null, timestamp: 1 }, bad], "flushed"));
    expect(producer.pendingBytes).toBe(0);
    expect(
      await producer.appendBatch(
        [
          { key: null, value: null, timestamp: 1 },
          { key: null, value: null, timestamp: 1 },
        ],
        "flushed",
      ),
    ).toMatchObject({ offset: 5, baseOffset: 4 });
  });

  it("a record whose headers pass the limit is refused alone", async () => {
    const made = await fixture({ recordBytesMax: 1000, batchBytesMax: 4000 });
    const { append } = producing(made, { recordBytesMax: 1000, batchBytesMax: 4000 });
    const headers = Array.from({ length: 120 }, (_, i) => [`häder${i}`, ""] as const);
    const outcomes = await Promise.allSettled([
      append({ value: 1 }),
      append({ value: 2, headers }),
      append({ value: 3 }),
    ]);
    expect(
      outcomes.map((each) =>
        each.status === "fulfilled" ? each.value.offset : (each.reason as { code: string }).code,
      ),
    ).toEqual([0, "RECORD_TOO_LARGE", 1]);
  });

  it("batches fit the volume that is open now, also after a change; a record too large fails alone", async () => {
    const made = await fixture();
    let batchBytesMax = 3000;
    const sizes: number[] = [];
    const { append } = producing(made, {
      get batchBytes() {
        return Math.min(4096, batchBytesMax);
      },
      get batchBytesMax() {
        return batchBytesMax;
      },
      send: (batch, options) => (sizes.push(batch.length), made.log.append(batch, options)),
    });
    const burst = () => Promise.all(Array.from({ length: 100 }, (_, i) => append({ value: `${i}-${"x".repeat(90)}` })));
    await burst();
    batchBytesMax = 1000;
    const before = sizes.length;
    await burst();
    expect([Math.max(...sizes) <= 3000, Math.max(...sizes.slice(before)) <= 1000]).toEqual([true, true]);
    const outcomes = await Promise.allSettled([
      append({ value: 1 }),
      append({ value: "y".repeat(1000) }),
      append({ value: 3 }),
    ]);
    expect(
      outcomes.map((each) =>
        each.status === "fulfilled" ? each.value.offset : (each.reason as { code: string }).code,
      ),
    ).toEqual([200, "RECORD_TOO_LARGE", 201]);
  });
});
