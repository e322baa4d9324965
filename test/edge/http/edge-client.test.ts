/**
 * `tidemark/client` in Node against real workerd: what each call does, and what becomes of appends and reads when the
 * network between them fails.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect, type ConnectOptions, type EdgeClient, TidemarkError } from "../../../src/client/index.ts";
import { encodeBatch } from "../../../src/client/encode-batch.ts";
import { copyOf } from "../../../src/record/bytes.ts";
import { readHeader } from "../../../src/record/format.ts";
import { typedContract, type TypedHost } from "../../contract/typed-contract.ts";
import { typedEventsContract } from "../../contract/typed-events-contract.ts";
import { FaultProxy } from "../../sync/proxy.ts";
import { type LocalWorker, startWorker } from "../local-worker.ts";

let worker: LocalWorker;
let proxy: FaultProxy;
const clients: EdgeClient[] = [];

beforeAll(async () => {
  worker = await startWorker();
  proxy = await new FaultProxy(Number(new URL(worker.url).port)).start();
});
afterAll(async () => {
  for (const client of clients) await client.close();
  await proxy.stop();
  await worker.stop();
});

let made = 0;
const fresh = (): string => `client/${++made} ü`;
function client(options: ConnectOptions = {}, url = worker.url): EdgeClient {
  const opened = connect(url, options);
  clients.push(opened);
  return opened;
}

async function allOf<T>(records: AsyncIterable<T>, most = Infinity): Promise<T[]> {
  const found: T[] = [];
  for await (const record of records) if (found.push(record) >= most) break;
  return found;
}

/** Logs of its own under the names that a case uses, and a client for each topic. */
async function typedHost(): Promise<TypedHost> {
  const folder = `/v1/stream/typed-${++made}/`;
  const fetch: ConnectOptions["fetch"] = (url, init) => globalThis.fetch(url.replace("/v1/stream/", folder), init);
  const topicOf = (name: string, options: object) => client({ fetch, transport: "http" }).topic(name, options);
  return Promise.resolve({
    topic: topicOf as never,
    prepare: (name) => client({ fetch }).topic(name, { serializer: "bytes" }).create(),
    tooLarge: { options: {}, text: "x".repeat(2_100_000) },
  });
}
typedContract(typedHost);
typedEventsContract(typedHost);

