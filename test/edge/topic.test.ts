/**
 * `openTopic`, the client for code inside a Worker, inside workerd: what it writes and reads, alone, beside other
 * clients of the same log, and through resets.
 */
import { abortAllDurableObjects, env, SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { openTopic, TidemarkError } from "../../worker/library.ts";
import { encodePath } from "../../worker/wire/paths.ts";
import { call, fill, readAll, real } from "./archive-tools.ts";

const bindings = env;
let topics = 0;
const fresh = (): string => `topic/${++topics}`;

async function all<T>(records: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const record of records) found.push(record);
  return found;
}

describe("openTopic", () => {
  it("appends keys, values and headers, and reads them back; a log that is not there is made", async () => {
    const orders = openTopic<{ total: number }>(bindings, fresh());
    expect(await all(orders.read())).toEqual([]);
    expect(await orders.state()).toBeUndefined();
    const ack = await orders.append({ key: "o-17", value: { total: 42 }, headers: { trace: "a1" }, timestamp: 1_000 });
    expect(ack).toMatchObject({ offset: 0, duplicate: false });
    await orders.append({ key: "o-17", value: null });
    const [first, second] = await all(orders.read({ from: "earliest" }));
    expect([first!.offset, first!.timestamp, first!.key, first!.value, { ...first!.headers }]).toEqual([
      0,
      1_000,
      "o-17",
      { total: 42 },
      { trace: "a1" },
    ]);
    expect([second!.offset, second!.value]).toEqual([1, null]);
    expect(await orders.state()).toEqual({ logStartOffset: 0, logEndOffset: 2, closed: false });
    // The same log, read from outside.
    expect(await (await SELF.fetch(`http://localhost/v1/stream/${orders.name}?offset=-1`)).json()).toEqual([
      { total: 42 },
    ]);
  });

  it("a new log gets the retention that was asked for; an existing log keeps its own", async () => {
    const path = fresh();
    await openTopic<number>(bindings, path, {
      compaction: { minLagMs: 5_000 },
      retention: { maxAgeMs: 60_000 },
    }).append({ key: "a", value: 1 });
    const told = async () =>
      (({ headers }) => [
        headers.get("tidemark-compaction"),
        headers.get("tidemark-compaction-lag-seconds"),
        headers.get("tidemark-retention-seconds"),
      ])(await call(path, "HEAD"));
    expect(await told()).toEqual(["key", "5", "60"]);
    await openTopic<number>(bindings, path, { retention: { maxAgeMs: 1_000 } }).append({ key: "a", value: 2 });
    expect(await told()).toEqual(["key", "5", "60"]);
  });

  it("appends made in one turn are few requests, in order", async () => {
    const path = fresh();
    let asked = 0;
    const LOGS = {
      idFromName: (name: string) => bindings.LOGS.idFromName(name),
      get: (id: never) => (asked++, bindings.LOGS.get(id)),
    };
    const topic = openTopic<number>({ LOGS } as never, path);
    await topic.append({ value: -1 });
    asked = 0;
    const acks = await Promise.all(Array.from({ length: 500 }, (_, i) => topic.append({ value: i })));
    expect(acks.map(({ offset }) => offset)).toEqual(Array.from({ length: 500 }, (_, i) => i + 1));
    expect(asked).toBeLessThanOrEqual(5);
    expect((await all(topic.read({ from: 1 }))).map(({ value }) => value)).toEqual(
      Array.from({ length: 500 }, (_, i) => i),
    );
  });

  it("starts where it is told: an offset, a time, the last n, the end", async () => {
    const topic = openTopic<string>(bindings, fresh(), { serializer: "text" });
    for (const [i, value] of ["a", "b", "c", "d"].entries()) await topic.append({ value, timestamp: 1_000 * i });
    const from = async (position: never) =>
      (await all(topic.read({ from: position }))).map(({ value }) => value).join("");
    expect([
      await from(2 as never),
      await from({ timestamp: 1_500 } as never),
      await from({ last: 1 } as never),
      await from("latest" as never),
    ]).toEqual(["cd", "cd", "d", ""]);
    // Records have whole milliseconds: a record of 1,000 ms is before 1,000.5 ms.
    expect([
      await from({ timestamp: 1_000.5 } as never),
      await from({ timestamp: -5.5 } as never),
      await from({ last: 9 } as never),
    ]).toEqual(["cd", "abcd", "abcd"]);
    const old = openTopic<string>(bindings, fresh(), { serializer: "text" });
    for (const [i, value] of ["a", "b", "c"].entries()) await old.append({ value, timestamp: 1_000 * (i - 2) });
    expect(
      (await all(old.read({ from: { timestamp: -1_000 } }))).map(({ value, timestamp }) => [value, timestamp]),
    ).toEqual([
      ["b", -1_000],
      ["c", 0],
    ]);
  });

  it("follows what others append, until it is told to stop", async () => {
    const path = fresh();
    const topic = openTopic<number>(bindings, path);
    const stop = new AbortController();
    const seen: (number | null)[] = [];
    const following = (async () => {
      for await (const { value } of topic.read({ follow: true, signal: stop.signal }))
        if (seen.push(value) === 3) return;
    })();
    await topic.append({ value: 1 });
    await call(path, "POST", { "content-type": "application/json" }, "[2,3]");
    await following;
    expect(seen).toEqual([1, 2, 3]);
    const idle = all(topic.read({ from: "latest", follow: true, signal: stop.signal }));
    stop.abort(new Error("enough"));
    await expect(idle).rejects.toThrow("enough");
  });

  it.each(["earliest", "latest", 0] as const)(
    "a follow from %s makes a topic that does not exist yet",
    async (from) => {
      const path = fresh();
      const stop = new AbortController();
      const first = openTopic(bindings, path).read({ from, follow: true, signal: stop.signal }).next();
      await expect.poll(async () => (await call(path, "HEAD")).status).toBe(200);
      await openTopic<number>(bindings, path).append({ value: 7 });
      expect((await first).value!.value).toBe(7);
      stop.abort();
    },
  );

  it("a topic that is deleted ends what follows it, and says so", async () => {
    const path = fresh();
    const topic = openTopic<number>(bindings, path);
    await topic.append({ value: 1 });
    const following = topic.read({ follow: true });
    expect((await following.next()).value!.value).toBe(1);
    const next = following.next();
    await call(path, "DELETE");
    await expect(next).rejects.toMatchObject({ code: "UNKNOWN_TOPIC", details: { topic: path } });
  });

  it("a bad record fails alone, and a value that is no record, name or option is refused by its name", async () => {
    const refusal = async (work: () => unknown): Promise<string> => {
      try {
        return String(await work());
      } catch (thrown) {
        return (thrown as Error).message.replace("INVALID_ARGUMENT: ", "");
      }
    };
    const topic = openTopic<unknown>(bindings, fresh());
    for (const [record, message] of [
      [{ key: 17, value: 1 }, /^key must be /],
      ["hello", /^a record must be /],
      [{ key: "a" }, /^value is missing/],
      [{ value: 1, headers: { n: 1 } }, /^headers\.n must be /],
      [{ value: new Map() }, /^value is a Map/],
      [{ value: 5n }, /^value: TypeError/],
      [{ value: 1, timestamp: 1.5 }, /^timestamp must be /],
      [{ key: "\ud800", value: 1 }, /^key has half of a surrogate pair/],
    ] as const) {
      const [first, refused, last] = await Promise.all([
        topic.append({ value: 1 }),
        refusal(() => topic.append(record as never)),
        topic.append({ value: 2 }),
      ]);
      expect([last.offset - first.offset, refused]).toEqual([1, expect.stringMatching(message)]);
      expect(await refusal(() => topic.appendBatch([{ value: 1 }, record as never]))).toMatch(/^records\[1\]/);
    }
    const raw = openTopic<unknown>(bindings, fresh(), { serializer: "bytes" });
    for (const value of ["abc", new Float64Array(1), new ArrayBuffer(1), [1, 2]])
      expect(await refusal(() => raw.append({ value }))).toMatch(/^value must be bytes/);
    for (const name of ["", "\ud800", "x".repeat(1025), 5, undefined, "a/../b", ".", "a\nb", "__ds", "__ds/keys"])
      expect(await refusal(() => openTopic(bindings, name as never))).toMatch(/^name /);
    for (const env of [undefined, {}, { LOGS: 5 }])
      expect(await refusal(() => openTopic(env as never, "t"))).toMatch(/no binding LOGS/);
    for (const options of [
      { codec: "zstd" },
      { serializer: "toString" },
      { tenant: 5 },
      { tenant: "" },
      { idempotent: "yes" },
      { retention: { maxBytes: -1 } },
      null,
    ]) {
      expect(await refusal(() => openTopic(bindings, "t", options as never)), JSON.stringify(options)).toMatch(
        / must be /,
      );
    }
    for (const options of [{ ifEnd: NaN }, { ifEnd: "1" }, { ifEnd: -1 }, null])
      expect(await refusal(() => topic.append({ value: 1 }, options as never))).toMatch(/ must be /);
    for (const options of [
      { maxBytes: 0 },
      { from: NaN },
      { from: { last: -1 } },
      { to: 1.5 },
      { follow: 1 },
      { isolation: "x" },
      { signal: {} },
      null,
    ]) {
      for (const read of [topic.read(options as never), topic.readBatches(options as never)])
        expect(await refusal(() => read.next()), JSON.stringify(options)).toMatch(/ must be /);
    }
  });

  it("records are plain, with every header; text keeps its byte-order mark; bytes may be reused at once", async () => {
    const topic = openTopic<string>(bindings, fresh(), { serializer: "text" });
    const key = new Uint8Array([1, 2]);
    const appended = [
      topic.append({
        key,
        value: "\ufeffa",
        headers: [
          ["h", new Uint8Array([0, 255])],
          ["h", "\ufeff1"],
        ],
      }),
      topic.appendBatch([
        { key, value: "b" },
        { key, value: "c" },
      ]),
    ];
    key.fill(9);
    const [, batch] = await Promise.all(appended);
    expect(batch).toMatchObject({ offset: 2, baseOffset: 1 });
    const [first, second] = await all(topic.read());
    expect({ ...first, headers: { ...first!.headers } }).toMatchObject({
      offset: 0,
      keyBytes: new Uint8Array([1, 2]),
      value: "\ufeffa",
      headers: { h: "\ufeff1" },
      rawHeaders: [
        ["h", new Uint8Array([0, 255])],
        ["h", new Uint8Array([0xef, 0xbb, 0xbf, 49])],
      ],
    });
    expect(JSON.parse(JSON.stringify(second))).toMatchObject({ offset: 1, value: "b" });
    expect([...second!.keyBytes!]).toEqual([1, 2]);
  });

  it("a read that waits ends at once by return(), and by a plain abort as if there were no more", async () => {
    const topic = openTopic<number>(bindings, fresh());
    await topic.append({ value: 1 });
    for (const open of [
      () => topic.read({ from: "latest", follow: true }),
      () => topic.readBatches({ from: "latest", follow: true }),
    ]) {
      const it = open();
      const waiting = it.next();
      expect([await it.return!(), await waiting, await it.next()]).toEqual(
        Array(3).fill({ done: true, value: undefined }),
      );
    }
    const stop = new AbortController();
    const idle = all(topic.read({ from: "latest", follow: true, signal: stop.signal }));
    stop.abort();
    expect(await idle).toEqual([]);
    // "latest" means the end at the time of the call.
    const late = topic.read({ from: "latest", follow: true });
    const known = await topic.state();
    await topic.append({ value: 2 });
    expect([known!.logEndOffset, (await late.next()).value!.value]).toEqual([1, 2]);
    await late.return!();
  });

  it("an append whose condition needs records makes no log; one that needs none does", async () => {
    const topic = openTopic<number>(bindings, fresh());
    await expect(topic.append({ value: 1 }, { ifEnd: 7 })).rejects.toMatchObject({
      code: "OFFSET_CONFLICT",
      details: { logEndOffset: 0, ifEnd: 7 },
    });
    expect(await topic.state()).toBeUndefined();
    expect(await topic.append({ value: 2 }, { ifEnd: 0 })).toMatchObject({ offset: 0 });
    expect((await all(topic.read())).map(({ value }) => value)).toEqual([2]);
  });

  it("errors keep their codes", async () => {
    const topic = openTopic<number>(bindings, fresh());
    await topic.append({ value: 1 });
    await expect(topic.append({ value: 2 }, { ifEnd: 7 })).rejects.toMatchObject({
      code: "OFFSET_CONFLICT",
      details: { logEndOffset: 1 },
    });
    await expect(all(topic.read({ from: 9 }))).rejects.toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
    await expect(topic.append({ value: "x".repeat(2_000_000) as never })).rejects.toMatchObject({
      code: "RECORD_TOO_LARGE",
    });
    await expect(all(openTopic(bindings, topic.name, { tenant: "other" }).read())).resolves.toEqual([]);
  });

  it("through resets: with `idempotent` everything is there once; without, an unknown outcome is said", async () => {
    const sure = openTopic<number>(bindings, fresh(), { idempotent: true });
    const plain = openTopic<number>(bindings, fresh());
    await Promise.all([sure.append({ value: -1 }), plain.append({ value: -1 })]);
    const unknown: string[] = [];
    for (let i = 0; i < 30; i++) {
      const work = [
        sure.append({ value: i }),
        plain.append({ value: i }).catch((error: { code: string }) => void unknown.push(error.code)),
      ];
      if (i % 3 === 0) await abortAllDurableObjects();
      await Promise.all(work);
    }
    expect((await all(sure.read({ from: 1 }))).map(({ value }) => value)).toEqual(
      Array.from({ length: 30 }, (_, i) => i),
    );
    expect(new Set(unknown)).toEqual(new Set(unknown.length > 0 ? ["OUTCOME_UNKNOWN"] : []));
    const values = (await all(plain.read({ from: 1 }))).map(({ value }) => value);
    expect(new Set(values).size).toBe(values.length);
    expect(values.length).toBeGreaterThanOrEqual(30 - unknown.length);
  });

  it("reads what has moved to object storage", async () => {
    const path = `${fresh()}?#%/ä ö`;
    await call(encodePath(path), "PUT");
    const written = await fill(encodePath(path), 1);
    const topic = openTopic<string>(bindings, path, { serializer: "text" });
    let keys = 0;
    for (let turn = 0; keys === 0 && turn < 500; turn++) {
      ({ length: keys } = (await real.SEGMENTS.list({ prefix: `dev/${path}/` })).objects);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    expect(keys).toBe(1);
    let text = "";
    for await (const { value } of topic.read()) text += value;
    expect(text === written).toBe(true);
    expect((await readAll(encodePath(path))) === written).toBe(true);
    // The answer's link leads to the segment, whatever characters the path has.
    const response = await SELF.fetch(`http://localhost/v1/stream/${encodePath(path)}?offset=-1`, {
      headers: { accept: "application/vnd.tidemark.batches" },
    });
    await response.arrayBuffer();
    const [, link] = /<(.*)>/.exec(response.headers.get("link")!)!;
    const segment = await SELF.fetch(`http://localhost${link}`);
    await segment.arrayBuffer();
    expect(segment.status).toBe(200);
  });
});

/** The platform's error for an object that is lost, as a stub rejects. */
const lost = (message: string, more: object = {}): Error =>
  Object.assign(new Error(message), { remote: true, ...more });
const RESET = "Durable Object reset because its code was updated.";

const fetchOf = (id: never, request: Request): Promise<Response> =>
  bindings.LOGS.get(id).fetch(request as never) as Promise<unknown> as Promise<Response>;

/** The real objects, of which the stubs fail with these errors first, or with one always. `asked` are the methods. */
function failing(...errors: Error[]) {
  const asked: string[] = [];
  const always: { error?: Error | undefined } = {};
  const LOGS = {
    idFromName: (name: string) => bindings.LOGS.idFromName(name),
    get: (id: never) => ({
      fetch(request: Request): Promise<Response> {
        asked.push(request.method);
        const error = errors.shift() ?? always.error;
        return error ? Promise.reject(error) : fetchOf(id, request);
      },
    }),
  };
  return { asked, always, env: { LOGS } as never, fail: (...more: Error[]) => void errors.push(...more) };
}

describe("an object that is lost", () => {
  it("is asked once more by reads, state() and the making of a log; what stays is CLOSED or BACKPRESSURE", async () => {
    const { env, asked, always, fail } = failing(lost(RESET));
    const topic = openTopic<number>(env, fresh());
    expect([await topic.state(), asked.splice(0)]).toEqual([undefined, ["HEAD", "HEAD"]]);
    await topic.append({ value: 1 });
    const calls: (() => Promise<unknown>)[] = [
      () => topic.state(),
      () => all(topic.read()),
      () => all(topic.read({ from: { timestamp: 0 } })),
      () => topic.export().next(),
      () => topic.read({ follow: true, from: "latest" }).next(),
      () => openTopic(env, fresh()).read({ follow: true }).next(),
    ];
    for (const call of calls.slice(0, 4)) {
      fail(lost(RESET));
      await call();
    }
    for (const call of calls) {
      always.error = lost("Network connection lost.");
      const reset = await call().catch((thrown: unknown) => thrown);
      expect(reset).toBeInstanceOf(TidemarkError);
      expect(reset).toMatchObject({ code: "CLOSED", kind: "reopen", message: expect.stringContaining("ask again") });
      always.error = lost("Durable Object is overloaded.", { overloaded: true });
      expect(await call().catch((thrown: unknown) => thrown)).toMatchObject({ code: "BACKPRESSURE", kind: "retry" });
    }
  });

  it("leaves the outcome of an append, a trim and an import unknown, and says what to do", async () => {
    const { env, asked, fail } = failing();
    const topic = openTopic<number>(env, fresh());
    await topic.append({ value: 0 });
    fail(lost(RESET));
    await expect(topic.append({ value: 1 })).rejects.toMatchObject({
      code: "OUTCOME_UNKNOWN",
      message: expect.stringContaining("idempotent"),
    });
    fail(lost(RESET));
    await expect(topic.trim(1)).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
    fail(lost(RESET));
    await expect(topic.importSegments([])).rejects.toMatchObject({ code: "OUTCOME_UNKNOWN" });
    fail(lost("Durable Object is overloaded.", { overloaded: true }));
    await expect(topic.append({ value: 1 })).rejects.toMatchObject({ code: "BACKPRESSURE" });
    asked.splice(0);
    const sure = openTopic<number>(env, topic.name, { idempotent: true });
    fail(lost(RESET), lost("Durable Object is overloaded.", { overloaded: true }));
    expect([await sure.append({ value: 1 }), asked]).toMatchObject([{ offset: 1 }, ["POST", "POST", "POST"]]);
  });

  it("that is lost while its answer comes is one that gave none", async () => {
    const topic = openTopic<number>(bindings, fresh());
    await topic.append({ value: 7 });
    let cut = 0;
    const LOGS = {
      idFromName: (name: string) => bindings.LOGS.idFromName(name),
      get: (id: never) => ({
        async fetch(request: Request): Promise<Response> {
          const answer = await fetchOf(id, request);
          if (request.method !== "GET" || cut++ > 0) return answer;
          await answer.body?.cancel();
          const body = new ReadableStream({ pull: (controller) => controller.error(lost(RESET)) });
          return new Response(body, answer);
        },
      }),
    };
    expect((await all(openTopic<number>({ LOGS } as never, topic.name).read())).map(({ value }) => value)).toEqual([7]);
    expect(cut).toBe(2);
  });
});

describe("calls of one turn", () => {
  it("whose records the stream refuses fail alone, in any place; the others are appended in order", async () => {
    for (const bad of [[0], [7], [3, 4], [0, 5, 9], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]]) {
      const { env, asked } = failing();
      const topic = openTopic<unknown>(env, fresh(), { idempotent: bad.length > 1 });
      // A text that is no JSON, as a serializer of somebody's own may make it.
      const raw = openTopic<string>(env, topic.name, { serializer: "text", idempotent: bad.length > 1 });
      await topic.append({ value: "first" });
      asked.splice(0);
      const calls = Array.from({ length: 10 }, (_, i) => {
        const value = bad.includes(i) ? `no JSON ${i}` : String(i);
        return i % 4 === 3 ? raw.appendBatch([{ value: "1000" }, { value }]) : raw.append({ value });
      });
      const later = Promise.resolve().then(() => raw.append({ value: "10" }));
      const outcomes = await Promise.allSettled(calls);
      await later;
      expect(outcomes.flatMap(({ status }, i) => (status === "rejected" ? [i] : []))).toEqual(bad);
      for (const outcome of outcomes)
        if (outcome.status === "rejected") expect(outcome.reason.message).toMatch(/one JSON message/);
      // Counted in the call, not in the batch that it shared.
      expect(bad.map((i) => (outcomes[i] as PromiseRejectedResult).reason.details.record)).toEqual(
        bad.map((i) => (i % 4 === 3 ? 1 : 0)),
      );
      const read = await all(topic.read({ from: 1 }));
      expect(read.map(({ value }) => value)).toEqual(
        Array.from({ length: 11 }, (_, i) => i).flatMap((i) => (bad.includes(i) ? [] : i % 4 === 3 ? [1000, i] : [i])),
      );
      for (const [i, outcome] of outcomes.entries())
        if (outcome.status === "fulfilled")
          expect(read.find(({ offset }) => offset === outcome.value.offset)!.value).toBe(i);
      // One for each call that is refused, and for the groups of two handles.
      expect(asked.filter((method) => method === "POST").length).toBeLessThanOrEqual(bad.length + 3);
    }
  });

  it("beyond what may wait are BACKPRESSURE, and drain", async () => {
    const topic = openTopic<Uint8Array>(bindings, fresh(), { serializer: "bytes" });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, () => topic.append({ value: new Uint8Array(900_000) })),
    );
    const codes = outcomes.map((each) => (each.status === "rejected" ? each.reason.code : "ok"));
    expect([codes.indexOf("BACKPRESSURE"), new Set(codes).size]).toEqual([18, 2]);
    expect((await topic.state())!.logEndOffset).toBe(18);
  });
});
