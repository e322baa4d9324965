/** What callers of the client pass wrongly: a typed error names the field, and nothing is sent. */
import { describe, expect, it } from "vitest";
import { connect } from "../../src/client/index.ts";

const sent: string[] = [];
const fetch = (url: string): Promise<Response> => {
  sent.push(url);
  return Promise.reject(new Error("nothing may be sent"));
};
const wrong = (value: unknown): never => value as never;
const edge = connect("https://edge.example/", { fetch });
const topic = edge.topic("orders");

describe("connect()", () => {
  it.each<[string, unknown, object]>([
    ["url", "edge.example", {}],
    ["url", "ftp://edge.example", {}],
    ["url", undefined, {}],
    ["url", "https://edge.example/?tenant=a", {}],
    ["url", "https://edge.example/#a", {}],
    ["url", "https://ada:secret@edge.example", {}],
    ["token", "https://e.example", { token: 5 }],
    ["transport", "https://e.example", { transport: "tcp" }],
    ["WebSocket", "https://e.example", { WebSocket: "ws" }],
    ["fetch", "https://e.example", { fetch: 1 }],
    ["timeoutMs", "https://e.example", { timeoutMs: 0 }],
    ["timeoutMs", "https://e.example", { timeoutMs: "30s" }],
    ["inFlightBytesMax", "https://e.example", { inFlightBytesMax: 1.5 }],
    ["onRetry", "https://e.example", { onRetry: {} }],
    ["signal", "https://e.example", { signal: {} }],
    ["the options of connect()", "https://e.example", wrong(null)],
  ])("names a wrong %s: %s", (field, url, options) => {
    expect(() => connect(wrong(url), wrong(options))).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", details: expect.objectContaining({ field }) as object }),
    );
  });

  it.each(["", "one two", "ends\n", "é", "x".repeat(8193), "<!doctype html>\n<title>App</title>", 5])(
    "sends nothing with what is no token: %j",
    async (given) => {
      const refused = expect.objectContaining({ code: "INVALID_ARGUMENT", details: { field: "token" } }) as Error;
      for (const token of [given, () => given, async () => given]) {
        if (typeof token === "number") continue;
        const remote = connect("https://edge.example/", { fetch, token: wrong(token) }).topic("orders");
        for (const call of [remote.state(), remote.append({ value: 1 })]) await expect(call).rejects.toEqual(refused);
      }
      expect(sent).toEqual([]);
    },
  );

  it("takes an address with a path, a slash at its end, or a URL", () => {
    expect(connect("https://e.example/logs/").url).toBe("https://e.example/logs");
    expect(connect(new URL("http://127.0.0.1:8787")).url).toBe("http://127.0.0.1:8787");
  });
});

describe("topic()", () => {
  it.each<[string, unknown, object]>([
    ["name", "", {}],
    ["name", "x".repeat(1_025), {}],
    ["name", 5, {}],
    ["name", "half \ud800", {}],
    ["name", "a/../b", {}],
    ["serializer", "a", { serializer: "xml" }],
    ["serializer", "a", { serializer: { serialize: 1 } }],
    ["create", "a", { create: "no" }],
  ])("names a wrong %s: %s", (field, name, options) => {
    expect(() => edge.topic(wrong(name), wrong(options))).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT", details: expect.objectContaining({ field }) as object }),
    );
  });

  it.each([undefined, "audit", {}, [() => 1]])("use(%j) is refused at once, and later appends go on", (middleware) => {
    expect(() => edge.topic("used").use(wrong(middleware))).toThrow(
      expect.objectContaining({
        code: "INVALID_ARGUMENT",
        details: expect.objectContaining({ field: "use" }) as object,
      }),
    );
  });

  it("is one object for a name, and refuses another serializer", () => {
    expect(edge.topic("orders")).toBe(topic);
    expect(() => edge.topic("orders", { serializer: "text" })).toThrow(/another serializer/);
  });
});

describe("calls", () => {
  it.each<[string, () => Promise<unknown>]>([
    ["a record", () => topic.append(wrong(5))],
    ["value", () => topic.append(wrong({}))],
    ["value", () => topic.append({ value: new Map() })],
    ["key", () => topic.append(wrong({ key: 5, value: 1 }))],
    ["headers.a", () => topic.append(wrong({ value: 1, headers: { a: 5 } }))],
    ["timestamp", () => topic.append({ value: 1, timestamp: 1.5 })],
    ["ifEnd", () => topic.append({ value: 1 }, { ifEnd: -1 })],
    ["signal", () => topic.append({ value: 1 }, wrong({ signal: true }))],
    ["records", () => topic.appendBatch(wrong(5))],
    ["records", () => topic.appendBatch([])],
    ["records[1].value", () => topic.appendBatch([{ value: 1 }, wrong({})])],
    ["onProgress", () => topic.appendAll([], wrong({ onProgress: 1 }))],
    ["from", () => topic.read({ from: wrong("start") }).next()],
    ["to", () => topic.read({ to: -1 }).next()],
    ["follow", () => topic.read({ follow: wrong(1) }).next()],
    ["signal", () => topic.state(wrong({ signal: 1 }))],
    ["the options of a call", () => topic.delete(wrong(7))],
  ])("name a wrong %s", async (field, call) => {
    await expect(call()).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field } });
  });

  it("a record that is too large, or several together, are told so, with the limit", async () => {
    const large = "x".repeat(2_100_000);
    await expect(topic.append({ value: large })).rejects.toMatchObject({
      code: "RECORD_TOO_LARGE",
      details: { batchBytesMax: 1_048_588 },
    });
    await expect(topic.appendBatch([{ value: large }, { value: 1 }])).rejects.toMatchObject({
      code: "BATCH_TOO_LARGE",
    });
    expect(sent).toEqual([]);
  });

  it("an append whose signal is aborted already is not sent", async () => {
    const reason = new Error("never mind");
    await expect(topic.append({ value: 1 }, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    expect(sent).toEqual([]);
  });
});