describe("a topic", () => {
  it("takes records with keys, headers and times, and gives them back whole", async () => {
    const topic = client().topic<{ n: number }>(fresh());
    expect(await topic.state()).toBeUndefined();
    expect(await allOf(topic.read())).toEqual([]);
    const ack = await topic.append({
      key: "k",
      value: { n: 1 },
      headers: { trace: "a1" },
      timestamp: 1_700_000_000_001,
    });
    expect(ack).toMatchObject({ offset: 0, timestamp: 1_700_000_000_001, acks: "flushed", duplicate: false });
    expect(await ack.committed).toEqual({ offset: 0 });
    const batch = await topic.appendBatch([{ value: { n: 2 } }, { key: "gone", value: null, timestamp: -5 }]);
    expect(batch).toMatchObject({ baseOffset: 1, offset: 2 });
    const [first, second, third] = await allOf(topic.read());
    expect({ ...first }).toMatchObject({ offset: 0, id: ack.id, key: "k", value: { n: 1 }, provisional: false });
    expect(first!.timestamp).toBe(1_700_000_000_001);
    expect({ ...first!.headers }).toEqual({ trace: "a1" });
    expect(second).toMatchObject({ offset: 1, key: null, value: { n: 2 } });
    expect(third).toMatchObject({ offset: 2, id: batch.id, key: "gone", value: null, timestamp: -5 });
    expect(await topic.state()).toMatchObject({ logStartOffset: 0, logEndOffset: 3, closed: false });
  });

  it("reads from each position, up to the end as of the call", async () => {
    const topic = client().topic<number>(fresh());
    for (let n = 0; n < 10; n++) await topic.append({ value: n, timestamp: 1_000 * n });
    const from = async (options: Parameters<typeof topic.read>[0]) =>
      (await allOf(topic.read(options))).map(({ value }) => value);
    expect(await from({ from: 7 })).toEqual([7, 8, 9]);
    expect(await from({ from: { last: 2 } })).toEqual([8, 9]);
    expect(await from({ from: { timestamp: 8_500 } })).toEqual([9]);
    expect(await from({ from: "latest" })).toEqual([]);
    expect(await from({ from: 2, to: 4 })).toEqual([2, 3]);
    await expect(from({ from: 11 })).rejects.toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
    const batches = await allOf(topic.readBatches());
    expect(batches.flatMap((batch) => [...batch].map(({ value }) => value))).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("10,000 appends that nobody awaits are in order, each once, in few batches", async () => {
    const topic = client().topic<number>(fresh());
    const acks = await Promise.all(Array.from({ length: 10_000 }, (_, n) => topic.append({ value: n })));
    expect(acks.map(({ offset }) => offset)).toEqual(acks.map((_, n) => n));
    const batches = await allOf(topic.readBatches());
    expect(batches.length).toBeLessThan(20);
    expect(batches.flatMap((batch) => [...batch].map(({ value }) => value))).toEqual(acks.map((_, n) => n));
  });

  it("a read that follows waits for the topic, gets what comes, and ends when the topic is closed", async () => {
    const topic = client().topic<string>(fresh());
    const followed = allOf(topic.read({ follow: true }));
    await topic.append({ value: "a" });
    await topic.append({ value: "b" });
    await topic.end();
    expect((await followed).map(({ value }) => value)).toEqual(["a", "b"]);
    await expect(topic.append({ value: "c" })).rejects.toMatchObject({
      code: "CLOSED",
      details: { edge: "STREAM_CLOSED" },
    });
    expect(await topic.state()).toMatchObject({ closed: true });
    await topic.end();
    expect(await topic.delete()).toBe(true);
    expect(await topic.delete()).toBe(false);
  });

  it("trim() removes what is before an offset, and says why it can't", async () => {
    const path = fresh();
    const topic = client().topic<number>(path);
    await expect(topic.trim(0)).rejects.toMatchObject({ code: "UNKNOWN_TOPIC" });
    for (let value = 0; value < 4; value++) await topic.append({ value });
    await topic.trim(3);
    await topic.trim(1);
    expect(await topic.state()).toMatchObject({ logStartOffset: 3, logEndOffset: 4 });
    expect((await allOf(topic.read())).map(({ value }) => value)).toEqual([3]);
    await expect(topic.trim(5)).rejects.toMatchObject({
      code: "OFFSET_OUT_OF_RANGE",
      details: { edge: "OFFSET_OUT_OF_RANGE" },
    });
    for (const wrong of [-1, 1.5, "3", undefined])
      await expect(topic.trim(wrong as number)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    expect((await topic.append({ value: 4 })).offset).toBe(4);
  });

  it("appendAll() hears an abort, a refused record and the client's end while its source waits", async () => {
    const own = client();
    const topic = own.topic<number>(fresh());
    const asked: string[] = [];
    /** Gives some records, then nothing more. */
    const idle = (name: string, ...records: readonly { value: number }[]): AsyncIterable<{ value: number }> => ({
      [Symbol.asyncIterator]: () => {
        const left = [...records];
        return {
          next: () =>
            left.length > 0 ? Promise.resolve({ value: left.shift()! }) : new Promise<never>(() => undefined),
          return: () => Promise.resolve({ done: true, value: asked.push(name) }),
        };
      },
    });
    const stop = new AbortController();
    const { signal } = stop;
    const stopped = topic.appendAll(idle("stopped", { value: 1 }), { signal });
    stop.abort(new Error("enough"));
    await expect(stopped).rejects.toThrow("enough");
    const refused = topic.appendAll(idle("refused", { value: 1 }, { value: undefined as never }));
    await expect(refused).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "value" } });
    const thrown = new Error("a listener that throws");
    const progress = topic.appendAll([{ value: 2 }], {
      onProgress: () => {
        throw thrown;
      },
    });
    await expect(progress).rejects.toBe(thrown);
    const told = new Promise((resolve) => {
      topic.appendAll(idle("slow", { value: 3 }), { onProgress: resolve }).catch(() => undefined);
    });
    expect(await told).toEqual({ appended: 1, acked: 1 });
    const ended = topic.appendAll(idle("ended", { value: 4 }));
    await own.close();
    await expect(ended).rejects.toMatchObject({ code: "CLOSED" });
    expect(asked.sort()).toEqual(["ended", "refused", "slow", "stopped"]);
  });

  it("an append whose condition needs records makes no topic; one that needs none does", async () => {
    const topic = client().topic<number>(fresh());
    await expect(topic.append({ value: 1 }, { ifEnd: 7 })).rejects.toMatchObject({
      code: "OFFSET_CONFLICT",
      details: { topic: topic.name, logEndOffset: 0, ifEnd: 7 },
    });
    expect(await topic.state()).toBeUndefined();
    expect(await topic.append({ value: 2 }, { ifEnd: 0 })).toMatchObject({ offset: 0 });
    expect(await topic.delete()).toBe(true);
    // The client has seen the topic, and hears that it is gone by the append itself.
    await expect(topic.append({ value: 3 }, { ifEnd: 1 })).rejects.toMatchObject({ code: "OFFSET_CONFLICT" });
    expect(await topic.state()).toBeUndefined();
  });

  it("a 404 that is not the edge's says nothing about a topic", async () => {
    const other = createServer((_, response) => response.writeHead(404).end("nothing here"));
    await new Promise<void>((resolve) => other.listen(0, "127.0.0.1", resolve));
    const { port } = other.address() as AddressInfo;
    try {
      const topic = client({ timeoutMs: 300 }, `http://127.0.0.1:${port}`).topic(fresh());
      for (const call of [() => topic.state(), () => allOf(topic.read({ from: 0 })), () => topic.delete()])
        await expect(call()).rejects.toMatchObject({ message: expect.stringContaining("not from an edge") });
    } finally {
      other.close();
    }
  });

  it("beyond its bound an append is BACKPRESSURE, and appendAll() waits", async () => {
    const path = fresh();
    const topic = client({ inFlightBytesMax: 5_000 }).topic<number>(path);
    const results = await Promise.allSettled(Array.from({ length: 1_000 }, (_, value) => topic.append({ value })));
    const codes = results.map((result) => (result.status === "fulfilled" ? "" : (result.reason as TidemarkError).code));
    const taken = codes.flatMap((code, n) => (code === "" ? [n] : []));
    expect([...new Set(codes)]).toEqual(["", "BACKPRESSURE"]);
    async function* many() {
      for (let value = 1_000; value < 3_000; value++) yield await Promise.resolve({ value });
    }
    const told: number[] = [];
    const done = await topic.appendAll(many(), { onProgress: ({ acked }) => told.push(acked) });
    expect(done).toEqual({ appended: 2_000, firstOffset: taken.length, lastOffset: taken.length + 1_999 });
    expect(told.at(-1)).toBe(2_000);
    expect((await allOf(topic.read())).map(({ value }) => value)).toEqual([
      ...taken,
      ...Array.from({ length: 2_000 }, (_, n) => n + 1_000),
    ]);
    const failing = topic.appendAll([{ value: 1 }, { value: undefined as never }, { value: 3 }]);
    await expect(failing).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "value" } });
  });

  it("a record that the edge refuses fails alone, among others of its batch", async () => {
    const path = fresh();
    const edge = client();
    await edge.topic(path).create();
    const topic = client().topic<string>(path, { serializer: "text" });
    const results = await Promise.allSettled(
      ["1", "{ no JSON", "3", "4", "nor this", "6"].map((value) => topic.append({ value })),
    );
    expect(results.map(({ status }) => status)).toEqual([
      "fulfilled",
      "rejected",
      "fulfilled",
      "fulfilled",
      "rejected",
      "fulfilled",
    ]);
    expect((await allOf(topic.read())).map(({ value }) => value)).toEqual(["1", "3", "4", "6"]);
  });
});

