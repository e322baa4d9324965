/**
 * Unusual requests, inside workerd: wrong dates and numbers in headers, odd URLs, preflights, and requests that miss
 * what they need.
 */
import { env } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import type { Env } from "../../worker/env.ts";
import { H } from "../../worker/wire/durable-streams.ts";
import { handle } from "../../worker/front/router.ts";

const settings: Env = { ...env, TIDEMARK_OPEN_ACCESS: "loopback" };
const ORIGIN = "http://127.0.0.1";
let count = 0;

const ask = (method: string, path: string, headers: Record<string, string> = {}, body?: string): Promise<Response> =>
  handle(
    new Request(`${ORIGIN}/v1/stream/${path}`, { method, headers, ...(body !== undefined && { body }) }),
    settings,
  );
const messageOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { error: { message: string } }).error.message;

describe("dates and numbers in headers", () => {
  const created = async (headers: Record<string, string>) =>
    ask("PUT", `h${++count}`, { "content-type": "text/plain", ...headers });

  it.each([
    "2027-02-30T00:00:00Z",
    "2027-02-29T00:00:00Z",
    "2027-04-31T12:00:00+02:00",
    "2027-13-01T00:00:00Z",
    "2027-00-10T00:00:00Z",
    "2027-01-00T00:00:00Z",
    "2027-01-32T00:00:00Z",
    "2027-01-01T24:00:00Z",
    "2027-01-01T23:60:00Z",
    "2027-01-01T23:59:60Z",
    "2027-01-01T00:00:00+24:00",
    "2027-01-01T00:00:00+01:60",
    "2027-01-01T00:00:00",
    "2027-01-01 00:00:00Z",
    "2027-01-01",
    "1798761600",
    "Thu, 01 Jan 2027 00:00:00 GMT",
    "+002027-01-01T00:00:00Z",
    "2027-1-1T0:0:0Z",
    "2027-01-01T00:00:00.Z",
    "2027-01-01T00:00:00Z, 2027-01-01T00:00:00Z",
    "",
  ])("Stream-Expires-At: %s is refused by name", async (value) => {
    const response = await created({ "stream-expires-at": value });
    expect(response.status).toBe(400);
    expect(await messageOf(response)).toContain("Stream-Expires-At");
  });

  it.each([
    "2028-02-29T00:00:00Z",
    "2099-12-31T23:59:59.999+14:00",
    "2099-06-30t01:02:03z",
    "2099-01-01T00:00:00-23:59",
  ])("Stream-Expires-At: %s is taken and told as it came", async (value) => {
    const response = await created({ "stream-expires-at": value });
    expect([response.status, response.headers.get("stream-expires-at")]).toEqual([201, value]);
  });

  const NO_NUMBER = [
    "",
    "+60",
    "-1",
    "060",
    "60.5.1",
    "1e3",
    "0x10",
    "6 0",
    "60,60",
    "NaN",
    "Infinity",
    "9007199254740993",
    "9".repeat(40),
    "٦٠",
    "60s",
  ];
  it.each([
    "Stream-TTL",
    "Tidemark-Retention-Bytes",
    "Tidemark-Retention-Records",
    "Tidemark-Retention-Seconds",
    "Tidemark-Compaction-Lag-Seconds",
    "Tidemark-Compaction-Tombstone-Seconds",
  ])("%s is a number in digits, or is refused by name", async (name) => {
    const others = name.startsWith("Tidemark-Compaction") ? { "tidemark-compaction": "key" } : {};
    // A header cannot contain other than Latin-1 characters.
    for (const value of NO_NUMBER.filter((text) => text !== "٦٠")) {
      const response = await created({ [name]: value, ...others });
      expect([value, response.status]).toEqual([value, 400]);
      expect(await messageOf(response)).toContain(name);
    }
    expect((await created({ [name]: "3600", ...others })).status).toBe(201);
  });

  it("retention of nothing, and lifetimes beyond all dates, are refused", async () => {
    for (const name of ["tidemark-retention-bytes", "tidemark-retention-records", "tidemark-retention-seconds"])
      expect([name, (await created({ [name]: "0" })).status]).toEqual([name, 400]);
    for (const name of ["stream-ttl", "tidemark-retention-seconds"])
      expect([name, (await created({ [name]: "9007199254740991" })).status]).toEqual([name, 400]);
    for (const name of ["stream-ttl", "tidemark-retention-seconds"])
      expect([name, (await created({ [name]: "1.5" })).status]).toEqual([name, 400]);
  });

  it("offsets and producers of an append likewise", async () => {
    await ask("PUT", "numbers", { "content-type": "text/plain" });
    const producer = { "producer-id": "p", "producer-epoch": "0", "producer-seq": "0" };
    const post = (headers: Record<string, string>) =>
      ask("POST", "numbers", { "content-type": "text/plain", ...headers }, "x");
    for (const value of [
      "0",
      "-1",
      "now",
      "1e0",
      `+${"0".repeat(15)}_${"0".repeat(16)}`,
      `${"0".repeat(16)}_${"0".repeat(15)}1`,
      `${"9".repeat(16)}_${"0".repeat(16)}`,
    ]) {
      const response = await post({ "stream-expected-offset": value });
      expect([value, response.status]).toEqual([value, 400]);
      expect(await messageOf(response)).toContain("Stream-Expected-Offset");
    }
    for (const name of ["producer-epoch", "producer-seq"]) {
      for (const value of NO_NUMBER.filter((text) => text !== "٦٠")) {
        const response = await post({ ...producer, [name]: value });
        expect([name, value, response.status]).toEqual([name, value, 400]);
        expect((await messageOf(response)).toLowerCase()).toContain(name);
      }
    }
    for (const value of ["", "x".repeat(257)]) {
      expect([value.length, (await post({ ...producer, "producer-id": value })).status]).toEqual([value.length, 400]);
      expect([value.length, (await post({ "stream-seq": value })).status]).toEqual([value.length, 400]);
    }
    expect(await (await ask("GET", "numbers")).text()).toBe("");
  });

  it("the error for a wrong offset in a URL says what is wrong and what an offset looks like", async () => {
    await ask("PUT", "offsets", { "content-type": "text/plain" }, "x");
    const response = await ask("GET", "offsets?offset=1");
    expect(response.status).toBe(400);
    expect(await messageOf(response)).toBe(
      'offset is "1"; it must be -1 (the start), now (the end), or an offset as answers give it: that of record 10 ' +
        "is 0000000000000010_0000000000000000",
    );
  });
});

