/**
 * What an application gives and gets, in a real page over its worker: records that are refused alone, batches that fit,
 * reads that end.
 */
import { describe, expect, it } from "vitest";
import { isProvisional, open, type Tide, TidemarkError, type TopicRecord } from "../../src/browser/index.ts";
import { REQUESTS_MAX } from "../../src/browser/port/protocol.ts";

let names = 0;
const fresh = () => `records-${Date.now()}-${names++}`;
const DONE = { done: true, value: undefined };
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

async function all<T>(records: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const record of records) found.push(record);
  return found;
}

/** Its code, and that its message says something; or what came instead. */
async function refusal(work: () => unknown): Promise<unknown> {
  try {
    return await work();
  } catch (thrown) {
    if (!(thrown instanceof TidemarkError)) return thrown;
    expect(thrown.message.length).toBeGreaterThan(thrown.code.length + 10);
    return thrown.code;
  }
}

async function over<T>(
  work: (tide: Tide) => Promise<T>,
  options: Parameters<typeof open>[1] = { engine: "memory" },
  name = fresh(),
): Promise<T> {
  const tide = await open(name, options);
  try {
    return await work(tide);
  } finally {
    await tide.close();
  }
}

describe("what is given", () => {
  it("a bad record fails alone, among others of its turn, and leaves nothing behind", () =>
    over(async (tide) => {
      const topic = tide.topic<unknown>("t");
      const bad: unknown[] = [
        { key: 17, value: 2 },
        "hello",
        undefined,
        { total: 1 },
        { key: "a" },
        { value: 1, headers: { n: 1 } },
        { value: 1, headers: { n: ["a", "b"] } },
        { value: 5n },
        { value: new Map([[1, 2]]) },
        { value: () => 1 },
        { value: 1, timestamp: NaN },
        { key: "\ud800", value: 1 },
      ];
      for (const record of bad) {
        const [first, refused, last] = await Promise.allSettled([
          topic.append({ key: "x", value: 1 }),
          topic.append(record as never),
          topic.append({ key: "y", value: 3 }),
        ]);
        expect([
          first.status,
          last.status,
          refused.status === "rejected" && (refused.reason as TidemarkError).code,
        ]).toEqual(["fulfilled", "fulfilled", "INVALID_ARGUMENT"]);
      }
      const end = 2 * bad.length;
      expect((await topic.state()).logEndOffset).toBe(end);
      expect(await refusal(() => topic.append({ value: 1, timestamp: NaN }, { ifEnd: 5 }))).toBe("INVALID_ARGUMENT");
      const burst = await Promise.all(upTo(3).map((value) => topic.append({ value })));
      expect(burst.map(({ offset }) => offset)).toEqual([end, end + 1, end + 2]);
      expect(await topic.appendBatch([{ value: 1 }, { value: 2 }])).toMatchObject({
        offset: end + 4,
        baseOffset: end + 3,
      });
    }));

  it("bytes topics take bytes alone, and what a serializer makes must be bytes", () =>
    over(async (tide) => {
      const raw = tide.topic<unknown>("raw", { serializer: "bytes" });
      for (const value of [
        "abc",
        5,
        {},
        [1, 300],
        new ArrayBuffer(3),
        new Blob(["x"]),
        new Float64Array([1.5]),
        new Uint16Array([256]),
      ]) {
        expect(await refusal(() => raw.append({ value }))).toBe("INVALID_ARGUMENT");
      }
      await raw.append({
        value: new DataView(new Uint8Array([7, 1, 2, 7]).buffer, 1, 2),
        headers: [
          ["h", new Uint8Array([0, 255])],
          ["h", "\ufefft"],
        ],
      });
      const [record] = (await all(raw.read())) as [TopicRecord<Uint8Array>];
      expect([[...record.value!], record.rawHeaders.map(([name, value]) => [name, [...value!]])]).toEqual([
        [1, 2],
        [
          ["h", [0, 255]],
          ["h", [0xef, 0xbb, 0xbf, 116]],
        ],
      ]);
      expect(
        JSON.parse(JSON.stringify({ ...record, value: 0, keyBytes: 0, valueBytes: 0, rawHeaders: 0 })),
      ).toMatchObject({ offset: 0, key: null, headers: { h: "\ufefft" } });
      const late = tide.topic<unknown>("late", {
        serializer: { serialize: (async () => new Uint8Array(1)) as never, deserialize: String },
      });
      expect(await refusal(() => late.append({ value: 1 }))).toBe("INVALID_ARGUMENT");
      const throws = tide.topic<number>("throws", {
        serializer: {
          serialize: (value) => {
            if (value === 2) throw new RangeError("two");
            return new Uint8Array([value]);
          },
          deserialize: ([value]) => value!,
        },
      });
      const outcomes = await Promise.allSettled([1, 2, 3].map((value) => throws.append({ value })));
      expect(
        outcomes.map((each) =>
          each.status === "fulfilled" ? each.value.offset : (each.reason as TidemarkError).message,
        ),
      ).toEqual([0, expect.stringMatching(/^INVALID_ARGUMENT: .*two/), 1]);
    }));

  it("names and options are refused where they are given", () =>
    over(async (tide) => {
      for (const name of [".", "..", "", "a/b", "x".repeat(101), undefined, null, 5, {}])
        expect(await refusal(() => open(name as never))).toBe("INVALID_ARGUMENT");
      const wrong = [
        { engine: "sqlite" },
        { segmentBytes: "65536" },
        { persist: "yes" },
        { signal: {} },
        { worker: "w.js" },
        { leaderTimeoutMs: Infinity },
        { leaderTimeoutMs: 2 ** 31 },
        { leaderTimeoutMs: "3000" },
      ];
      for (const options of wrong)
        expect(await refusal(() => open(fresh(), options as never)), JSON.stringify(options)).toBe("INVALID_ARGUMENT");
      for (const name of ["", ".", "..", "a b", "x".repeat(250), undefined, 5])
        expect(await refusal(() => void tide.topic(name as never))).toBe("INVALID_ARGUMENT");
      for (const options of [
        { codec: "zstd" },
        { serializer: "xml" },
        { acks: "all" },
        { batchBytes: 0 },
        { inFlightBytesMax: NaN },
        { recordBytesMax: 2 ** 21 },
        { segmentMaxAgeMs: -1 },
        null,
        "json",
      ]) {
        expect(await refusal(() => void tide.topic("new", options as never)), JSON.stringify(options)).toBe(
          "INVALID_ARGUMENT",
        );
      }
      const topic = tide.topic<number>("x".repeat(249));
      expect((await topic.append({ value: 1 })).offset).toBe(0);
      expect(await tide.topics()).toEqual(["x".repeat(249)]);
      for (const options of [{ ifEnd: "1" }, { ifEnd: NaN }, { acks: "all" }, "flushed", null]) {
        expect(await refusal(() => topic.append({ value: 1 }, options as never))).toBe("INVALID_ARGUMENT");
        expect(await refusal(() => topic.appendBatch([{ value: 1 }], options as never))).toBe("INVALID_ARGUMENT");
      }
      for (const options of [
        { maxBytes: 0 },
        { maxBytes: NaN },
        { from: -1 },
        { from: { last: 1.5 } },
        { to: "5" },
        { follow: 1 },
        { isolation: "x" },
        { signal: {} },
      ]) {
        for (const read of [topic.read(options as never), topic.readBatches(options as never)])
          expect(await refusal(() => read.next()), JSON.stringify(options)).toBe("INVALID_ARGUMENT");
      }
      for (const target of [null, undefined, 5, {}, { offset: NaN }, { timestamp: "1" }])
        expect(await refusal(() => topic.explainSeek(target as never))).toBe("INVALID_ARGUMENT");
      for (const offset of [NaN, -1, "5", undefined, 1.5]) {
        expect(await refusal(() => topic.trim(offset as never))).toBe("INVALID_ARGUMENT");
        expect(await refusal(() => topic.exportSegment(offset as never))).toBe("INVALID_ARGUMENT");
      }
      expect((await topic.append({ value: 2 })).offset).toBe(1);
    }));
});