describe("a topic with a schema or middleware", () => {
  /** Fits once it is let go; `false` does not fit. */
  function heldBack() {
    const waiting: (() => void)[] = [];
    const validate = (value: unknown) =>
      new Promise<object>((resolve) =>
        waiting.push(() => resolve(value === false ? { issues: [{ message: "no" }] } : { value })),
      );
    return { waiting, schema: { "~standard": { version: 1, vendor: "test", validate } } as never };
  }

  it("an append whose signal is aborted while it is judged is not appended, and holds up nobody", async () => {
    const { waiting, schema } = heldBack();
    const topic = client().topic(fresh(), { schema });
    const stop = new AbortController();
    const stopped = topic.append({ value: 1 } as never, { signal: stop.signal });
    const other = topic.append({ value: 2 } as never, { ifEnd: 0 });
    while (waiting.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    stop.abort(new Error("never mind"));
    await expect(stopped).rejects.toThrow("never mind");
    for (const go of waiting) go();
    expect(await other).toMatchObject({ offset: 0, duplicate: false, id: expect.any(String) as string });
    expect((await allOf(client().topic(topic.name).read())).map(({ value }) => value)).toEqual([2]);
  });

  it("close() waits for what is judged; the client's signal ends it, and nothing is sent any more", async () => {
    const path = fresh();
    const { waiting, schema } = heldBack();
    const edge = client();
    const acked = edge.topic(path, { schema }).append({ value: 1 } as never);
    while (waiting.length < 1) await new Promise((resolve) => setTimeout(resolve, 1));
    const closed = edge.close();
    waiting[0]!();
    expect((await acked).offset).toBe(0);
    await closed;
    const stop = new AbortController();
    const late = client({ signal: stop.signal })
      .topic(path, { schema })
      .append({ value: 2 } as never);
    while (waiting.length < 2) await new Promise((resolve) => setTimeout(resolve, 1));
    stop.abort();
    await expect(late).rejects.toMatchObject({ code: "CLOSED", details: { reason: "closed" } });
    waiting[1]!();
    expect(await client().topic(path).state()).toMatchObject({ logEndOffset: 1 });
  });

  it("is one object for a name; another schema or middleware is refused by name", async () => {
    const [{ schema }, { schema: other }] = [heldBack(), heldBack()];
    const edge = client();
    const first = edge.topic("one", { schema, version: 2, upcast: { 1: (v: unknown) => v }, use: [] });
    expect(edge.topic("one", { schema, upcast: { 1: (v: unknown) => v } } as never)).toBe(first);
    expect(edge.topic("one")).toBe(first);
    for (const [options, field] of [
      [{ schema: other }, "schema"],
      [{ version: 3 }, "version"],
      [{ use: [] }, "use"],
      [{ serializer: "text" }, "serializer"],
    ] as const)
      expect(() => edge.topic("one", options as never)).toThrow(
        expect.objectContaining({ code: "INVALID_ARGUMENT", details: { field, topic: "one" } }),
      );
  });
});

describe("export()", () => {
  it("gives the whole topic as files that importSegments() takes, with the same offsets and keys", async () => {
    const topic = client().topic<string>(fresh());
    expect(await allOf(topic.export())).toEqual([]);
    const large = "x".repeat(900_000);
    await topic.append({ key: "a", value: "first", headers: { h: "1" } });
    await topic.appendBatch([{ value: "second" }, { key: "b", value: null }]);
    for (let n = 0; n < 11; n++) await topic.append({ key: String(n), value: large });
    await topic.trim(2);
    const files = await allOf(topic.export({ leaderEpoch: 7 }));
    expect(files.map(({ name }) => Number(name))).toEqual([1, expect.any(Number)]);
    for (const { log } of files) expect(readHeader(log).leaderEpoch).toBe(7);
    const copy = client().topic<string>(fresh());
    expect(await copy.importSegments(files)).toMatchObject({ records: 13, firstOffset: 1, nextOffset: 14, damage: [] });
    const [theirs, ours] = [await allOf(copy.read({ from: 2 })), await allOf(topic.read())];
    expect(theirs.map((record) => ({ ...record }))).toEqual(ours.map((record) => ({ ...record })));
    const wrong = topic.export({ leaderEpoch: -1 }).next();
    await expect(wrong).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "leaderEpoch" } });
  });
});