describe("addresses in answers", () => {
  it.each(["", "?foo=1&live=sse", "?offset=-1", "?token=secret", "#x"])(
    "Location is the stream alone: %s",
    async (query) => {
      const response = await ask("PUT", `located/a%3Fb%20c${++count}${query}`, { "content-type": "text/plain" }, "x");
      const location = response.headers.get("location")!;
      expect([response.status, location]).toEqual([201, `${ORIGIN}/v1/stream/located/a%3Fb%20c${count}`]);
      expect(await (await handle(new Request(location), settings)).text()).toBe("x");
    },
  );

  it("the source of a fork is a path like any other", async () => {
    const of = (from: string) => ask("PUT", `fork${++count}`, { "stream-forked-from": from });
    for (const from of [
      "/v1/stream/",
      `/v1/stream/${"x".repeat(2_000)}`,
      "/v1/stream/a%00b",
      "/v1/stream/%ff",
      "elsewhere",
    ])
      expect([from, (await of(from)).status]).toEqual([from, 400]);
  });
});

describe("pages of other origins", () => {
  const preflight = async (names: string) => {
    const headers = {
      origin: "https://app.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": names,
    };
    const response = await ask("OPTIONS", "any", headers);
    return [response.status, response.headers.get("access-control-allow-headers")!.toLowerCase().split(", ")] as const;
  };

  it.each([
    "baggage",
    "traceparent,tracestate,baggage",
    "sentry-trace,baggage",
    "b3",
    "x-b3-traceid,x-b3-spanid,x-b3-sampled",
    "x-request-id",
    "x-datadog-trace-id,x-datadog-parent-id",
    "newrelic",
    "cache-control,pragma",
    "x-requested-with",
    "if-none-match,range,last-event-id",
    "authorization,content-type,accept",
    "stream-ttl,stream-expires-at,stream-closed,stream-seq,producer-id,producer-epoch,producer-seq",
    "stream-forked-from,stream-fork-offset,stream-fork-sub-offset,stream-expected-offset",
    "tidemark-retention-bytes,tidemark-retention-records,tidemark-retention-seconds",
    "tidemark-compaction,tidemark-compaction-lag-seconds,tidemark-compaction-tombstone-seconds",
  ])("may send %s", async (names) => {
    const [status, allowed] = await preflight(names);
    expect([status, names.split(",").filter((name) => !allowed.includes(name))]).toEqual([204, []]);
  });

  it("wrong header names are not echoed, nor more than a few", async () => {
    const [, allowed] = await preflight(`a b,<script>,${Array.from({ length: 200 }, (_, i) => `x-${i}`).join(",")}`);
    expect(allowed.filter((name) => !/^[\w-]+$/.test(name))).toEqual([]);
    expect(allowed.filter((name) => /^x-\d+$/.test(name))).toHaveLength(64);
  });

  it("may read every header that the worker sets", async () => {
    await ask("PUT", "exposed", {
      "content-type": "application/json",
      "stream-ttl": "60",
      "tidemark-retention-records": "5",
      "tidemark-compaction": "key",
    });
    const producer = {
      "producer-id": "p",
      "producer-epoch": "0",
      "producer-seq": "0",
      "content-type": "application/json",
    };
    const answers = [
      await ask("HEAD", "exposed"),
      await ask("POST", "exposed", producer, "[1]"),
      await ask("POST", "exposed", { ...producer, "producer-seq": "7" }, "[1]"),
      await ask("GET", "exposed"),
      await ask("GET", "exposed?offset=now&live=sse"),
      await ask("GET", "missing"),
      await ask("PATCH", "exposed"),
      await handle(new Request("https://edge.example/v1/stream/x"), settings),
    ];
    const exposed = new Set(answers[0]!.headers.get("access-control-expose-headers")!.toLowerCase().split(", "));
    const SAFE = [
      "cache-control",
      "content-language",
      "content-length",
      "content-type",
      "expires",
      "last-modified",
      "pragma",
    ];
    const OF_BROWSERS = new RegExp(
      "^(access-control-.*|x-content-type-options|cross-origin-resource-policy|referrer-policy|" +
        "content-security-policy|x-frame-options|strict-transport-security)$",
    );
    const hidden = answers
      .flatMap(({ headers }) => [...headers.keys()])
      .filter((name) => !exposed.has(name) && !SAFE.includes(name) && !OF_BROWSERS.test(name));
    expect([...new Set(hidden)]).toEqual([]);
    const answered: readonly string[] = [
      H.next,
      H.upToDate,
      H.closed,
      H.cursor,
      H.ttl,
      H.expiresAt,
      H.start,
      H.from,
      H.producerEpoch,
      H.producerSeq,
      "Location",
      "Retry-After",
      "Link",
    ];
    expect(answered.filter((name) => !exposed.has(name.toLowerCase()))).toEqual([]);
    for (const answer of answers) await answer.body?.cancel();
  });
});