describe("a record's id", () => {
  it("is the same in its ack and where it is read, and statusOf() finds it", () =>
    over(
      async (tide) => {
        const topic = tide.topic<number>("t");
        const acks = await Promise.all(upTo(5).map((value) => topic.append({ value })));
        const batch = await topic.appendBatch([{ value: 5 }, { value: 6 }]);
        const records = await all(topic.read());
        expect(records.map(({ id }) => id).slice(0, 5)).toEqual(acks.map(({ id }) => id));
        expect(batch.id).toBe(records[6]!.id);
        expect(new Set(records.map(({ id }) => id)).size).toBe(7);
        for (const batches of await all(topic.readBatches()))
          for (const { id, offset, provisional } of batches)
            expect([id, provisional]).toEqual([records[offset]!.id, isProvisional(offset)]);
        await topic.roll();
        for (const { id, offset } of records) expect(await topic.statusOf(id)).toEqual({ state: "committed", offset });
        await topic.trim(3);
        expect(await topic.statusOf(records[2]!.id)).toEqual({ state: "unknown" });
        expect(await topic.statusOf("zz-0-5")).toEqual({ state: "unknown" });
        expect(await tide.topic("none").statusOf("zz-0-5")).toEqual({ state: "unknown" });
        expect(await refusal(() => topic.statusOf("nonsense"))).toBe("INVALID_ARGUMENT");
        expect([isProvisional(2 ** 52 - 1), isProvisional(2 ** 52)]).toEqual([false, true]);
      },
      { engine: "opfs", segmentBytes: 64 * 1024 },
    ));
});