describe("the network", () => {
  it("each append is in the log once, wherever the connection breaks", async () => {
    const path = fresh();
    await client().topic(path).create();
    const topic = client({}, proxy.url).topic<number>(path);
    let n = 0;
    // Through the head of a request, its body, and the answer.
    for (const way of ["up", "down"] as const)
      for (const bytes of [1, 40, 150, 300, 420, 600]) {
        proxy.stopAfter(way, bytes);
        await Promise.all([topic.append({ value: n++ }), topic.append({ value: n++ })]);
        proxy.heal();
      }
    expect((await allOf(client().topic<number>(path).read())).map(({ value }) => value)).toEqual(
      Array.from({ length: n }, (_, i) => i),
    );
  });

  it("an append that can't be sent is TIMEOUT, one that got no answer is OUTCOME_UNKNOWN", async () => {
    const path = fresh();
    await client().topic(path).create();
    const topic = client({ timeoutMs: 300 }, proxy.url).topic<string>(path);
    proxy.refuse();
    await expect(topic.append({ value: "a" })).rejects.toMatchObject({
      code: "TIMEOUT",
      details: { reason: "network" },
    });
    proxy.heal();
    await topic.append({ value: "b" });
    proxy.swallow("down");
    await expect(topic.append({ value: "c" })).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
    proxy.heal();
    // The next one begins a new epoch, whatever became of the one before.
    expect(await topic.append({ value: "d" })).toMatchObject({ duplicate: false });
    const values = (await allOf(client().topic(path).read())).map(({ value }) => value);
    expect(values).toEqual(["b", "c", "d"]);
  });

  it("an append whose answer was lost is not made twice by an edge that has forgotten its producer", async () => {
    const path = fresh();
    await client().topic(path).create();
    const topic = client({}, proxy.url).topic<string>(path);
    await topic.append({ value: "before" });
    proxy.swallow("down");
    const append = topic.append({ value: "once" });
    const failed = expect(append).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN", details: { reason: "forgotten" } });
    const other = client().topic(path);
    while ((await other.state())!.logEndOffset === 1) continue;
    // As many others as the edge remembers by number.
    const value = new TextEncoder().encode("1");
    const batches = Array.from({ length: 1_000 }, (_, producerId) =>
      encodeBatch([{ key: null, value, timestamp: 0 }], { producerId, producerEpoch: 0, baseSequence: 0 }),
    );
    const url = `${worker.url}/v1/stream/${path.split("/").map(encodeURIComponent).join("/")}`;
    const headers = { "content-type": "application/vnd.tidemark.batches" };
    expect((await fetch(url, { method: "POST", headers, body: copyOf(batches) })).status).toBe(200);
    proxy.heal();
    await failed;
    const values = (await allOf(other.read())).map((record) => record.value);
    expect([values.length, values.filter((each) => each === "once").length]).toEqual([1_002, 1]);
    // The client goes on as another epoch.
    expect(await topic.append({ value: "next" })).toMatchObject({ offset: 1_002, duplicate: false });
  });

  it("a follow goes on behind a drop, without a gap and without a repetition", async () => {
    const path = fresh();
    const writer = client().topic<number>(path);
    await writer.append({ value: 0 });
    const seen: number[] = [];
    for await (const { value } of client({}, proxy.url).topic<number>(path).read({ follow: true })) {
      seen.push(value!);
      if (seen.length === 5) break;
      proxy.cut();
      await writer.append({ value: seen.length });
    }
    expect(seen).toEqual([0, 1, 2, 3, 4]);
  });

  it("an address that is not an edge's says so, within its time", async () => {
    const away = client({ timeoutMs: 300 }, "http://127.0.0.1:9");
    await expect(away.topic("a").state()).rejects.toMatchObject({ code: "TIMEOUT", details: { reason: "network" } });
    await expect(allOf(away.topic("a").read())).rejects.toMatchObject({ code: "TIMEOUT" });
  });
});