describe("requests that miss something are told what", () => {
  it.each(["/", "/v1", "/v1/", "/v1/stream", "/v1/stream/"])(
    "GET %s says what is here, with requests that work",
    async (path) => {
      const asking = (accept: string) =>
        handle(new Request(ORIGIN + path, { headers: { accept } }), settings).then(async (answer) => [
          answer.headers.get("content-type")!.split(";")[0],
          await answer.text(),
        ]);
      const hint = expect.stringContaining("npmjs.com/package/tidemark") as string;
      expect(await asking("*/*")).toEqual(["text/plain", hint]);
      expect(await asking("text/html,application/xhtml+xml,*/*;q=0.8")).toEqual(["text/html", hint]);
      const response = await handle(new Request(ORIGIN + path, { headers: { accept: "application/json" } }), settings);
      const told = (await response.json()) as Record<string, string>;
      expect([response.status, told["docs"], told["service"]]).toEqual([
        200,
        expect.stringContaining("docs/edge.md"),
        expect.stringContaining("Tidemark"),
      ]);
      // The welcome needs no token, and asks no object.
      expect(
        (
          await handle(new Request(`https://edge.example${path}`), {
            ...settings,
            LOGS: undefined as never,
            SUBSCRIPTIONS: undefined as never,
          })
        ).status,
      ).toBe(200);
      const target = told["append"]!.split(" ").at(-1)!.replace("<path>", `welcome-${++count}`);
      expect(
        (
          await handle(
            new Request(target, { method: "PUT", headers: { "content-type": "application/json" } }),
            settings,
          )
        ).status,
      ).toBe(201);
      expect(
        (
          await handle(
            new Request(target, {
              method: "POST",
              headers: { "content-type": "application/json" },
              body: '{"hello":"world"}',
            }),
            settings,
          )
        ).status,
      ).toBe(204);
    },
  );

  it("HEAD of it has no body, and other methods and paths are errors that point there", async () => {
    const head = await handle(new Request(`${ORIGIN}/`, { method: "HEAD" }), settings);
    expect([head.status, await head.text()]).toEqual([200, ""]);
    const elsewhere = await handle(new Request(`${ORIGIN}/streams/x`), settings);
    expect([elsewhere.status, await messageOf(elsewhere)]).toEqual([404, expect.stringContaining("/v1/stream/<path>")]);
    expect((await handle(new Request(`${ORIGIN}/v1/stream/`, { method: "PUT" }), settings)).status).toBe(400);
  });

  it("an append without a type, or with curl's own, is told which to send", async () => {
    await ask("PUT", "typed", { "content-type": "application/json; charset=utf-8" });
    const without = await handle(
      new Request(`${ORIGIN}/v1/stream/typed`, { method: "POST", body: new TextEncoder().encode("{}") }),
      settings,
    );
    expect([without.status, await messageOf(without)]).toEqual([
      400,
      expect.stringContaining("this stream takes application/json; charset=utf-8"),
    ]);
    const curls = await ask("POST", "typed", { "content-type": "application/x-www-form-urlencoded" }, "{}");
    expect([curls.status, await messageOf(curls)]).toEqual([
      409,
      expect.stringMatching(/x-www-form-urlencoded; this stream takes application\/json/),
    ]);
    expect((await ask("POST", "typed", { "content-type": 'Application/JSON ; charset="utf-8"' }, "{}")).status).toBe(
      204,
    );
    const empty = await ask("POST", "typed", { "content-type": "application/json" });
    expect([empty.status, await messageOf(empty)]).toEqual([400, expect.stringContaining("the body is empty")]);
  });

  it.each(["POST", "GET", "DELETE"])("%s of a stream that is not there says that PUT creates it", async (method) => {
    const response = await ask(
      method,
      "never-made",
      method === "POST" ? { "content-type": "text/plain" } : {},
      method === "POST" ? "x" : undefined,
    );
    expect([response.status, await messageOf(response)]).toEqual([404, expect.stringContaining("PUT creates it")]);
  });

  it("without a token this machine is told how to get in, and no other is", async () => {
    const closed = { ...settings, TIDEMARK_OPEN_ACCESS: "" };
    const of = async (url: string, env: Env, headers = {}) => {
      const response = await handle(new Request(`${url}/v1/stream/x`, { headers }), env);
      return [response.status, await messageOf(response)];
    };
    for (const host of ["http://localhost:8787", "http://127.0.0.1", "http://[::1]:8787"]) {
      expect(await of(host, closed)).toEqual([
        401,
        expect.stringMatching(/TIDEMARK_OPEN_ACCESS=loopback.*npx tidemark token/),
      ]);
    }
    expect(await of("http://localhost", settings, { origin: "https://elsewhere.example" })).toEqual([
      401,
      expect.stringContaining("pages that it serves"),
    ]);
    expect(await of("https://edge.example", closed)).toEqual([
      401,
      "a bearer token is needed, as Authorization: Bearer <JWT>",
    ]);
  });

  it.each<[string, string, string, Record<string, string>, string | undefined, number, RegExp]>([
    ["a stream that is not there", "GET", "none", {}, undefined, 404, /PUT creates it/],
    ["an append to it", "POST", "none", { "content-type": "text/plain" }, "a", 404, /PUT creates it/],
    ["a method that there is not", "PATCH", "there", {}, undefined, 405, /PUT \(creates it\), POST \(appends\)/],
    ["other settings", "PUT", "there", { "content-type": "text/html" }, undefined, 409, /HEAD shows them/],
    ["another type", "POST", "there", { "content-type": "text/html" }, "a", 409, /this stream takes text\/plain/],
    ["no type", "POST", "there", { "content-type": "" }, "a", 400, /no content type; this stream takes text\/plain/],
    ["no body", "POST", "there", { "content-type": "text/plain" }, "", 400, /brings records, or closes/],
    ["another Accept", "GET", "there", { accept: "image/png" }, undefined, 406, /read as text\/plain or application/],
    ["a live read from nowhere", "GET", "there?live=sse", {}, undefined, 400, /-1 is the start, now the end/],
    ["an offset as a number", "GET", "there?offset=5", {}, undefined, 400, /that of record 10 is 0+10_0+/],
    ["an offset beyond the end", "GET", "there?from=5", {}, undefined, 416, /the stream's end, which is 0/],
    [
      "part of a producer",
      "POST",
      "there",
      { "content-type": "text/plain", "producer-id": "a" },
      "a",
      400,
      /all three/,
    ],
    ["a packed body", "POST", "there", { "content-encoding": "gzip" }, "a", 415, /without Content-Encoding/],
  ])("%s: the error says how to do it right", async (_, method, path, headers, body, status, hint) => {
    await ask("PUT", "there", { "content-type": "text/plain" });
    const response = await ask(method, path, headers, body);
    expect([response.status, await messageOf(response)]).toEqual([status, expect.stringMatching(hint)]);
  });
});
