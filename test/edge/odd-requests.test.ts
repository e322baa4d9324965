/**
 * Requests that are nearly right, inside workerd: parameters that are given twice, and parameters and headers that the
 * answer would not heed; methods that an address does not take, paths that no address can name, tokens with wrong
 * times, objects that are lost while they are asked, and streams that are made anew while they are read.
 */
import { env } from "cloudflare:test";
import { type JWTPayload, SignJWT } from "jose";
import { describe, expect, it } from "vitest";
import type { Env } from "../../worker/env.ts";
import { handle } from "../../worker/front/router.ts";
import { openTopic } from "../../worker/library.ts";

const ORIGIN = "http://127.0.0.1";
const open: Env = { ...env, TIDEMARK_OPEN_ACCESS: "loopback" };
const JSON_TYPE = { "content-type": "application/json" };
const LINES = "application/x-ndjson";
const at = (offset: number): string => `${String(offset).padStart(16, "0")}_${"0".repeat(16)}`;

interface Asked {
  readonly headers?: Record<string, string>;
  readonly body?: string;
  readonly settings?: Env;
}

const ask = (method: string, path: string, { headers = {}, body, settings = open }: Asked = {}): Promise<Response> =>
  handle(new Request(ORIGIN + path, { method, headers, ...(body !== undefined && { body }) }), settings);

async function errorIn(response: Response) {
  const { error } = (await response.json()) as { error: { code: string; message: string; details: object } };
  return { status: response.status, code: error.code, message: error.message, details: error.details };
}

let count = 0;
/** A stream of three JSON messages. */
async function stream(): Promise<string> {
  const path = `/v1/stream/odd/${++count}`;
  expect((await ask("PUT", path, { headers: JSON_TYPE, body: "[1,2,3]" })).status).toBe(201);
  return path;
}

const OFFSET = "0000000000000001_0000000000000000";

describe("headers that a method does not heed are refused by name, and change nothing", () => {
  const frame = { "content-type": "application/vnd.tidemark.frame" };
  it.each([
    ["DELETE", "Tidemark-Trim-Before", OFFSET, {}],
    ["DELETE", "Stream-Expected-Offset", OFFSET, {}],
    ["PUT", "Tidemark-Trim-Before", OFFSET, JSON_TYPE],
    ["PUT", "Producer-Id", "a", JSON_TYPE],
    ["PUT", "Tidemark-Resent-Since", "nonsense", JSON_TYPE],
    ["POST", "Tidemark-Retention-Bytes", "1", JSON_TYPE],
    ["POST", "Tidemark-Compaction", "key", JSON_TYPE],
    ["POST", "Tidemark-Trim-Before", OFFSET, frame],
  ] as const)("%s with %s: %s", async (method, header, value, headers) => {
    const path = await stream();
    // An open frame.
    const body = method === "DELETE" ? undefined : headers === frame ? "\x01\x01" + "\0".repeat(10) : "[4]";
    const told = await errorIn(
      await ask(method, path, { headers: { ...headers, [header]: value }, ...(body !== undefined && { body }) }),
    );
    expect(told).toMatchObject({ status: 400, code: "BAD_REQUEST", details: { header } });
    expect(await (await ask("GET", path)).json()).toEqual([1, 2, 3]);
  });
});

