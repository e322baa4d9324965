/** The public API in a real page: worker, ports, OPFS, all of it. */
import { describe, expect, it } from "vitest";
import { open, type Tide, TidemarkError } from "../../src/browser/index.ts";
import { meanwhile } from "./meanwhile.ts";

let names = 0;
const fresh = () => `open-${Date.now()}-${names++}`;
const SMALL = 64 * 1024;

async function collect<T>(records: AsyncIterable<{ offset: number; value: T | null }>): Promise<[number, T | null][]> {
  const found: [number, T | null][] = [];
  for await (const { offset, value } of records) found.push([offset, value]);
  return found;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "no error";
  } catch (thrown) {
    return thrown instanceof TidemarkError ? thrown.code : `not ours: ${String(thrown)}`;
  }
}

for (const engine of ["opfs", "indexeddb", "memory"] as const) {
  describe(`open() over ${engine}`, () => {
    it("the example of the API: append, read, follow, appendAll", async () => {
      const tide = await open(fresh(), { engine, segmentBytes: SMALL });
      expect(tide.storage).toMatchObject({ engine, durability: engine === "memory" ? "none" : "device" });
      const orders = tide.topic<{ total: number }>("orders", { retention: { maxBytes: 512 * 1024 * 1024 } });
      const before = Date.now();
      const { offset, timestamp, acks } = await orders.append({
        key: "o-17",
        value: { total: 42 },
        headers: { trace: "a1" },
      });
      expect([offset, acks]).toEqual([0, "flushed"]);
      expect(timestamp).toBeGreaterThanOrEqual(before);
      for await (const record of orders.read({ from: "earliest" })) {
        expect([record.offset, record.key, record.value, { ...record.headers }]).toEqual([
          0,
          "o-17",
          { total: 42 },
          { trace: "a1" },
        ]);
      }
      const controller = new AbortController();
      const followed: number[] = [];
      const following = (async () => {
        for await (const record of orders.read({
          from: { timestamp: before },
          follow: true,
          signal: controller.signal,
        })) {
          followed.push(record.value!.total);
          if (followed.length === 301) controller.abort(new Error("seen all"));
        }
      })();
      const progress: number[] = [];
      async function* source() {
        for (let i = 0; i < 300; i++) yield { key: `o-${i}`, value: { total: i } };
      }
      const done = await orders.appendAll(source(), { onProgress: ({ acked }) => progress.push(acked) });
      expect(done).toEqual({ appended: 300, firstOffset: 1, lastOffset: 300 });
      expect(progress.at(-1)).toBe(300);
      await expect(following).rejects.toThrow("seen all");
      expect(followed).toEqual([42, ...Array.from({ length: 300 }, (_, i) => i)]);
      await tide.close();
      expect(await codeOf(orders.append({ value: { total: 1 } }))).toBe("CLOSED");
    });

    it("what was acked is there after close and open, in segments, found by offset and by time", async () => {
      const name = fresh();
      let tide = await open(name, { engine, segmentBytes: SMALL });
      let topic = tide.topic<string>("t", { serializer: "text" });
      for (let i = 0; i < 30; i++)
        await topic.appendBatch(
          Array.from({ length: 50 }, (_, j) => ({
            value: `${i}-${j}-${"x".repeat(100)}`,
            timestamp: 1000 + i * 50 + j,
          })),
        );
      await topic.roll();
      const state = await topic.state();
      expect(state.segments.length).toBeGreaterThan(3);
      if (engine !== "memory") {
        await tide.close();
        tide = await open(name, { engine: "auto", segmentBytes: SMALL });
        expect(tide.storage.engine).toBe(engine);
        expect(tide.recovery.map(({ log, logEndOffset, cleanShutdown }) => [log, logEndOffset, cleanShutdown])).toEqual(
          [["t", 1500, true]],
        );
        topic = tide.topic<string>("t", { serializer: "text" });
      }
      expect((await collect(topic.read({ from: 777, to: 778 })))[0]![1]).toMatch(/^15-27-/);
      expect((await collect(topic.read({ from: { timestamp: 1777 }, to: 778 })))[0]![0]).toBe(777);
      expect(await collect(topic.read())).toHaveLength(1500);
      const seek = await topic.explainSeek({ offset: 777 });
      expect(seek!.steps.length).toBeGreaterThan(1);
      expect(seek!.batch.length).toBeGreaterThan(5000);
      const { name: file, log, index } = await topic.exportSegment(state.segments[1]!.baseOffset);
      expect(file).toBe(String(state.segments[1]!.baseOffset).padStart(20, "0"));
      expect(log.length).toBe(state.segments[1]!.bytes);
      expect(index.length).toBe(state.segments[1]!.offsetEntries * 8);
      expect(await tide.topics()).toEqual(["t"]);
      await tide.close();
    });

    it("a thousand un-awaited appends, every level, tombstones, gzip, ifEnd", async () => {
      const tide = await open(fresh(), { engine, segmentBytes: SMALL });
      const topic = tide.topic<number>("t", { codec: "gzip", compaction: true });
      const acks = await Promise.all(
        Array.from({ length: 1000 }, (_, i) => topic.append({ key: `k${i % 7}`, value: i })),
      );
      expect(acks.map(({ offset }) => offset)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
      for (const level of ["accepted", "written", "flushed"] as const)
        expect((await topic.append({ key: "l", value: 1 }, { acks: level })).acks).toBe(level);
      await topic.append({ key: "k3", value: null });
      expect(await codeOf(topic.append({ value: 1 }, { ifEnd: 5 }))).toBe("OFFSET_CONFLICT");
      await topic.roll();
      await topic.clean();
      const left = await collect(topic.read());
      expect(left.map(([, value]) => value)).toEqual([993, 994, 995, 996, 998, 999, 1, null]);
      await tide.close();
    });
  });
}

describe("alone, and ends that are ends", () => {
  it("a read that is left early leaves nothing running behind", async () => {
    const tide = await open(fresh(), { engine: "memory" });
    const topic = tide.topic<number>("t");
    for (let i = 0; i < 20; i++) await topic.append({ value: i });
    const posted: unknown[] = [];
    const post = MessagePort.prototype.postMessage;
    try {
      for (let i = 0; i < 5; i++)
        for await (const batch of topic.readBatches({ maxBytes: 1 })) if (batch.count > 0) break;
      await topic.append({ value: 20 });
      MessagePort.prototype.postMessage = function (this: MessagePort, ...args: unknown[]) {
        posted.push(args[0]);
        return Reflect.apply(post, this, args);
      } as typeof post;
      for (let i = 0; i < 10; i++) await topic.state();
    } finally {
      MessagePort.prototype.postMessage = post;
    }
    // state() goes over a port of its own; on the data port nothing is asked any more but that.
    expect(
      posted.map((message) => (message as { op?: string }).op).filter((op) => op !== undefined && op !== "control"),
    ).toEqual([]);
    expect(posted).not.toEqual([]);
    await tide.close();
  });

  it("bad arguments are typed", async () => {
    expect(await codeOf(open("no/slash"))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(open(fresh(), { segmentBytes: 100_000 }))).toBe("INVALID_ARGUMENT");
    for (const leaderTimeoutMs of [1_499, 0, NaN]) {
      await expect(open(fresh(), { leaderTimeoutMs })).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
        details: { leaderTimeoutMs },
      });
    }
    const given: [string, object][] = [
      ["worker", { worker: () => Promise.resolve() }],
      ["worker", { worker: () => null }],
      ["signal", { signal: window }],
      ["sync", Object.defineProperty({}, "sync", { get: () => expect.fail("planted"), enumerable: true })],
    ];
    for (const [field, options] of given)
      await expect(open(fresh(), options)).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field } });
    // A port that browsers never ask.
    for (const field of ["assets", "kernel", "signal", "sync", "worker", "engine"]) {
      const trap = (): never => {
        throw new RangeError("planted");
      };
      const named = { code: "INVALID_ARGUMENT", details: { field } };
      await expect(open(fresh(), Object.defineProperty({}, field, { get: trap }))).rejects.toMatchObject(named);
    }
    const hostile = new Proxy({}, { get: () => expect.fail("planted") });
    await expect(open(fresh(), { signal: hostile as AbortSignal })).rejects.toMatchObject({
      details: { field: "signal" },
    });
    expect(await codeOf(open(fresh(), { kernel: "http://127.0.0.1:9/kernel.wasm" }))).toBe("LOAD_FAILED");
    expect(await codeOf(open(fresh(), { kernel: new URL("/nowhere/kernel.wasm", location.href) }))).toBe("LOAD_FAILED");
    const tide: Tide = await open(fresh(), { engine: "memory" });
    expect(await codeOf((async () => tide.topic("no/slash"))())).toBe("INVALID_ARGUMENT");
    expect(await codeOf(tide.topic("t").append({ value: () => 1 }))).toBe("INVALID_ARGUMENT");
    expect(await codeOf(tide.topic("t").append({ value: "x".repeat(1024 * 1024) }))).toBe("RECORD_TOO_LARGE");
    expect((await tide.topic("t").append({ value: "fine" })).offset).toBe(0);
    await tide.close();
  });

  it("a worker that dies settles every call and says so; the data it acked is there for the next", async () => {
    const name = fresh();
    let worker: Worker | undefined;
    const make = () =>
      (worker = new Worker(new URL("../../src/browser/worker/worker-entry.ts", import.meta.url), { type: "module" }));
    const tide = await open(name, { worker: make });
    const events: string[] = [];
    tide.on(({ type }) => events.push(type));
    const topic = tide.topic<number>("t");
    await topic.append({ value: 1 });
    const following = codeOf(collect(topic.read({ follow: true })));
    const appends = Array.from({ length: 20 }, (_, i) =>
      topic.append({ value: i }).then(
        () => "acked",
        (error: TidemarkError) => error.code,
      ),
    );
    worker!.terminate();
    const outcomes = await Promise.all(appends);
    expect(
      outcomes.every((outcome) => ["acked", "OUTCOME_UNKNOWN", "CLOSED"].includes(outcome)),
      outcomes.join(),
    ).toBe(true);
    expect(await following).toBe("CLOSED");
    expect(await codeOf(topic.state())).toBe("CLOSED");
    expect(events).toContain("closed");
    const again = await open(name);
    const values = await collect(again.topic<number>("t").read());
    expect(values.length).toBeGreaterThanOrEqual(1 + outcomes.filter((outcome) => outcome === "acked").length);
    await again.close();
  });

  const mute = fresh();
  const muteEnds = meanwhile(() => {
    const worker = () => new Worker(URL.createObjectURL(new Blob([""], { type: "text/javascript" })));
    return codeOf(open(mute, { worker }));
  });
  it("a worker that never says a word ends the open", async () => {
    expect(await muteEnds()).toBe("TIMEOUT");
    expect(await codeOf((async () => (await open(mute)).close())())).toBe("no error");
  });

  it("a worker that dies while it opens ends the open", async () => {
    let worker: Worker | undefined;
    const make = () =>
      (worker = new Worker(new URL("../../src/browser/worker/worker-entry.ts", import.meta.url), { type: "module" }));
    const name = fresh();
    const locks = async () =>
      (await navigator.locks.query())
        .held!.map((lock) => lock.name!)
        .filter((lock) => lock.startsWith("tidemark-worker:"));
    const others = await locks();
    const opening = codeOf(open(name, { worker: make }));
    const holds = async () => (await locks()).some((lock) => !others.includes(lock));
    // The lock comes before everything that touches storage.
    await expect.poll(holds, { interval: 5 }).toBe(true);
    worker!.terminate();
    // It may have been through by then; then the tide is open, and closed by the worker's end. Or had not said a word.
    expect(["CLOSED", "no error", "TIMEOUT"]).toContain(await opening);
    expect(await codeOf((async () => (await open(name)).close())())).toBe("no error");
  });
});
