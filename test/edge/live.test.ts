/**
 * Live reads inside workerd, by Server-Sent Events and by long-poll: their contents, their start, how they continue.
 */
import { env, SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { splitBatches } from "../../src/record/record-batch.ts";
import { handle } from "../../worker/front/router.ts";
import { inside } from "./archive-tools.ts";
import { offsetText, SseReader } from "./sse-reader.ts";

const BATCHES = "application/vnd.tidemark.batches";
const TEXT = { "content-type": "text/plain" };
const JSON_TYPE = { "content-type": "application/json" };
const BYTES = { "content-type": "application/octet-stream" };
let streams = 0;

const at = (path: string): string => `http://localhost/v1/stream/${path}`;
async function call(
  path: string,
  method: string,
  headers: Record<string, string> = {},
  body?: string | Uint8Array,
): Promise<Response> {
  const response = await SELF.fetch(at(path), {
    method,
    headers,
    ...(body !== undefined && { body: body as BodyInit }),
  });
  const bytes = await response.arrayBuffer();
  return new Response([204, 304].includes(response.status) ? null : bytes, response);
}
async function make(headers: Record<string, string>, ...bodies: (string | Uint8Array)[]): Promise<string> {
  const path = `live/${++streams}`;
  expect((await call(path, "PUT", headers)).status).toBe(201);
  for (const body of bodies) await post(path, headers, body);
  return path;
}
async function post(path: string, headers: Record<string, string>, body: string | Uint8Array): Promise<void> {
  expect((await call(path, "POST", { "content-type": headers["content-type"]! }, body)).status).toBe(204);
}
/** Sends a request to a worker with short answers and short heartbeats. */
const ask = (
  path: string,
  query: string,
  headers: Record<string, string> = {},
  settings: Record<string, string> = {},
): Promise<Response> =>
  handle(new Request(`${at(path)}${query}`, { headers }), { ...(env as object), ...settings } as never);
const sse = async (
  path: string,
  query = "offset=-1",
  headers: Record<string, string> = {},
  settings: Record<string, string> = {},
): Promise<SseReader> => new SseReader(await ask(path, `?${query}&live=sse`, headers, settings));

describe("text in events", () => {
  const bytes = (...hex: string[]): Uint8Array[] =>
    hex.map((text) => Uint8Array.from(text.split(" "), (digits) => parseInt(digits, 16)));

  it.each<[string, Uint8Array[], string]>([
    ["two appends share a character", bytes("61 C3", "A9 62"), "aéb"],
    ["four appends share one", bytes("61 F0", "9F", "98", "80 62"), "a😀b"],
    ["an append is the middle of one", bytes("E2", "82", "AC"), "€"],
    [
      "a byte-order mark is kept, at the beginning and in the middle",
      bytes("EF BB BF 61", "EF BB", "BF 62"),
      "\uFEFFa\uFEFFb",
    ],
    [
      "line breaks of any kind are one each, also across appends",
      bytes("61 0D", "0A 62 0A", "0A 63 0D", "64 0D 0A", "0D"),
      "a\nb\n\nc\nd\n\n",
    ],
    ["what is no text is said to be none, once", bytes("61 FF", "62"), "a\uFFFDb"],
    ["spaces at the beginning of lines are kept", bytes("20 61 0A", "20 20 62"), " a\n  b"],
  ])("%s", async (_, appends, text) => {
    // A live reader gets one event per append.
    const path = await make(TEXT);
    const reader = await sse(path);
    await reader.control();
    let live = "";
    for (const [i, append] of appends.entries()) {
      await post(path, TEXT, append);
      live += (await reader.dataUntil(offsetText(i + 1))).join("");
    }
    expect(live).toBe(text);
    await reader.cancel();
    // A reader that comes later gets all of them in one event.
    const late = await sse(path);
    expect((await late.dataUntil(offsetText(appends.length))).join("")).toBe(text);
    await late.cancel();
    // By long-poll, one answer per append: an incomplete character comes with the next answer.
    let parts = "";
    const slow = await make(TEXT);
    for (const [i, append] of appends.entries()) {
      await post(slow, TEXT, append);
      const part = await sse(slow, `offset=${offsetText(i)}`);
      parts += (await part.dataUntil(offsetText(i + 1))).join("");
      await part.cancel();
    }
    expect(parts).toBe(text);
  });

  it("at the end of a closed stream an incomplete character is sent as U+FFFD", async () => {
    const path = await make(TEXT, "a", ...bytes("C3"));
    const reader = await sse(path);
    expect(await reader.dataUntil(offsetText(2))).toEqual(["a"]);
    await call(path, "POST", { "stream-closed": "true" });
    expect(await reader.next()).toMatchObject({ type: "data", data: "\uFFFD" });
    expect(await reader.control()).toEqual({ streamNextOffset: offsetText(2), streamClosed: true, upToDate: true });
    expect(await reader.next()).toBeUndefined();
  });

  it("JSON comes as arrays with the client's own text, bytes as base64 of each event alone", async () => {
    const json = await make(JSON_TYPE, '[1.0,"a\u2028é"]');
    const reader = await sse(json);
    expect(await reader.dataUntil(offsetText(2))).toEqual(['[1.0,"a\u2028é"]']);
    await post(json, JSON_TYPE, '{"x":\r\n[2]}');
    expect(await reader.dataUntil(offsetText(3))).toEqual(['[{"x":\n[2]}]']);
    await post(json, JSON_TYPE, "3");
    expect(await reader.dataUntil(offsetText(4))).toEqual(["[3]"]);
    await reader.cancel();
    const binary = await make(BYTES, Uint8Array.of(0xc3));
    const other = await sse(binary);
    expect(other.response.headers.get("stream-sse-data-encoding")).toBe("base64");
    expect(await other.dataUntil(offsetText(1))).toEqual(["ww=="]);
    await post(binary, BYTES, Uint8Array.of(0xa9, 1));
    expect(await other.dataUntil(offsetText(2))).toEqual(["qQE="]);
    await other.cancel();
  });
});

describe("an SSE answer", () => {
  it("tells caches and proxies not to keep, compress or buffer it", async () => {
    const reader = await sse(await make(TEXT, "x"));
    const { headers } = reader.response;
    expect(
      ["content-type", "cache-control", "x-accel-buffering", "vary", "content-encoding"].map((name) =>
        headers.get(name),
      ),
    ).toEqual(["text/event-stream", "no-cache, no-store, no-transform", "no", "accept", null]);
    await reader.cancel();
  });

  it("cursors of its events never fall, however far ahead the client's is", async () => {
    const path = await make(JSON_TYPE);
    const present = Math.floor((Date.now() - Date.UTC(2024, 9, 9)) / 20_000);
    for (const given of [present, present + 50, 999_999_999_999_999, present - 5]) {
      const reader = await sse(path, `offset=now&cursor=${given}`);
      const cursors = [(await reader.control()).streamCursor!];
      for (let i = 0; i < 10; i++) {
        await post(path, JSON_TYPE, "1");
        cursors.push((await reader.control()).streamCursor!);
      }
      await reader.cancel();
      expect(Number(cursors[0])).toBeGreaterThan(given);
      expect(cursors).toEqual(cursors.toSorted((a, b) => Number(a) - Number(b)));
    }
  });

  it("has comments while nothing happens, ends after its time, and the next answer continues", async () => {
    const path = await make(TEXT, "one");
    const reader = await sse(path, "offset=-1", {}, { TIDEMARK_SSE_HEARTBEAT_MS: "30", TIDEMARK_SSE_MS: "400" });
    expect(await reader.dataUntil(offsetText(1))).toEqual(["one"]);
    expect(await reader.next()).toBeUndefined();
    expect(reader.comments).toBeGreaterThan(2);
  });

  it("ends when its time is up also while data keep coming", async () => {
    const path = await make(TEXT, "x".repeat(900_000), "y".repeat(900_000), "z".repeat(900_000));
    const reader = await sse(path, "offset=-1", {}, { TIDEMARK_SSE_MS: "1" });
    await new Promise((resolve) => setTimeout(resolve, 20));
    let control: Awaited<ReturnType<typeof reader.control>> | undefined;
    for (let event = await reader.next(); event; event = await reader.next())
      if (event.type === "control") control = JSON.parse(event.data);
    expect(control!.streamNextOffset).toBe(offsetText(2));
  });

  it("is refused with 406 if the client does not accept events", async () => {
    const path = await make(TEXT, "x");
    for (const accept of ["application/json", BATCHES, "text/event-stream;q=0, */*"]) {
      const response = await ask(path, "?offset=-1&live=sse", { accept });
      expect([
        response.status,
        response.headers.get("vary"),
        ((await response.json()) as { error: object }).error,
      ]).toMatchObject([406, "accept", { code: "NOT_ACCEPTABLE" }]);
    }
  });
});

describe("Last-Event-ID", () => {
  const id = (offset: number) => ({ "last-event-id": offsetText(offset) });

  it("every event's id is the offset behind it; a repeated request continues there", async () => {
    const path = await make(TEXT, "one", "two");
    const first = await sse(path);
    expect(await first.next()).toEqual({ type: "data", id: offsetText(2), data: "onetwo" });
    expect(await first.next()).toMatchObject({ type: "control", id: offsetText(2) });
    expect(first.retry).toBe("1000");
    await first.cancel();
    await post(path, TEXT, "three");
    const second = await sse(path, "offset=-1", id(2));
    expect(await second.dataUntil(offsetText(3))).toEqual(["three"]);
    await second.cancel();
    // An id before the URL's offset is ignored: the URL is newer.
    const third = await sse(path, `offset=${offsetText(2)}`, id(1));
    expect(await third.dataUntil(offsetText(3))).toEqual(["three"]);
    await third.cancel();
  });

  it("a reader from now on misses nothing between two answers", async () => {
    const path = await make(TEXT, "before");
    const first = await sse(path, "offset=now");
    expect(await first.next()).toMatchObject({ type: "control", id: offsetText(1) });
    await first.cancel();
    await post(path, TEXT, "between");
    const second = await sse(path, "offset=now", id(1));
    expect(await second.dataUntil(offsetText(2))).toEqual(["between"]);
    await second.cancel();
  });

  it("at the end of a closed stream it is answered 204, which ends an EventSource", async () => {
    const path = await make(TEXT, "one");
    await call(path, "POST", { "stream-closed": "true" });
    const first = await sse(path);
    expect(await first.next()).toMatchObject({ data: "one" });
    expect(await first.control()).toMatchObject({ streamClosed: true });
    expect(await first.next()).toBeUndefined();
    const again = await ask(path, "?offset=-1&live=sse", id(1));
    expect([again.status, again.headers.get("stream-closed"), again.headers.get("cache-control"), again.body]).toEqual([
      204,
      "true",
      "no-store",
      null,
    ]);
    // A reader that asks again without the id gets events, as the protocol says.
    const anew = await sse(path, `offset=${offsetText(1)}`);
    expect(await anew.control()).toEqual({ streamNextOffset: offsetText(1), streamClosed: true, upToDate: true });
  });

  it("a wrong id is refused by the header's name, and so is one behind the end", async () => {
    const path = await make(TEXT, "one");
    for (const bad of ["5", "now", "-1", "x"]) {
      const response = await ask(path, "?offset=-1&live=sse", { "last-event-id": bad });
      expect([response.status, ((await response.json()) as { error: { message: string } }).error.message]).toEqual([
        400,
        expect.stringContaining("Last-Event-ID"),
      ]);
    }
    expect((await ask(path, "?offset=-1&live=sse", id(2))).status).toBe(416);
    // Only events have ids: other reads ignore the header.
    expect(await (await ask(path, "?offset=-1", id(1))).text()).toBe("one");
  });
});

describe("long-poll", () => {
  it("passes the client's Accept on: batches over long-poll, live", async () => {
    const path = await make(JSON_TYPE, "[1,2]");
    const first = await ask(path, "?offset=-1&live=long-poll", { accept: `${BATCHES};q=1` });
    expect(
      ["content-type", "stream-next-offset", "tidemark-from-offset", "stream-up-to-date", "vary"].map((name) =>
        first.headers.get(name),
      ),
    ).toEqual([BATCHES, offsetText(2), offsetText(0), "true", "accept"]);
    expect(splitBatches(new Uint8Array(await first.arrayBuffer())).length).toBe(1);
    const waiting = ask(path, `?offset=${offsetText(2)}&live=long-poll`, { accept: BATCHES });
    await watched(path);
    await post(path, JSON_TYPE, "3");
    const second = await waiting;
    expect([second.status, second.headers.get("content-type"), second.headers.get("stream-next-offset")]).toEqual([
      200,
      BATCHES,
      offsetText(3),
    ]);
    expect(splitBatches(new Uint8Array(await second.arrayBuffer())).length).toBe(1);
    expect((await ask(path, "?offset=-1&live=long-poll", { accept: "text/html" })).status).toBe(406);
    const plain = await ask(path, "?offset=-1&live=long-poll");
    expect([plain.headers.get("vary"), await plain.json()]).toEqual(["accept", [1, 2, 3]]);
  });

  it("nothing within its time is 204, in either dialect", async () => {
    const path = await make(JSON_TYPE, "1");
    for (const accept of ["*/*", BATCHES]) {
      const response = await ask(
        path,
        `?offset=${offsetText(1)}&live=long-poll`,
        { accept },
        { TIDEMARK_LONG_POLL_MS: "20" },
      );
      expect([
        response.status,
        response.headers.get("stream-up-to-date"),
        response.headers.get("cache-control"),
        response.headers.get("vary"),
      ]).toEqual([204, "true", "no-store", "accept"]);
    }
  });
});

/** Resolves when a live reader waits at the stream. */
async function watched(path: string, count = 1): Promise<void> {
  for (;;) {
    const found = await inside(
      path,
      (instance) =>
        (instance as typeof instance & { ctx: { getWebSockets(tag: string): unknown[] } }).ctx.getWebSockets("watch")
          .length,
    );
    if (found === count) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

describe("a follower at the tail", () => {
  /** Reads that the object has served since it woke. */
  async function readsOf(path: string): Promise<number> {
    const text = await (await SELF.fetch(`http://localhost/v1/metrics/${path}`)).text();
    return Number(/^tidemark_reads_total\{.*\} (\d+)/m.exec(text)![1]);
  }

  it.each([
    ["text", TEXT, ["one", "zwei ä", "\r", "\n3"], "onezwei ä\n3"],
    ["JSON", JSON_TYPE, ["1", "[2,3]", '"ä"'], '[1][2,3]["ä"]'],
    ["bytes", BYTES, ["abc", "de"], "YWJjZGU="],
  ])("asks nothing while small records of %s come, nor when the stream is closed", async (_, type, bodies, all) => {
    const path = await make(type);
    const reader = await sse(path);
    await reader.control();
    const before = await readsOf(path);
    const found: string[] = [];
    for (const body of bodies) {
      await post(path, type, body);
      for (let end = ""; !end;) {
        const event = (await reader.next())!;
        if (event.type === "data") found.push(event.data);
        else if ((JSON.parse(event.data) as { upToDate?: boolean }).upToDate) end = event.id;
      }
    }
    await call(path, "POST", { "stream-closed": "true" });
    expect(await reader.control()).toMatchObject({ streamClosed: true, upToDate: true });
    expect([await reader.next(), await readsOf(path)]).toEqual([undefined, before]);
    const joined = all.endsWith("=") ? btoa(found.map((each) => atob(each)).join("")) : found.join("");
    expect(joined).toBe(all);
  });

  it("by long-poll asks once for each answer, in either dialect, and gets what a read would give", async () => {
    const path = await make(JSON_TYPE, "0");
    for (const [i, accept] of ["*/*", BATCHES, "*/*"].entries()) {
      const from = offsetText(i + 1);
      const before = await readsOf(path);
      const waiting = ask(path, `?offset=${from}&live=long-poll`, { accept });
      await watched(path);
      await post(path, JSON_TYPE, `{"n":${i}}`);
      const live = await waiting;
      expect(await readsOf(path)).toBe(before + 1);
      // A second reader comes late, and asks.
      const late = await ask(path, `?offset=${from}&live=long-poll`, { accept });
      const names = ["content-type", "cache-control", "vary", "etag", "tidemark-from-offset", "stream-next-offset"];
      const headersOf = (response: Response) =>
        [...names, "stream-up-to-date", "stream-closed", "content-length"].map((name) => response.headers.get(name));
      expect(headersOf(live).slice(0, -1)).toEqual(headersOf(late).slice(0, -1));
      expect(new Uint8Array(await live.arrayBuffer())).toEqual(new Uint8Array(await late.arrayBuffer()));
      await watched(path, 0);
    }
    const waiting = ask(path, `?offset=${offsetText(4)}&live=long-poll`);
    await watched(path);
    await call(path, "POST", { "stream-closed": "true" });
    const closed = await waiting;
    expect([closed.status, closed.headers.get("stream-closed"), closed.headers.get("stream-cursor")]).toEqual([
      204,
      "true",
      null,
    ]);
  });

  it("gets each record once and in order, whether a notice brings it or it has to ask", async () => {
    const path = await make(JSON_TYPE);
    const readers = await Promise.all(Array.from({ length: 5 }, () => sse(path)));
    const count = 400;
    // Every seventh is larger than any notice, and nobody waits for anybody.
    const posts = Promise.all(
      Array.from({ length: count }, (_, n) =>
        post(path, JSON_TYPE, `{"n":${n},"x":"${"x".repeat(n % 7 ? 9 : 20_000)}"}`),
      ),
    );
    const found = await Promise.all(
      readers.map(async (reader, i) => {
        const data: string[] = [];
        for (let end = ""; end !== offsetText(count);) {
          // Some are slow.
          if (i % 2 === 1) await new Promise((resolve) => setTimeout(resolve, 3));
          const event = (await reader.next())!;
          if (event.type === "data") data.push(event.data);
          else end = event.id;
        }
        return data.flatMap((text) => (JSON.parse(text) as { n: number }[]).map(({ n }) => n));
      }),
    );
    await posts;
    const written = (await (await call(path, "GET")).json()) as { n: number }[];
    expect(written.length).toBe(count);
    for (const each of found) expect(each).toEqual(written.map(({ n }) => n));
    await Promise.all(readers.map((reader) => reader.cancel()));
  });
});

describe("a log that retention has emptied", () => {
  async function emptied(headers: Record<string, string>): Promise<string> {
    const path = await make({ ...headers, "tidemark-retention-seconds": "1" }, "1", "2");
    for (let start: string | null = ""; start !== offsetText(2);) {
      await new Promise((resolve) => setTimeout(resolve, 50));
      start = (await call(path, "HEAD")).headers.get("tidemark-start-offset");
    }
    return path;
  }

  it("every live read from its beginning waits there, and gets what comes next", async () => {
    const path = await emptied(JSON_TYPE);
    const short = await ask(path, "?offset=-1&live=long-poll", {}, { TIDEMARK_LONG_POLL_MS: "20" });
    expect([short.status, short.headers.get("stream-next-offset"), short.headers.get("tidemark-from-offset")]).toEqual([
      204,
      offsetText(2),
      offsetText(2),
    ]);
    const polls = [ask(path, "?offset=-1&live=long-poll"), ask(path, "?offset=-1&live=long-poll", { accept: BATCHES })];
    const events = await sse(path);
    expect(await events.control()).toMatchObject({ streamNextOffset: offsetText(2), upToDate: true });
    await watched(path, 3);
    await post(path, JSON_TYPE, "3");
    expect(await (await polls[0]!).json()).toEqual([3]);
    expect(splitBatches(new Uint8Array(await (await polls[1]!).arrayBuffer())).length).toBe(1);
    expect(await events.next()).toMatchObject({ type: "data", data: "[3]", id: offsetText(3) });
    await events.cancel();
    for (const live of ["", "&live=long-poll", "&live=sse"]) {
      const response = await ask(path, `?offset=${offsetText(1)}${live}`);
      expect([response.status, response.headers.get("stream-next-offset")]).toEqual([410, offsetText(2)]);
    }
  });
});