describe("bindings", () => {
  const { LOGS, SUBSCRIPTIONS, SEGMENTS } = open as typeof open & Record<string, object>;
  const kv = { get: () => null, put: () => null, delete: () => null, getWithMetadata: () => null };
  it.each([
    ["LOGS", undefined, "has no binding LOGS"],
    ["LOGS", "a text", "of another kind"],
    ["SUBSCRIPTIONS", undefined, "has no binding SUBSCRIPTIONS"],
    ["SEGMENTS", kv, "a bucket of R2"],
    ["SEGMENTS", "orders-segments", "r2_buckets"],
    ["RATE_LIMIT", "5", "a rate limiter"],
    ["EVENTS", "x", "a data set of Analytics Engine"],
  ])("%s that is %s: the first request of any kind says what to write", async (binding, value, says) => {
    const settings = { ...open, [binding]: value, TIDEMARK_EVENTS: "all" } as never;
    for (const [method, at] of [
      ["PUT", "/v1/stream/odd/bound"],
      ["POST", "/v1/stream/odd/bound"],
      ["GET", "/v1/stream/__ds/streams"],
      ["GET", "/v1/metrics/odd/bound"],
    ] as const) {
      const told = await errorIn(await ask(method, at, { headers: JSON_TYPE, settings }));
      expect(told).toMatchObject({ status: 500, code: "INTERNAL", details: { binding } });
      expect(told.message).toContain(says);
    }
  });

  it("of the other class: the object says so, and has made nothing", async () => {
    const settings = { ...open, LOGS: SUBSCRIPTIONS, SUBSCRIPTIONS: LOGS, SEGMENTS } as never;
    for (const [method, at, binding] of [
      ["PUT", "/v1/stream/odd/swapped", "LOGS"],
      ["POST", "/v1/stream/odd/swapped", "LOGS"],
      ["DELETE", "/v1/stream/odd/swapped", "LOGS"],
      ["GET", "/v1/stream/odd/swapped", "LOGS"],
      ["GET", "/v1/stream/odd/swapped?from=earliest", "LOGS"],
      ["GET", "/v1/stream/odd/swapped?offset=-1&live=sse", "LOGS"],
      ["GET", "/v1/metrics/odd/swapped", "LOGS"],
      ["PUT", "/v1/stream/__ds/subscriptions/x", "SUBSCRIPTIONS"],
      ["POST", "/v1/stream/__ds/subscriptions/x/claim", "SUBSCRIPTIONS"],
      ["GET", "/v1/stream/__ds/streams", "SUBSCRIPTIONS"],
      ["GET", "/v1/stream/__ds/jwks.json", "SUBSCRIPTIONS"],
    ] as const) {
      // A small POST is asked by a call, for which the other class has no method.
      const headers = method === "POST" ? { ...JSON_TYPE, "content-length": "2" } : JSON_TYPE;
      const body = method === "GET" || method === "DELETE" ? {} : { body: "{}" };
      const told = await errorIn(await ask(method, at, { headers, ...body, settings }));
      expect([method, at, told]).toMatchObject([
        method,
        at,
        {
          status: 500,
          code: "INTERNAL",
          details: { binding },
          message: expect.stringContaining(`"name": "${binding}"`),
        },
      ]);
    }
    const topic = openTopic(settings, "odd/swapped");
    await expect(topic.append({ value: 1 })).rejects.toMatchObject({ code: "INTERNAL", details: { binding: "LOGS" } });
  });
});

describe("parameters", () => {
  it.each([
    ["offset=-1&live=sse&live=long-poll", "live"],
    ["offset=-1&cursor=1&cursor=2", "cursor"],
    ["offset=-1&offset=-1", "offset"],
  ])("%s: one that is given twice is refused by name", async (query, parameter) => {
    const told = await errorIn(await ask("GET", `${await stream()}?${query}`));
    expect(told).toMatchObject({ status: 400, code: "BAD_REQUEST", details: { parameter } });
    expect(told.message).toContain(`${parameter} is given 2 times`);
  });

  it("a time of batches is given once, and not beside an offset", async () => {
    const path = await stream();
    const headers = { accept: "application/vnd.tidemark.batches" };
    for (const query of ["timestamp=1&timestamp=2", "timestamp=1&offset=-1"]) {
      const told = await errorIn(await ask("GET", `${path}?${query}`, { headers }));
      expect([query, told]).toMatchObject([query, { status: 400, details: { parameter: "timestamp" } }]);
    }
    expect((await ask("GET", `${path}?timestamp=1`, { headers })).status).toBe(200);
  });

  it.each(["limit=1&limit=2", "after=a&after=b", "after=%ff"])(
    "of the list of streams: %s is refused",
    async (query) => {
      const told = await errorIn(await ask("GET", `/v1/stream/__ds/streams?${query}`));
      expect(told).toMatchObject({ status: 400, details: { parameter: query.slice(0, 5) } });
    },
  );

  it("a key that is no UTF-8 is refused, and U+FFFD itself can be asked for", async () => {
    const path = await stream();
    const told = await errorIn(await ask("GET", `${path}?key=%ff`));
    expect(told).toMatchObject({ status: 400, details: { parameter: "key" } });
    expect((await ask("GET", `${path}?key=%EF%BF%BD`)).status).toBe(200);
  });

  it.each(["application/json", `application/json, ${LINES};q=0.1`, "image/png"])(
    "one of lines that Accept leaves out (%s) is refused, and does not give all records",
    async (accept) => {
      const path = await stream();
      const told = await errorIn(await ask("GET", `${path}?from=2`, { headers: { accept } }));
      expect(told).toMatchObject({ status: 406, code: "NOT_ACCEPTABLE", details: { parameter: "from" } });
      expect(told.message).toContain(`accept ${LINES}`);
    },
  );

  it.each(["file=0x1&position=0", "file=0&position=1e2", "file=0&position=%201", "file=0&file=1&position=0"])(
    "of a piece of an import: %s is refused by name",
    async (query) => {
      const path = `/v1/stream/odd/${++count}`;
      await ask("PUT", path, { headers: JSON_TYPE });
      const headers = { "content-type": "application/vnd.tidemark.import-piece" };
      const told = await errorIn(await ask("POST", `${path}?import=a&${query}`, { headers, body: "x" }));
      expect([told.status, told.message]).toEqual([400, expect.stringMatching(/^(file|position) is/)]);
    },
  );

  it("the remedy for an offset in a header is one that the header takes", async () => {
    const headers = { "tidemark-trim-before": "1" };
    const told = await errorIn(await ask("POST", await stream(), { headers }));
    expect(told.message).toMatch(/^Tidemark-Trim-Before is "1"; it must be an offset as Stream-Next-Offset gives it/);
    expect(told.message).not.toContain("now");
  });

  it("a byte-order mark before the first line is named", async () => {
    const body = '\ufeff{"value":1}';
    const told = await errorIn(await ask("POST", await stream(), { headers: { "content-type": LINES }, body }));
    expect([told.status, told.message]).toEqual([400, "line 1 begins with a byte-order mark: leave it out"]);
  });
});