describe("batches fit the volume", () => {
  for (const segmentBytes of [65_536, 131_072, 262_144]) {
    it(`of slots of ${segmentBytes} bytes, for leader and follower, also after the leader has gone`, async () => {
      const name = fresh();
      const leader = await open(name, { segmentBytes });
      const follower = await open(name);
      try {
        const topics = [leader.topic<string>("t"), follower.topic<string>("t")] as const;
        const value = "x".repeat(400);
        for (const topic of topics) await Promise.all(upTo(1000).map(() => topic.append({ value })));
        const records = function* () {
          for (let i = 0; i < 3000; i++) yield { value };
        };
        for (const topic of topics) expect((await topic.appendAll(records())).appended).toBe(3000);
        // One that no segment of this size holds is refused alone.
        const outcomes = await Promise.allSettled([
          topics[1].append({ value }),
          topics[1].append({ value: "y".repeat(segmentBytes) }),
          topics[1].append({ value }),
        ]);
        expect(
          outcomes.map((each) =>
            each.status === "fulfilled" ? each.value.offset : (each.reason as TidemarkError).code,
          ),
        ).toEqual([8000, "RECORD_TOO_LARGE", 8001]);
        await leader.close();
        await Promise.all(upTo(1000).map(() => topics[1].append({ value })));
        expect((await topics[1].appendAll(records())).lastOffset).toBe(12_001);
      } finally {
        await follower.close();
      }
    });
  }

  it("first appends to more topics than there are places, and reads of them, in one turn are held back", () =>
    over(
      async (tide) => {
        const topics = upTo(2100).map((i) => tide.topic<number>(`t${i}`));
        const acks = await Promise.all(topics.map((topic, i) => topic.append({ value: i })));
        expect(acks.every(({ offset }) => offset === 0)).toBe(true);
        const reads = await Promise.all(topics.map((topic) => all(topic.read())));
        expect(reads.map(([record]) => record!.value)).toEqual(upTo(2100));
        expect(2 * topics.length).toBeGreaterThan(REQUESTS_MAX);
      },
      { engine: "memory", segmentBytes: 512 * 1024 },
    ));
});

