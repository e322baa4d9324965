/**
 * Records as lines of JSON over HTTP (docs/edge.md#lines): what is read, what is appended, and what each wrong line or
 * parameter is told.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { readFileSync } from "node:fs";
import path from "node:path";
import { EventSource } from "eventsource";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { connect } from "../../../src/client/index.ts";
import { type LocalWorker, startWorker } from "../local-worker.ts";

const TYPE = "application/x-ndjson";
let worker: LocalWorker;

beforeAll(async () => {
  worker = await startWorker({
    settings: { TIDEMARK_OPEN_ACCESS: "loopback", TIDEMARK_SSE_MS: "1500", TIDEMARK_SSE_HEARTBEAT_MS: "200" },
  });
});
afterAll(() => worker.stop());

let made = 0;
async function stream(type = "application/json"): Promise<string> {
  const url = `${worker.url}/v1/stream/lines/${++made}`;
  expect((await fetch(url, { method: "PUT", headers: { "content-type": type } })).status).toBe(201);
  return url;
}

const post = (url: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) =>
  fetch(url, { method: "POST", headers: { "content-type": TYPE, ...headers }, body });
const get = (url: string, query = "", accept = TYPE) => fetch(url + query, { headers: { accept } });
const linesIn = async (response: Response): Promise<string[]> => (await response.text()).split("\n").slice(0, -1);
const read = async (url: string, query = "") =>
  (await linesIn(await get(url, query))).map((line) => JSON.parse(line) as Record<string, unknown>);
const offsets = async (url: string, query = "") => (await read(url, query)).map(({ offset }) => offset);
const errorOf = async (response: Response) => {
  const { error } = (await response.json()) as { error: { message: string; details: Record<string, unknown> } };
  return { status: response.status, ...error };
};

describe("appending lines", () => {
  it("takes keys, headers, times and bytes; what reads give can be sent as it is", async () => {
    const url = await stream();
    const lines = [
      '{"key":"a","headers":{"trace":"1","none":null},"timestamp":1700000000000,' +
        '"value":{"total": 1.0, "n":12345678901234567890}}',
      '{"key":null,"value":"text with \\n a break"}\r',
      "",
      '{"keyBase64":"/wA=","headers":[["h",{"base64":"/w=="}],["h","2"]],"value":[1,2]}',
      '{"key":"a","value":null}',
      '{"value":null,"tombstone":false}',
      '{"timestamp":"2027-02-28T00:00:00Z","valueBase64":"eyJhIjoxfQ=="}',
    ];
    const answer = await post(url, lines.join("\n"));
    expect([answer.status, answer.headers.get("stream-next-offset")]).toEqual([
      204,
      `${"6".padStart(16, "0")}_${"0".repeat(16)}`,
    ]);
    const found = await linesIn(await get(url));
    expect(found[0]).toBe(
      '{"offset":0,"timestamp":1700000000000,"key":"a","headers":{"trace":"1","none":null},' +
        '"value":{"total": 1.0, "n":12345678901234567890}}',
    );
    const records = found.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(records[1]).toMatchObject({ key: null, headers: {}, value: "text with \n a break" });
    expect(records[2]).toMatchObject({
      keyBase64: "/wA=",
      headers: [
        ["h", { base64: "/w==" }],
        ["h", "2"],
      ],
    });
    expect(records[3]).toMatchObject({ key: "a", value: null });
    expect(records[3]).not.toHaveProperty("tombstone");
    expect(records[4]).toMatchObject({ value: null, tombstone: false });
    expect(records[5]).toMatchObject({ timestamp: Date.parse("2027-02-28T00:00:00Z"), value: { a: 1 } });
    // The same records to a client, and the same lines into another stream.
    const values = [];
    for await (const { value } of connect(worker.url).topic(`lines/${made}`).read()) values.push(value);
    expect(values).toEqual([
      { total: 1, n: 12345678901234567890 },
      "text with \n a break",
      [1, 2],
      null,
      null,
      { a: 1 },
    ]);
    const copy = await stream();
    expect((await post(copy, `${found.join("\n")}\n`)).status).toBe(204);
    expect(await linesIn(await get(copy))).toEqual(found);
  });

  it("streams of text and of bytes have values of their kind", async () => {
    const text = await stream("text/plain");
    await post(text, '{"value":"ä"}\n{"valueBase64":"/w=="}\n');
    expect(await read(text)).toMatchObject([{ value: "ä" }, { valueBase64: "/w==" }]);
    const bytes = await stream("image/png");
    await post(bytes, '{"value":"ä"}\n{"valueBase64":"/w=="}');
    expect(await read(bytes)).toMatchObject([{ valueBase64: "w6Q=" }, { valueBase64: "/w==" }]);
  });

  it("is all or nothing, and with a producer's headers it is taken once", async () => {
    const url = await stream();
    const many = Array.from({ length: 3_000 }, (_, n) => JSON.stringify({ value: { n, pad: "x".repeat(100) } })).join(
      "\n",
    );
    expect((await post(url, `${many}\n{"value":`)).status).toBe(400);
    expect(await read(url)).toEqual([]);
    const producer = { "producer-id": "w", "producer-epoch": "0", "producer-seq": "0" };
    expect((await post(url, many, producer)).status).toBe(200);
    expect((await post(url, many, producer)).status).toBe(204);
    const found = await read(url);
    expect(found.map(({ value }) => (value as { n: number }).n)).toEqual(found.map((_, n) => n));
    expect(found).toHaveLength(3_000);
    // The server's own notes of the writer are not shown: they could not be sent again.
    expect(found[0]).toMatchObject({ headers: {} });
  });

  it.each([
    ["{", "BAD_REQUEST", "line 2 is not JSON", undefined],
    ["[1]", "BAD_REQUEST", "line 2 is no JSON object", undefined],
    ['{"total":1}', "BAD_REQUEST", 'line 2: the field "total" is not known', 'the field "total"'],
    ['{"key":"a"}', "BAD_REQUEST", "line 2: value is missing", "value"],
    ['{"key":1,"value":1}', "BAD_REQUEST", "line 2: key must be a text", "key"],
    ['{"key":"a","keyBase64":"YQ==","value":1}', "BAD_REQUEST", "line 2: keyBase64 and key exclude", "keyBase64"],
    ['{"keyBase64":"%","value":1}', "BAD_REQUEST", "line 2: keyBase64 is not base64", "keyBase64"],
    ['{"valueBase64":1}', "BAD_REQUEST", "line 2: valueBase64 must be bytes as base64", "valueBase64"],
    ['{"valueBase64":"ew=="}', "BAD_REQUEST", "line 2: valueBase64 is not JSON", "valueBase64"],
    ['{"value":1,"valueBase64":"MQ=="}', "BAD_REQUEST", "line 2: valueBase64 and value exclude", "valueBase64"],
    ['{"value":1,"tombstone":true}', "BAD_REQUEST", "line 2: tombstone is true beside a value", "tombstone"],
    ['{"value":1,"tombstone":"no"}', "BAD_REQUEST", "line 2: tombstone must be true or false", "tombstone"],
    ['{"value":1,"headers":"a"}', "BAD_REQUEST", "line 2: headers must be an object", "headers"],
    ['{"value":1,"headers":[["a"]]}', "BAD_REQUEST", "line 2: headers must be an object", "headers"],
    ['{"value":1,"headers":{"a":5}}', "BAD_REQUEST", "line 2: headers.a must be a text", "headers.a"],
    [
      '{"value":1,"headers":{"ds.producer":"x"}}',
      "BAD_REQUEST",
      "line 2: headers.ds.producer is the server's",
      "headers.ds.producer",
    ],
    ['{"value":1,"timestamp":1.5}', "BAD_REQUEST", "line 2: timestamp must be whole milliseconds", "timestamp"],
    [
      '{"value":1,"timestamp":"2027-02-28"}',
      "BAD_REQUEST",
      "line 2: timestamp must be whole milliseconds",
      "timestamp",
    ],
    [`{"value":"${"x".repeat(1_048_000)}"}`, "RECORD_TOO_LARGE", "line 2 is a record of", undefined],
    [`{"value":"${"x".repeat(2_200_000)}"}`, "RECORD_TOO_LARGE", "line 2 has 2200012 bytes", undefined],
  ])("a wrong line is refused, and named: %.40s", async (line, code, message, field) => {
    const url = await stream();
    const error = await errorOf(await post(url, `{"value":1}\n${line}\n{"value":3}`));
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) as string, details: { line: 2 } });
    expect(error.details["field"]).toBe(field);
    expect(await read(url)).toEqual([]);
  });

  it("bytes that are no text, nothing, and text streams' other values say what to do", async () => {
    const url = await stream();
    expect(await errorOf(await post(url, Uint8Array.of(0x22, 0xff, 0x0a)))).toMatchObject({
      message: expect.stringContaining("line 1 is not UTF-8") as string,
    });
    expect((await errorOf(await post(url, "\n \n"))).message).toContain("no line with a record");
    const text = await stream("text/plain");
    expect((await errorOf(await post(text, '{"value":1}'))).message).toContain(
      "must be a text, because the stream is text/plain",
    );
    expect((await errorOf(await post(text, '{"value":null,"tombstone":false}'))).message).toContain(
      "application/json only",
    );
    const missing = await errorOf(await post(`${worker.url}/v1/stream/lines/none`, '{"value":1}'));
    expect(missing).toMatchObject({ status: 404, message: expect.stringContaining("PUT creates it") as string });
  });
});

describe("reading lines", () => {
  it("from each place, with limit and key, whether Accept or the address asks", async () => {
    const url = await stream();
    await post(
      url,
      Array.from({ length: 20 }, (_, n) => `{"key":"${n % 3}","timestamp":${n * 1000},"value":${n}}`).join("\n"),
    );
    const all = Array.from({ length: 20 }, (_, n) => n);
    expect(await offsets(url)).toEqual(all);
    expect(await offsets(url, "?from=17")).toEqual([17, 18, 19]);
    expect(await offsets(url, `?from=${"17".padStart(16, "0")}_${"0".repeat(16)}`)).toEqual([17, 18, 19]);
    expect(await offsets(url, "?from=-2")).toEqual([18, 19]);
    expect(await offsets(url, "?from=-99")).toEqual(all);
    expect(await offsets(url, "?from=latest")).toEqual([]);
    expect(await offsets(url, "?from=20")).toEqual([]);
    expect(await offsets(url, "?from=earliest&limit=2")).toEqual([0, 1]);
    expect(await offsets(url, "?from=1970-01-01T00:00:18Z")).toEqual([18, 19]);
    expect(await offsets(url, "?from=1970-01-01T01:00:18.000+01:00")).toEqual([18, 19]);
    expect(await offsets(url, "?from=1970-01-01")).toEqual(all);
    expect(await offsets(url, "?key=2&limit=3")).toEqual([2, 5, 8]);
    expect(await offsets(url, "?key=%EF%BF%BD+%25")).toEqual([]);
    const plain = await fetch(`${url}?from=-1`);
    expect([plain.headers.get("content-type"), plain.headers.get("stream-next-offset")!.slice(0, 16)]).toEqual([
      TYPE,
      "20".padStart(16, "0"),
    ]);
    expect(await (await get(url, "", "application/json, application/x-ndjson;q=0.5")).json()).toEqual(all);
    expect(await (await get(url, "?offset=-1", "*/*")).json()).toEqual(all);
  });

  it.each([
    ["?from=yesterday", 400, "from", "it must be an offset, earliest, latest, -10"],
    ["?from=2027-13-01", 400, "from", "it must be an offset"],
    ["?from=", 400, "from", "it must be an offset"],
    ["?from=99999999999999999999", 400, undefined, "from is"],
    ["?from=1&from=2", 400, "from", "given 2 times"],
    ["?limit=0", 400, undefined, "limit is"],
    ["?limit=many", 400, undefined, "limit is"],
    ["?follow=perhaps", 400, "follow", "it stands alone, or is true or false"],
    ["?offset=-1", 400, "offset", "belongs to reads in the stream's own type"],
    ["?live=sse", 400, "live", "belongs to reads in the stream's own type"],
    ["?from=5", 416, undefined, "beyond the stream's end"],
  ])("a wrong parameter is refused, and named: %s", async (query, status, parameter, message) => {
    const error = await errorOf(await get(await stream(), query));
    expect(error).toMatchObject({ status, message: expect.stringContaining(message) as string });
    expect(error.details["parameter"]).toBe(parameter);
  });

  it("a stream that has this type itself keeps it, and still gives records where the address asks", async () => {
    const url = await stream(TYPE);
    await post(url, '{"total":1}\n{"total":2}\n');
    expect(await linesIn(await get(url))).toEqual(['{"total":1}', '{"total":2}']);
    expect(await read(url, "?from=earliest")).toMatchObject([
      { offset: 0, valueBase64: btoa('{"total":1}\n{"total":2}\n') },
    ]);
  });

  it("follows: what is there, what comes, empty lines while nothing does, and the end", async () => {
    const url = await stream();
    await post(url, '{"value":0}');
    const response = await get(url, "?follow");
    const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    const until = async (what: string) => {
      while (!text.includes(what)) {
        const { done, value } = await reader.read();
        if (done) throw new Error(`it ended: ${text}`);
        text += value;
      }
    };
    await until('"value":0}\n');
    await until("}\n\n");
    await post(url, '{"value":1}\n{"value":2}');
    await until('"value":2}\n');
    // More than a notice brings.
    await post(url, JSON.stringify({ value: "x".repeat(100_000) }));
    await until('"offset":3,');
    await fetch(url, { method: "POST", headers: { "stream-closed": "true" } });
    for (let read = await reader.read(); !read.done; read = await reader.read()) text += read.value;
    expect(
      text
        .split("\n")
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { offset: number }).offset),
    ).toEqual([0, 1, 2, 3]);
    expect(await offsets(url, "?follow")).toEqual([0, 1, 2, 3]);
  });

  it("a follow whose stream is deleted ends with a line that says so", async () => {
    const url = await stream();
    await post(url, '{"value":0}');
    const response = await get(url, "?follow");
    await fetch(url, { method: "DELETE" });
    const lines = (await linesIn(response)).filter(Boolean);
    expect(JSON.parse(lines.at(-1)!)).toMatchObject({ error: { code: "NOT_FOUND" } });
  });

  it("an EventSource gets each record once, over several answers, and ends with the stream", async () => {
    const url = await stream();
    await post(url, '{"key":"a","value":0}');
    const seen: { offset: number; key: string | null }[] = [];
    const source = new EventSource(`${url}?from=earliest`);
    let wake = (): void => undefined;
    source.onmessage = ({ data }) => {
      seen.push(JSON.parse(data as string) as { offset: number; key: string | null });
      wake();
    };
    const until = async (count: number) => {
      while (seen.length < count) await new Promise<void>((resolve) => (wake = resolve));
    };
    const closed = new Promise<void>((resolve) => {
      source.onerror = () => {
        if (source.readyState === EventSource.CLOSED) resolve();
      };
    });
    for (let n = 1; n < 5; n++) {
      await until(n);
      await post(url, `{"value":${n}}`);
      // Some answers end in between: each lasts 1.5 s here.
      if (n === 2) await new Promise((resolve) => setTimeout(resolve, 1_600));
    }
    await until(5);
    await fetch(url, { method: "POST", headers: { "stream-closed": "true" } });
    await closed;
    expect(seen.map(({ offset }) => offset)).toEqual([0, 1, 2, 3, 4]);
    expect(seen[0]!.key).toBe("a");
    const limited = await get(url, "?from=1&limit=1", "text/event-stream");
    expect((await errorOf(limited)).message).toContain("limit would begin anew");
  });

  it("an EventSource that begins at the end misses nothing that comes between two answers", async () => {
    const url = await stream();
    await post(url, '{"value":0}');
    const quiet = await get(url, "?from=latest", "text/event-stream");
    const reader = quiet.body!.pipeThrough(new TextDecoderStream()).getReader();
    const id = /^id: (\S+)$/m.exec((await reader.read()).value!)![1]!;
    await reader.cancel();
    await post(url, '{"value":1}');
    const headers = { accept: "text/event-stream", "last-event-id": id };
    const again = (await fetch(`${url}?from=latest`, { headers }))
      .body!.pipeThrough(new TextDecoderStream())
      .getReader();
    let text = "";
    while (!text.includes("data:")) text += (await again.read()).value!;
    await again.cancel();
    expect(text).toContain('"offset":1,');
  });

  it.each(["application/json, text/plain, */*", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"])(
    "a wildcard among others in Accept asks for lines, and not for events: %s",
    async (accept) => {
      const url = await stream();
      await post(url, '{"key":"a","value":0}\n{"key":"b","value":1}');
      const response = await get(url, "?from=earliest&limit=1", accept);
      expect([response.status, response.headers.get("content-type")]).toEqual([200, "application/x-ndjson"]);
      expect((await linesIn(response)).filter(Boolean)).toHaveLength(1);
      // Each word that only lines have is enough.
      for (const query of ["?key=b", "?limit=1"])
        expect((await linesIn(await get(url, query, accept))).filter(Boolean)).toHaveLength(1);
    },
  );

  it("24 MB of lines come as the reader takes them, a record at a time", async () => {
    const url = await stream("application/octet-stream");
    const topic = connect(worker.url).topic<Uint8Array>(`lines/${made}`, { serializer: "bytes" });
    const value = new Uint8Array(900_000).fill(7);
    for (let n = 0; n < 20; n++) await topic.append({ value });
    const response = await get(url);
    let [bytes, lines] = [0, 0];
    for await (const piece of response.body!) {
      bytes += piece.length;
      for (const byte of piece) if (byte === 10) lines++;
    }
    expect([lines, bytes > 20 * 1_200_000]).toEqual([20, true]);
  });
});

describe("the examples of the documents", () => {
  const run = promisify(execFile);
  const curl = run("curl", ["--version"]).then(
    () => true,
    () => false,
  );

  it("do what the text says", async ({ skip }) => {
    if (!(await curl)) return skip("there is no curl here");
    const text = readFileSync(path.join(import.meta.dirname, "../../../docs/edge.md"), "utf8");
    const [, section = ""] = /\n## Lines\n([^]*?)\n## /.exec(text) ?? [];
    const [, block = ""] = /```sh\n([^]*?)```/.exec(section) ?? [];
    const commands = block.split(/\n(?=curl )/).map((each) => each.replaceAll("https://logs.example.com", worker.url));
    expect(commands).toHaveLength(6);
    const said: string[] = [];
    // The last one follows until its time is over, which is an error for curl.
    for (const command of commands) said.push((await run("sh", ["-c", `${command.trim()} -s || true`])).stdout);
    const offsets = said.map((each) =>
      each
        .split("\n")
        .filter(Boolean)
        .map((line) => (JSON.parse(line) as { offset: number }).offset),
    );
    expect(offsets).toEqual([[], [], [0, 1, 2], [0], [0, 1, 2], []]);
  });
});