describe("methods and addresses", () => {
  it.each(["/", "/v1", "/v1/segment/a/b", "/v1/metrics/a", "/v1/stream/__ds/streams", "/v1/stream/__ds/jwks.json"])(
    "%s can only be read, and says so",
    async (path) => {
      for (const method of ["POST", "PUT", "DELETE"]) {
        const response = await ask(method, path);
        expect([method, response.status, response.headers.get("allow")]).toEqual([method, 405, "GET, HEAD, OPTIONS"]);
      }
    },
  );

  it("a subscription's addresses say what they take", async () => {
    const allowed = async (path: string) =>
      (await ask("PUT", `/v1/stream/__ds/subscriptions/s/${path}`)).headers.get("allow");
    expect([await allowed("ack"), await allowed("streams/a")]).toEqual(["POST, OPTIONS", "DELETE, OPTIONS"]);
  });

  it("HEAD of metrics has their type and no body", async () => {
    const response = await ask("HEAD", (await stream()).replace("/stream/", "/metrics/"));
    expect([response.status, response.headers.get("content-type"), await response.text()]).toEqual([
      200,
      expect.stringContaining("text/plain"),
      "",
    ]);
  });

  it.each(["..%2fa", "a%2F..%2Fb", "a%2f%2e", "%2e%2e%2fa"])(
    "the path %s is refused: what is sent to it goes elsewhere",
    async (path) => {
      const told = await errorIn(await ask("PUT", `/v1/stream/${path}`, { headers: JSON_TYPE }));
      expect([told.status, told.message]).toEqual([400, expect.stringContaining(". or ..")]);
    },
  );

  it("dots inside a part are a name like any other", async () => {
    for (const path of ["...", "a..b", ".a", "a./..b"])
      expect((await ask("PUT", `/v1/stream/odd/${path}`, { headers: JSON_TYPE })).status).toBe(201);
  });

  it.each([
    ["text/html;q=0.1, application/json", "application/json"],
    ["TEXT/HTML", "text/html; charset=utf-8"],
    ["text/html, application/json;q=0.9", "text/html; charset=utf-8"],
    ["*/*", "text/plain; charset=utf-8"],
    ["text/html;q=0", "text/plain; charset=utf-8"],
  ])("GET / with Accept: %s is %s", async (accept, type) => {
    expect((await ask("GET", "/", { headers: { accept } })).headers.get("content-type")).toBe(type);
  });

  it("If-None-Match: * is known whatever there is", async () => {
    const path = await stream();
    const statusOf = async (tag: string) => (await ask("GET", path, { headers: { "if-none-match": tag } })).status;
    const etag = (await ask("GET", path)).headers.get("etag")!;
    expect(await Promise.all(["*", etag, `W/${etag}, "a"`, '"a"'].map(statusOf))).toEqual([304, 304, 304, 200]);
  });
});