describe("the end", () => {
  it("a signal ends an append, a call and a follow with its reason", async () => {
    const topic = client({}, proxy.url).topic<string>(fresh());
    await topic.append({ value: "a" });
    proxy.swallow("up", "down");
    const over = new AbortController();
    const { signal } = over;
    const calls = [
      topic.append({ value: "b" }, { signal }),
      topic.state({ signal }),
      topic.appendAll(
        ["c"].map((value) => ({ value })),
        { signal },
      ),
    ];
    const follow = allOf(topic.read({ from: "earliest", follow: true, signal }));
    const reason = new Error("enough");
    setTimeout(() => over.abort(reason), 20);
    for (const call of [...calls, follow]) await expect(call).rejects.toBe(reason);
    proxy.heal();
  });

  it("close() waits for acks and ends reads; a call afterwards is CLOSED", async () => {
    const edge = client();
    const topic = edge.topic<number>(fresh());
    const acks = [topic.append({ value: 1 }), topic.append({ value: 2 })];
    await acks[0];
    const follow = allOf(topic.read({ follow: true }));
    const failed = expect(follow).rejects.toMatchObject({ code: "CLOSED" });
    await Promise.all([edge.close(), edge.close(), failed]);
    expect((await Promise.all(acks)).map(({ offset }) => offset)).toEqual([0, 1]);
    await expect(topic.append({ value: 3 })).rejects.toMatchObject({ code: "CLOSED" });
    await expect(topic.state()).rejects.toMatchObject({ code: "CLOSED" });
    await expect(topic.read().next()).rejects.toMatchObject({ code: "CLOSED" });
  });

  it("a client that is aborted ends everything at once", async () => {
    const over = new AbortController();
    const topic = client({ signal: over.signal }, proxy.url).topic<string>(fresh());
    await topic.append({ value: "a" });
    proxy.swallow("up", "down");
    const calls = [topic.append({ value: "b" }), topic.state(), allOf(topic.read({ follow: true }))];
    const codes = Promise.all(calls.map((call) => call.catch((thrown: TidemarkError) => thrown.code)));
    setTimeout(() => over.abort(), 20);
    expect(await codes).toEqual(["OUTCOME_UNKNOWN", "CLOSED", "CLOSED"]);
    proxy.heal();
  });
});
