/**
 * One stream in its Durable Object, inside workerd: what survives eviction and reset, how many rows an append costs,
 * and one dialect reading what another wrote.
 */
import { abortAllDurableObjects, env, evictDurableObject, runInDurableObject, SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { readHeader } from "../../src/record/format.ts";
import { splitBatches } from "../../src/record/record-batch.ts";
import { objectName } from "../../worker/rpc/stubs.ts";
import { edgeKernel } from "../../worker/kernel.ts";

const kernel = await edgeKernel();
const { LOGS } = env;
const BATCHES = "application/vnd.tidemark.batches";
const TEXT = { "content-type": "text/plain" };
const JSON_TYPE = { "content-type": "application/json" };
let streams = 0;

const fresh = (): string => `edge/${++streams}`;
/** Sends a request and reads the whole body: an answer that is not read keeps its object from being evicted. */
async function call(
  path: string,
  method: string,
  headers: Record<string, string> = {},
  body?: string | Uint8Array,
): Promise<Response> {
  const response = await SELF.fetch(`http://localhost/v1/stream/${path}`, {
    method,
    headers,
    ...(body !== undefined && { body: body as BodyInit }),
  });
  const bytes = await response.arrayBuffer();
  return new Response([204, 304].includes(response.status) ? null : bytes, response);
}
const read = async (path: string, query = "?offset=-1"): Promise<string> =>
  (await SELF.fetch(`http://localhost/v1/stream/${path}${query}`)).text();
const objectOf = (path: string): never => LOGS.get(LOGS.idFromName(objectName("dev", path))) as never;
const producing = (id: string, epoch: number, seq: number) => ({
  "producer-id": id,
  "producer-epoch": String(epoch),
  "producer-seq": String(seq),
});

function tables(path: string): Promise<{ chunks: number; meta: unknown[] }> {
  return runInDurableObject(
    objectOf(path),
    (_: unknown, state: { storage: { sql: { exec(query: string): { toArray(): Record<string, unknown>[] } } } }) => ({
      chunks: Number(state.storage.sql.exec("SELECT count(*) AS n FROM chunk").toArray()[0]!["n"]),
      meta: state.storage.sql.exec("SELECT * FROM meta ORDER BY key").toArray(),
    }),
  );
}

function batchOf(values: readonly string[], producer = -1, sequence = -1, timestamp = 1_000): Uint8Array {
  const builder = new BatchBuilder(kernel);
  values.forEach((value, i) =>
    builder.tryAppend({ key: null, value: new TextEncoder().encode(value), timestamp: timestamp + i }),
  );
  return builder.build({ producerId: producer, producerEpoch: producer < 0 ? -1 : 0, baseSequence: sequence });
}

describe("rows", () => {
  it("an append writes one chunk and nothing else; appends that arrive together share one", async () => {
    const path = fresh();
    await call(path, "PUT", TEXT);
    const before = await tables(path);
    await call(path, "POST", { ...TEXT, ...producing("p", 0, 0), "stream-seq": "a" }, "one");
    expect(await tables(path)).toEqual({ chunks: before.chunks + 1, meta: before.meta });
    await Promise.all(Array.from({ length: 64 }, (_, i) => call(path, "POST", TEXT, `${i},`)));
    const after = await tables(path);
    expect(after.meta).toEqual(before.meta);
    expect(after.chunks - before.chunks).toBeLessThanOrEqual(32);
    expect((await read(path)).split(",").length).toBe(65);
  });

  it("asking for a stream that is not there writes nothing", async () => {
    const path = fresh();
    for (const method of ["GET", "HEAD", "DELETE"]) expect((await call(path, method)).status).toBe(404);
    expect((await call(path, "POST", TEXT, "x")).status).toBe(404);
    const count = await runInDurableObject(
      objectOf(path),
      (_: unknown, state: { storage: { sql: { exec(query: string): { toArray(): unknown[] } } } }) =>
        state.storage.sql.exec("SELECT name FROM sqlite_master WHERE name IN ('chunk', 'meta')").toArray().length,
    );
    expect(count).toBe(0);
  });
});

describe("eviction and reset", () => {
  it("an evicted object knows producers, Stream-Seq, end and closure again", async () => {
    const path = fresh();
    await call(path, "PUT", TEXT);
    await call(path, "POST", { ...TEXT, ...producing("a", 0, 0), "stream-seq": "b" }, "one ");
    await call(path, "POST", { ...TEXT, ...producing("a", 0, 1) }, "two ");
    await evictDurableObject(objectOf(path));
    const again = await call(path, "POST", { ...TEXT, ...producing("a", 0, 1) }, "two ");
    expect([again.status, again.headers.get("producer-seq")]).toEqual([204, "1"]);
    expect((await call(path, "POST", { ...TEXT, "stream-seq": "a" }, "x")).status).toBe(409);
    expect((await call(path, "POST", { ...TEXT, ...producing("a", 0, 3) }, "x")).status).toBe(409);
    const last = await call(path, "POST", { ...TEXT, ...producing("a", 0, 2), "stream-closed": "true" }, "three");
    expect(last.status).toBe(200);
    await evictDurableObject(objectOf(path));
    const repeated = await call(path, "POST", { ...TEXT, ...producing("a", 0, 2), "stream-closed": "true" }, "three");
    expect([repeated.status, repeated.headers.get("stream-closed")]).toEqual([204, "true"]);
    expect((await call(path, "POST", TEXT, "x")).status).toBe(409);
    expect(await read(path)).toBe("one two three");
  });

  it("producers are still known after their segment was sealed", async () => {
    const path = fresh();
    await call(path, "PUT", TEXT);
    await call(path, "POST", { ...TEXT, ...producing("early", 0, 0) }, "first ");
    for (let i = 0; i < 6; i++) await call(path, "POST", TEXT, "x".repeat(900_000));
    await evictDurableObject(objectOf(path));
    expect((await call(path, "POST", { ...TEXT, ...producing("early", 0, 0) }, "first ")).status).toBe(204);
    expect((await call(path, "POST", { ...TEXT, ...producing("early", 0, 1) }, "second")).status).toBe(200);
  });

  it("acknowledged records are there once after resets at any moment; retries write nothing twice", async () => {
    const path = fresh();
    await call(path, "PUT", JSON_TYPE);
    const writers = 8;
    const each = 12;
    let resets = 0;
    const write = async (id: number) => {
      for (let seq = 0; seq < each;) {
        const headers = { ...JSON_TYPE, ...producing(`w${id}`, 0, seq) };
        const status = await call(path, "POST", headers, JSON.stringify([[id, seq]])).then(
          (answer) => answer.status,
          () => 0,
        );
        if (status === 200 || status === 204) seq++;
      }
    };
    const done = Promise.all(Array.from({ length: writers }, (_, id) => write(id)));
    let isDone = false;
    void done.then(() => (isDone = true));
    while (!isDone && resets < 12) {
      await SELF.fetch(`http://localhost/v1/stream/${path}?offset=now`).catch(() => undefined);
      await abortAllDurableObjects();
      resets++;
    }
    await done;
    const records = JSON.parse(await read(path)) as [number, number][];
    expect(resets).toBeGreaterThan(0);
    for (let id = 0; id < writers; id++) {
      expect(records.filter(([writer]) => writer === id).map(([, seq]) => seq)).toEqual(
        Array.from({ length: each }, (_, seq) => seq),
      );
    }
  });

  it("a long-poll outlives the eviction of the object that it waits for", async () => {
    const path = fresh();
    const { headers } = await call(path, "PUT", TEXT);
    const waiting = SELF.fetch(
      `http://localhost/v1/stream/${path}?offset=${headers.get("stream-next-offset")}&live=long-poll`,
    );
    // The reader must be connected before the object is evicted.
    const sockets = () =>
      runInDurableObject(
        objectOf(path),
        (_: unknown, state: { getWebSockets(): unknown[] }) => state.getWebSockets().length,
      );
    while ((await sockets()) === 0);
    await evictDurableObject(objectOf(path));
    await call(path, "POST", TEXT, "woken");
    const answer = await waiting;
    expect([answer.status, await answer.text()]).toEqual([200, "woken"]);
  });

  it("a fork reads through its source after both were evicted, and cleans up behind a deleted one", async () => {
    const [source, fork] = [fresh(), fresh()];
    await call(source, "PUT", TEXT, "shared ");
    await call(fork, "PUT", { ...TEXT, "stream-forked-from": `/v1/stream/${source}` });
    await call(fork, "POST", TEXT, "own");
    await call(source, "DELETE");
    await evictDurableObject(objectOf(source));
    await evictDurableObject(objectOf(fork));
    expect([await read(fork), (await call(source, "HEAD")).status]).toEqual(["shared own", 410]);
    await call(fork, "DELETE");
    for (let status = 0; status !== 404;) ({ status } = await call(source, "HEAD"));
  });
});

describe("batches", () => {
  it("come back byte for byte but for base offset and epoch, and are readable in the other dialect", async () => {
    const path = fresh();
    await call(path, "PUT", TEXT, "zero ");
    const batch = batchOf(["one ", "two "], 7, 0);
    const answer = await call(path, "POST", { "content-type": BATCHES }, batch);
    expect([answer.status, await answer.json()]).toEqual([
      200,
      { appended: [{ baseOffset: 1, lastOffset: 2, duplicate: false, leaderEpoch: expect.any(Number) }] },
    ]);
    expect(await read(path)).toBe("zero one two ");
    const response = await SELF.fetch(`http://localhost/v1/stream/${path}?offset=-1`, { headers: { accept: BATCHES } });
    const [, stored] = splitBatches(new Uint8Array(await response.arrayBuffer()));
    expect(readHeader(stored!).baseOffset).toBe(1);
    expect(stored!.slice(16)).toEqual(batch.slice(16));
    expect(stored!.slice(8, 12)).toEqual(batch.slice(8, 12));
  });

  it("a repeated batch is a duplicate with its first offsets; a gap and other bytes are refused", async () => {
    const path = fresh();
    await call(path, "PUT", TEXT);
    const post = async (batch: Uint8Array, headers = {}) => {
      const response = await call(path, "POST", { "content-type": BATCHES, ...headers }, batch);
      return [response.status, await response.json()] as [number, { appended?: unknown; error?: { code: string } }];
    };
    await post(batchOf(["a", "b"], 9, 0));
    await evictDurableObject(objectOf(path));
    expect(await post(batchOf(["a", "b"], 9, 0))).toMatchObject([
      200,
      { appended: [{ baseOffset: 0, lastOffset: 1, duplicate: true }] },
    ]);
    expect(await post(batchOf(["c"], 9, 5))).toMatchObject([409, { error: { code: "OUT_OF_ORDER_SEQUENCE" } }]);
    expect(await post(batchOf(["x", "y"], 9, 0))).toMatchObject([409, { error: { code: "SEQUENCE_CONFLICT" } }]);
    expect(await post(batchOf(["c"]), { "stream-expected-offset": "0000000000000001_0000000000000000" })).toMatchObject(
      [409, { error: { code: "OFFSET_CONFLICT" } }],
    );
    expect(await post(batchOf(["c"]), { "stream-expected-offset": "0000000000000002_0000000000000000" })).toMatchObject(
      [200, {}],
    );
    expect(await read(path)).toBe("abc");
  });

  it("reads start at a time", async () => {
    const path = fresh();
    await call(path, "PUT", TEXT);
    for (const [value, time] of [
      ["old", 1_000],
      ["mid", 2_000],
      ["new", 3_000],
    ] as const)
      await call(path, "POST", { "content-type": BATCHES }, batchOf([value], -1, -1, time));
    const response = await SELF.fetch(`http://localhost/v1/stream/${path}?timestamp=1500`, {
      headers: { accept: BATCHES },
    });
    expect(
      splitBatches(new Uint8Array(await response.arrayBuffer())).map((batch) => readHeader(batch).baseOffset),
    ).toEqual([1, 2]);
  });

  it("bytes that are no batch, and batches that the other dialect cannot show, change nothing", async () => {
    const path = fresh();
    await call(path, "PUT", JSON_TYPE, "[1]");
    const good = batchOf(['{"a":1}']);
    const bad: [string, Uint8Array][] = [
      ["empty", new Uint8Array(0)],
      ["noise", new Uint8Array(200).fill(7)],
      ["truncated", good.slice(0, -3)],
      ["a flipped bit", good.map((byte, i) => (i === 70 ? byte ^ 1 : byte))],
      ["no JSON", batchOf(["{"])],
      ["two messages in one record", batchOf(["1,2"])],
      ["negative length", good.map((byte, i) => (i === 8 ? 0xff : byte))],
    ];
    for (const [what, body] of bad) {
      const response = await call(path, "POST", { "content-type": BATCHES }, body);
      expect([what, response.status >= 400 && response.status < 500]).toEqual([what, true]);
      expect(((await response.json()) as { error: { code: string } }).error.code).toEqual(expect.any(String));
    }
    expect(await read(path)).toBe("[1]");
  });
});

describe("JSON", () => {
  it("messages keep the client's own text: large numbers, escapes, nested arrays", async () => {
    const path = fresh();
    await call(path, "PUT", JSON_TYPE);
    const messages = ['{"n":12345678901234567890}', '"a,]\\"[b"', "[1,[2]]", "1.10", '{"k":[{"x":"}"}]}'];
    await call(path, "POST", JSON_TYPE, `[ ${messages.join(" ,\n ")} ]`);
    await call(path, "POST", JSON_TYPE, '{"single":true}');
    expect(await read(path)).toBe(`[${[...messages, '{"single":true}'].join(",")}]`);
  });

  it("a body larger than a row is one append of several records, and text is cut between characters", async () => {
    const path = fresh();
    await call(path, "PUT", TEXT);
    const text = "ä€😀".repeat(300_000);
    expect((await call(path, "POST", TEXT, text)).status).toBe(204);
    let found = "";
    for (let offset = "-1"; ;) {
      const response = await SELF.fetch(`http://localhost/v1/stream/${path}?offset=${offset}`);
      // Each answer is valid text by itself.
      found += new TextDecoder("utf-8", { fatal: true }).decode(await response.arrayBuffer());
      offset = response.headers.get("stream-next-offset")!;
      if (response.headers.get("stream-up-to-date")) break;
    }
    expect(found === text).toBe(true);
  });
});