describe("times in tokens", () => {
  const SECRET = "a secret of at least thirty-two characters";
  const closed: Env = { ...env, TIDEMARK_OPEN_ACCESS: "", TIDEMARK_JWT_SECRETS: SECRET, TIDEMARK_JWT_AUDIENCE: "me" };
  const now = Math.floor(Date.now() / 1000);

  it.each([
    [{ exp: Date.now() + 60_000 }, /"exp" is \d+; it counts seconds/],
    [{ nbf: Date.now() }, /"nbf" is later than now; it counts seconds/],
    [{ aud: "you" }, /"aud" is not one/],
    [{ aud: undefined }, /"aud" is missing/],
    [{ exp: undefined }, /"exp" is missing/],
  ])("%o is refused by the claim's name", async (claims, message) => {
    const jwt = new SignJWT({ tenant: "t", scope: "read:**", exp: now + 60, aud: "me", ...claims } as JWTPayload);
    const token = await jwt.setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(SECRET));
    const headers = { authorization: `Bearer ${token}` };
    const told = await errorIn(await ask("GET", "/v1/stream/a", { headers, settings: closed }));
    expect([told.status, told.message]).toEqual([401, expect.stringMatching(message)]);
  });

  it("a token of another secret is told nothing of its claims", async () => {
    const jwt = new SignJWT({ tenant: "t", exp: now + 60, aud: "you" }).setProtectedHeader({ alg: "HS256" });
    const headers = { authorization: `Bearer ${await jwt.sign(new TextEncoder().encode("x".repeat(40)))}` };
    const told = await errorIn(await ask("GET", "/v1/stream/a", { headers, settings: closed }));
    expect([told.status, told.message]).toEqual([401, expect.not.stringContaining('"aud"')]);
  });
});

describe("objects that are lost while they are asked", () => {
  type Namespace = Pick<Env["LOGS"], "idFromName" | "get">;
  /** The platform's namespace; its first `times` stubs fail as those of an object that is just reset do. */
  function losing(real: Namespace, times: number): never {
    const lost = (): Promise<never> => Promise.reject(new Error("Durable Object reset because its code was updated."));
    const broken = { fetch: lost, paths: lost, signingKey: lost };
    return {
      idFromName: (name: string) => real.idFromName(name),
      get: (id: never): unknown => (times-- > 0 ? broken : real.get(id)),
    } as never;
  }
  const settings = (logs: number, subscriptions: number): Env => ({
    ...open,
    LOGS: losing(env.LOGS as Namespace, logs),
    SUBSCRIPTIONS: losing(env.SUBSCRIPTIONS as Namespace, subscriptions),
  });

  it.each([
    ["lines", "?from=0"],
    ["values", "?offset=-1"],
  ])("a read of %s asks again, and is CLOSED if that fails as well", async (_, query) => {
    const path = await stream();
    expect((await ask("GET", path + query, { settings: settings(1, 0) })).status).toBe(200);
    const told = await errorIn(await ask("GET", path + query, { settings: settings(9, 0) }));
    expect(told).toMatchObject({ status: 503, code: "CLOSED" });
  });

  it.each(["streams", "jwks.json", "subscriptions/there"])("so does a read of __ds/%s", async (name) => {
    await ask("PUT", "/v1/stream/__ds/subscriptions/there", {
      headers: JSON_TYPE,
      body: JSON.stringify({ type: "pull-wake", pattern: "odd/**", wake_stream: "wakes" }),
    });
    const path = `/v1/stream/__ds/${name}`;
    expect((await ask("GET", path, { settings: settings(0, 1) })).status).toBe(200);
    expect(await errorIn(await ask("GET", path, { settings: settings(0, 9) }))).toMatchObject({
      status: 503,
      code: "CLOSED",
    });
  });

  it("of a call that changes a subscription nobody knows whether it was done", async () => {
    const told = await errorIn(
      await ask("DELETE", "/v1/stream/__ds/subscriptions/there", { settings: settings(0, 1) }),
    );
    expect(told).toMatchObject({ status: 503, code: "OUTCOME_UNKNOWN" });
  });
});