describe("reads and appendAll end", () => {
  /** Cancelled requests, by what is posted to the worker. */
  function cancels(): { count: () => number; end: () => void } {
    const post = MessagePort.prototype.postMessage;
    let count = 0;
    MessagePort.prototype.postMessage = function (this: MessagePort, ...args: unknown[]) {
      if ((args[0] as { op?: string } | undefined)?.op === "cancel") count++;
      return Reflect.apply(post, this, args);
    } as typeof post;
    return { count: () => count, end: () => void (MessagePort.prototype.postMessage = post) };
  }

  for (const role of ["leader", "follower"] as const) {
    it(`return(), throw(), abort and close() end a waiting read and cancel it in the worker (${role})`, async () => {
      const name = fresh();
      const first = await open(name, { engine: "indexeddb" });
      const tide = role === "leader" ? first : await open(name);
      const posted = cancels();
      try {
        const topic = tide.topic<number>("t");
        await topic.append({ value: 1 });
        for (const open of [
          () => topic.read({ from: "latest", follow: true }),
          () => topic.readBatches({ from: "latest", follow: true }),
        ]) {
          const returned = open();
          const waiting = returned.next();
          await topic.append({ value: 2 });
          await waiting;
          const parked = returned.next();
          // A call behind it has been answered: it is parked.
          await topic.append({ value: 3 });
          await parked;
          const last = returned.next();
          await tide.topics();
          const before = posted.count();
          expect(await returned.return!()).toEqual(DONE);
          expect(await last).toEqual(DONE);
          expect(posted.count()).toBe(before + 1);
          const thrown = open();
          const pending = thrown.next();
          await expect(thrown.throw!(new Error("mine"))).rejects.toThrow("mine");
          expect(await pending).toEqual(DONE);
        }
        const stop = new AbortController();
        const following = all(topic.read({ from: "latest", follow: true, signal: stop.signal }));
        stop.abort();
        expect(await following).toEqual([]);
        const left = refusal(() => all(topic.read({ from: "latest", follow: true })));
        await tide.close();
        expect(await left).toBe("CLOSED");
      } finally {
        posted.end();
        await first.close();
      }
    });
  }

  it("appendAll over a source that never yields: an abort and close() end it and the source at once", async () => {
    for (const way of ["abort", "close", "refused"] as const) {
      const tide = await open(fresh(), { engine: "memory" });
      const topic = tide.topic<number>("t");
      let told!: () => void;
      const returned = new Promise<void>((resolve) => (told = resolve));
      let given = 0;
      let asked!: () => void;
      const waits = new Promise<void>((resolve) => (asked = resolve));
      const source: AsyncIterable<{ value: number }> & AsyncIterator<{ value: number }> = {
        [Symbol.asyncIterator]: () => source,
        next: () =>
          given++ < 2
            ? Promise.resolve({ done: false, value: { value: given } })
            : (asked(), new Promise(() => undefined)),
        return: async () => (told(), { done: true, value: undefined }),
      };
      const stop = new AbortController();
      const done = refusal(() => topic.appendAll(way === "refused" ? badSecond() : source, { signal: stop.signal }));
      if (way !== "refused") await waits;
      if (way === "abort") stop.abort(new RangeError("a reason of the application's own"));
      if (way === "close") await tide.close();
      if (way === "abort") expect(String(await done)).toBe("RangeError: a reason of the application's own");
      else expect(await done).toBe(way === "close" ? "CLOSED" : "INVALID_ARGUMENT");
      if (way !== "refused") await returned;
      else expect((await all(topic.read())).map(({ value }) => value)).toEqual([1]);
      await tide.close();
    }
    async function* badSecond(): AsyncGenerator<{ value: number }> {
      yield { value: 1 };
      yield { key: 5, value: 2 } as never;
      yield { value: 3 };
    }
  });

  it("appendAll takes lists, promises of records, records that were read; nothing else", () =>
    over(async (tide) => {
      const topic = tide.topic<number>("t");
      expect(await topic.appendAll([{ value: 1 }, Promise.resolve({ value: 2 }) as never])).toEqual({
        appended: 2,
        firstOffset: 0,
        lastOffset: 1,
      });
      expect(await tide.topic<number>("copy").appendAll(topic.read() as never)).toEqual({
        appended: 2,
        firstOffset: 0,
        lastOffset: 1,
      });
      expect(await topic.appendAll([])).toEqual({ appended: 0, firstOffset: undefined, lastOffset: undefined });
      for (const none of ["abc", 5, null, undefined, {}, { value: 1 }])
        expect(await refusal(() => topic.appendAll(none as never))).toBe("INVALID_ARGUMENT");
      for (const options of [{ acks: "x" }, { onProgress: 5 }, { signal: 1 }, null])
        expect(await refusal(() => topic.appendAll([], options as never))).toBe("INVALID_ARGUMENT");
    }));
});