describe("headers that came twice, which the runtime joins with a comma", () => {
  const ask2 = async (method: string, path: string, name: string, value: string | [string, string]) => {
    const headers = new Headers(JSON_TYPE);
    headers.delete(name);
    for (const each of [value, value].flat().slice(-2)) headers.append(name, each);
    return handle(new Request(ORIGIN + path, { method, headers, ...(method !== "GET" && { body: "[4]" }) }), open);
  };

  it.each([
    ["POST", "Stream-Closed", "true"],
    ["POST", "Stream-Seq", "b, c"],
    ["POST", "Stream-Expected-Offset", at(3)],
    ["POST", "Producer-Id", "p"],
    ["POST", "Producer-Epoch", "0"],
    ["POST", "Producer-Seq", "0"],
    ["POST", "Tidemark-Resent-Since", at(0)],
    ["POST", "Tidemark-Sequences", "from-zero"],
    ["POST", "Tidemark-Trim-Before", at(1)],
    ["POST", "Tidemark-Outbox", "0123456789abcdef; generation=1; term=1"],
    ["POST", "Content-Type", "application/json"],
    ["POST", "Content-Type", "text/plain;charset=utf-8"],
    ["POST", "Authorization", "Bearer a"],
    ["PUT", "Stream-TTL", "60"],
    ["PUT", "Stream-Expires-At", "2099-01-01T00:00:00Z"],
    ["PUT", "Stream-Forked-From", "/v1/stream/odd/1"],
    ["PUT", "Stream-Fork-Offset", at(1)],
    ["PUT", "Stream-Fork-Sub-Offset", "0"],
    ["PUT", "Tidemark-Retention-Records", "5"],
    ["PUT", "Tidemark-Compaction", "key"],
    ["GET", "Tidemark-Tide", "1"],
    ["GET", "Last-Event-ID", "7"],
  ])("%s with %s twice (%s) is refused by name, and changes nothing", async (method, header, value) => {
    const path = await stream();
    const told = await errorIn(await ask2(method, path, header, value));
    expect(told).toMatchObject({ status: 400, code: "BAD_REQUEST", details: { header } });
    expect(told.message).toBe(`${header} is given more than once; it must be given once, and have one value`);
    const { headers } = await ask("HEAD", path);
    expect([headers.get("stream-next-offset"), headers.get("stream-closed")]).toEqual([at(3), null]);
  });

  it("two values that differ are refused as well, where no value has a comma", async () => {
    const path = await stream();
    for (const [header, values] of [
      ["Stream-Closed", ["true", "false"]],
      ["Content-Type", ["text/plain;charset=utf-8", "application/json"]],
    ] as const)
      expect(await errorIn(await ask2("POST", path, header, [...values]))).toMatchObject({ details: { header } });
  });

  it("a comma inside one value, a list and a trace are taken", async () => {
    const path = await stream();
    const producer = { "producer-id": "till 7, north", "producer-epoch": "0", "producer-seq": "0" };
    const trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
    const headers = { ...JSON_TYPE, ...producer, "stream-seq": "a,b", traceparent: `${trace}, ${trace}` };
    expect((await ask("POST", path, { headers, body: "4" })).status).toBe(200);
    const read = { accept: "application/json, application/json", "if-none-match": '"a", "a"' };
    expect((await ask("GET", path, { headers: read })).status).toBe(200);
    const quoted = { "content-type": 'text/plain; note="a, b"' };
    expect((await ask("PUT", `${path}/quoted`, { headers: quoted })).status).toBe(201);
  });
});

describe("headers of appends", () => {
  const close = (path: string, headers: Record<string, string>): Promise<Response> =>
    ask("POST", path, { headers: { "stream-closed": "true", ...headers } });

  it("a POST that only closes heeds the expected end and Stream-Seq", async () => {
    const path = await stream();
    await ask("POST", path, { headers: { ...JSON_TYPE, "stream-seq": "b" }, body: "4" });
    const late = await errorIn(await close(path, { "stream-expected-offset": at(3) }));
    expect(late).toMatchObject({ status: 409, code: "OFFSET_CONFLICT", details: { logEndOffset: 4, ifEnd: 3 } });
    expect((await errorIn(await close(path, { "stream-seq": "a" }))).code).toBe("OUT_OF_ORDER_SEQUENCE");
    expect((await ask("HEAD", path)).headers.get("stream-closed")).toBeNull();
    expect((await close(path, { "stream-expected-offset": at(4), "stream-seq": "c" })).status).toBe(204);
  });

  it.each([
    ["Producer-Id", { "producer-id": "p", "producer-epoch": "0", "producer-seq": "0" }],
    ["Stream-Seq", { "stream-seq": "a" }],
    ["Stream-Closed", { "stream-closed": "true" }],
  ])("a POST of batches says that it does not heed %s, and takes nothing", async (header, headers) => {
    const type = "application/vnd.tidemark.batches";
    const path = await stream();
    const batches = await (await ask("GET", `${path}?offset=-1`, { headers: { accept: type } })).arrayBuffer();
    const init = { method: "POST", headers: { "content-type": type, ...headers }, body: batches };
    const told = await errorIn(await handle(new Request(ORIGIN + path, init), open));
    expect(told).toMatchObject({ status: 400, code: "BAD_REQUEST", details: { header } });
    expect((await ask("HEAD", path)).headers.get("stream-next-offset")).toBe(at(3));
  });

  it.each<[string, Record<string, string>]>([
    ["Stream-Expected-Offset", { "tidemark-trim-before": at(2), "stream-expected-offset": at(0) }],
    ["Stream-Seq", { "content-type": "application/vnd.tidemark.import+json", "stream-seq": "a" }],
  ])("a request that appends nothing says that it does not heed %s", async (header, headers) => {
    const path = await stream();
    expect(await errorIn(await ask("POST", path, { headers, body: "" }))).toMatchObject({ details: { header } });
    expect((await ask("HEAD", path)).headers.get("tidemark-start-offset")).toBe(at(0));
  });
});

it.each([{}, { accept: "text/event-stream" }])(
  "a follow of lines (%j) ends where the stream is made anew, and does not go on in the middle of the other one",
  async (headers) => {
    const path = await stream();
    const following = await ask("GET", `${path}?from=0&follow`, { headers });
    const pieces = following.body!.pipeThrough(new TextDecoderStream())[Symbol.asyncIterator]();
    let text = "";
    while (!text.includes('"value":3')) text += (await pieces.next()).value;
    await ask("DELETE", path);
    await ask("PUT", path, { headers: JSON_TYPE, body: "[4,5,6,7,8]" });
    for (let piece = await pieces.next(); !piece.done; piece = await pieces.next()) text += piece.value;
    // NOT_FOUND where it looked again before the PUT.
    expect(text).toMatch(/\{"error":\{"code":"(GONE|NOT_FOUND)"/);
    expect(text).not.toContain('"value":7');
  },
);

async function all(found: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of found) continue;
}

describe("openTopic", () => {
  it.each(["read", "export"] as const)(
    "of a topic that is made anew between two answers %s() is ended, and does not go on in the other one",
    async (kind) => {
      const path = `odd/topic-${++count}`;
      const fill = async () => {
        for (let i = 0; i < 3; i++) await openTopic<string>(env, path).append({ value: "x".repeat(1_000_000) });
      };
      await fill();
      let asked = 0;
      const fetch = async (request: Request): Promise<Response> => {
        if (request.method === "GET" && ++asked === 2) {
          await ask("DELETE", `/v1/stream/${path}`);
          await fill();
        }
        return env.LOGS.get(env.LOGS.idFromName(`dev/${path}`)).fetch(request as never) as never;
      };
      const LOGS = { idFromName: () => path, get: () => ({ fetch }) };
      const topic = openTopic({ ...env, LOGS, SEGMENTS: undefined } as never, path);
      await expect(all(topic[kind]())).rejects.toMatchObject({ code: "UNKNOWN_TOPIC", details: { topic: path } });
      expect(asked).toBeGreaterThan(1);
    },
  );

  it("what the log refuses has the library's names; one that is closed is CLOSED, also with `idempotent`", async () => {
    const path = `odd/topic-${++count}`;
    for (const idempotent of [false, true]) {
      const topic = openTopic<number>(env, path, { idempotent });
      if (!idempotent) await topic.append({ value: 1 });
      await ask("POST", `/v1/stream/${path}`, { headers: { "stream-closed": "true" } });
      const error = { code: "CLOSED", details: { edge: "STREAM_CLOSED" } };
      await expect(topic.append({ value: 2 })).rejects.toMatchObject(error);
    }
    const reserved = { value: 1, headers: { "ds.seq": "a" } };
    const refused = openTopic<number>(env, `odd/topic-${++count}`).append(reserved);
    await expect(refused).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { edge: "BAD_REQUEST" } });
  });
});
