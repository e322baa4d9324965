/**
 * Unusual requests to plain workerd, and to workerd behind the development server, which keeps some of them from the
 * worker: bodies where none belong, webhooks that answer without end, frames with fields of any kind.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import net, { type AddressInfo } from "node:net";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeFrame, encodeFrame, FrameType, jsonFrame, jsonOf } from "../../../src/sync/frames.ts";
import { BatchBuilder } from "../../../src/record/batch-builder.ts";
import { releaseKernel } from "../../support/kernels.ts";
import { type LocalWorker, startDevServer } from "../local-worker.ts";
import { RawWorkerd } from "../raw-workerd.ts";

const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-requests-"));
let raw: RawWorkerd;
let dev: LocalWorker;

beforeAll(async () => {
  [raw, dev] = await Promise.all([RawWorkerd.create({ directory }), startDevServer()]);
  await raw.start();
});
afterAll(async () => {
  await Promise.all([raw.kill(), dev.stop()]);
  rmSync(directory, { recursive: true, force: true });
});

const urlOf = (name: string): string => (name === "plain workerd" ? raw.url : dev.url);
const HOSTS = ["plain workerd", "the development server"];

/** Sends requests on one connection, each after the answer to the one before. Returns status and body of each. */
function say(url: string, requests: readonly string[]): Promise<[number, string][]> {
  const { port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = net.connect(Number(port), "127.0.0.1");
    const answers: [number, string][] = [];
    let heard = "";
    const next = (): void => {
      if (answers.length === requests.length) return void socket.end(() => resolve(answers));
      heard = "";
      socket.write(requests[answers.length]!.replace("\r\n", `\r\nhost: 127.0.0.1:${port}\r\n`));
    };
    socket.on("data", (part) => {
      heard += String(part);
      const head = heard.indexOf("\r\n\r\n");
      if (head < 0) return;
      const body = heard.slice(head + 4);
      const length = /content-length: (\d+)/i.exec(heard.slice(0, head))?.[1];
      const isNone = /^HTTP\/1.1 (204|304)/.test(heard) || requests[answers.length]!.startsWith("HEAD");
      const isWhole = isNone || (length === undefined ? body.endsWith("0\r\n\r\n") : body.length >= Number(length));
      if (!isWhole) return;
      answers.push([Number(heard.slice(9, 12)), body]);
      next();
    });
    socket.on("error", reject);
    socket.on("close", () => resolve(answers));
    next();
  });
}

describe.each(HOSTS)("%s", (host) => {
  test.each(["", "?offset=-1", "?offset=-1&live=sse"])(
    "a GET with a body is answered as one without: %s",
    async (query) => {
      const stream = `/v1/stream/bodies-${encodeURIComponent(query)}`;
      const url = urlOf(host) + stream;
      expect(
        (
          await fetch(url, {
            method: "PUT",
            headers: { "content-type": "text/plain", "stream-closed": "true" },
            body: "hello",
          })
        ).status,
      ).toBe(201);
      const get = (rest: string): string => `GET ${stream}${query} HTTP/1.1\r\n${rest}`;
      const answers = await say(urlOf(host), [
        get("content-length: 2\r\n\r\n{}"),
        get("transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"),
        get("\r\n"),
      ]);
      expect(answers.map(([status, body]) => [status, body.includes("hello")])).toEqual([
        [200, true],
        [200, true],
        [200, true],
      ]);
    },
  );

  test("HEAD, OPTIONS and DELETE with a body are answered as without, and the connection goes on", async () => {
    const stream = "/v1/stream/bodies-others";
    expect(
      (await fetch(urlOf(host) + stream, { method: "PUT", headers: { "content-type": "text/plain" }, body: "x" }))
        .status,
    ).toBe(201);
    const body = `content-length: 5\r\ncontent-type: text/plain\r\n\r\nhello`;
    const of = (method: string, rest = body, target = stream): string => `${method} ${target} HTTP/1.1\r\n${rest}`;
    const answers = await say(urlOf(host), [
      of("HEAD"),
      of("OPTIONS"),
      of("GET", body, `${stream}/none`),
      of("GET", body, "/v1/stream/__ds/jwks.json"),
      of("DELETE"),
      of("HEAD", "\r\n"),
    ]);
    expect(answers.map(([status]) => status)).toEqual([200, 204, 404, 200, 204, 404]);
  });

  test("reads of subscriptions, metrics and segments with a body are no error of the server", async () => {
    const body = `content-length: 2\r\n\r\n{}`;
    const targets = [
      "/v1/stream/__ds/subscriptions/none",
      "/v1/metrics/none",
      "/v1/segment/none/none",
      "/v1/socket",
      "/v1/stream/__ds/none",
      "/",
    ];
    const answers = await say(
      urlOf(host),
      targets.map((target) => `GET ${target} HTTP/1.1\r\n${body}`),
    );
    expect(answers.map(([status]) => status)).toEqual([404, 404, 404, 426, 404, expect.toBeOneOf([200, 404])]);
  });
});

test("a key that is not well encoded is refused, and named; plain workerd mends the address", async () => {
  const url = `${dev.url}/v1/stream/odd-key`;
  await fetch(url, { method: "PUT", headers: { "content-type": "application/json" } });
  const answer = await fetch(`${url}?key=a%FF`, { headers: { accept: "application/x-ndjson" } });
  const { error } = (await answer.json()) as { error: object };
  expect([answer.status, error]).toEqual([
    400,
    expect.objectContaining({
      message: expect.stringContaining("key is not well encoded") as string,
      details: { parameter: "key" },
    }),
  ]);
});

describe("what a body costs", () => {
  const JSON_TYPE = { "content-type": "application/json" };
  /** The most memory that the process has had so far, in MiB. */
  const peakMiB = (): number =>
    Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${raw.pid}/status`, "utf8"))![1]) / 1024;
  const MIB = 1024 * 1024;
  const tiny = (bytes: number): string => `[${"1,".repeat(bytes / 2 - 1)}1]`;

  test("is bounded by messages as well as bytes: refused by a code, nothing made, no memory lost", async () => {
    const url = `${raw.url}/v1/stream/costs`;
    expect((await fetch(url, { method: "PUT", headers: JSON_TYPE })).status).toBe(201);
    const send = async (method: string, target: string, body: string) => {
      const response = await fetch(target, { method, headers: JSON_TYPE, body });
      await response.arrayBuffer();
      return [response.status, response.headers.get("tidemark-error")];
    };
    // First legal bodies of that length: the body, its batches and the runtime's buffers need memory in any case.
    expect(await send("POST", url, `["${"x".repeat(MIB - 10_000)}"]`)).toEqual([204, null]);
    expect(await send("POST", url, `[${`"${"x".repeat(1_000)}",`.repeat(15_000)}1]`)).toEqual([204, null]);
    const before = peakMiB();
    for (const bytes of [MIB, 4 * MIB, 15 * MIB])
      expect([bytes, await send("POST", url, tiny(bytes))]).toEqual([bytes, [413, "TOO_LARGE"]]);
    for (const body of [`[${"{},".repeat(5 * MIB)}{}]`, `[${"[],".repeat(5 * MIB)}[]]`])
      expect(await send("POST", url, body)).toEqual([413, "TOO_LARGE"]);
    for (const body of [
      `[[${"{},".repeat(5 * MIB)}{}]]`,
      `{"a":[${"{},".repeat(5 * MIB)}{}]}`,
      `${"[".repeat(7 * MIB)}${"]".repeat(7 * MIB)}`,
    ]) {
      expect(await send("POST", url, body)).toEqual([413, "RECORD_TOO_LARGE"]);
    }
    expect(await send("PUT", `${raw.url}/v1/stream/costs-new`, tiny(4 * MIB))).toEqual([413, "TOO_LARGE"]);
    expect((await fetch(`${raw.url}/v1/stream/costs-new`, { method: "HEAD" })).status).toBe(404);
    const fork = await fetch(`${raw.url}/v1/stream/costs-fork`, {
      method: "PUT",
      headers: { ...JSON_TYPE, "stream-forked-from": "/v1/stream/costs" },
      body: tiny(4 * MIB),
    });
    expect(fork.status).toBe(413);
    // Without a bound, one MiB of such elements took 261 MiB of memory, and four MiB took 746.
    expect(peakMiB() - before).toBeLessThan(200);
    expect((await fetch(url, { method: "HEAD" })).headers.get("stream-next-offset")).toBe(
      `${"15002".padStart(16, "0")}_${"0".repeat(16)}`,
    );
    expect((await fetch(url, { method: "DELETE" })).status).toBe(204);
  });

  test("batches are bounded by their records", async () => {
    const url = `${raw.url}/v1/stream/costs-batches`;
    expect((await fetch(url, { method: "PUT", headers: { "content-type": "text/plain" } })).status).toBe(201);
    const builder = new BatchBuilder(await releaseKernel());
    for (let i = 0; i < 50_000; i++) builder.tryAppend({ key: null, value: new Uint8Array(0), timestamp: 0 });
    const batch = builder.build({ producerId: -1, producerEpoch: -1, baseSequence: -1 });
    const send = async (count: number) => {
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/vnd.tidemark.batches" },
        body: Buffer.concat(Array.from({ length: count }, () => batch)),
      });
      await response.arrayBuffer();
      return [response.status, response.headers.get("tidemark-error")];
    };
    expect(await send(3)).toEqual([413, "TOO_LARGE"]);
    expect((await fetch(url, { method: "HEAD" })).headers.get("stream-next-offset")).toMatch(/^0+_0+$/);
    expect(await send(2)).toEqual([200, null]);
  });
});

describe("fields of frames", () => {
  const VALUES = [
    '"\\ud800"',
    '"a\\udc00b"',
    "null",
    "0",
    "-1",
    "1e999",
    "true",
    "[]",
    "{}",
    '["a"]',
    '""',
    '"a\\u0000b"',
    '"__ds/x"',
    `"${"x".repeat(2_000)}"`,
    '"__proto__"',
    `${"[".repeat(9_000)}${"]".repeat(9_000)}`,
    '{"toString":1}',
    '{"timestamp":"\\ud800"}',
    '{"timestamp":null}',
  ];

  test.each(HOSTS)("of any kind get a code that blames the client: %s", async (host) => {
    await fetch(`${urlOf(host)}/v1/stream/frames`, {
      method: "PUT",
      headers: { "content-type": "text/plain" },
      body: "x",
    });
    const socket = new WebSocket(`${urlOf(host).replace("http", "ws")}/v1/socket`);
    socket.binaryType = "arraybuffer";
    const answers = new Map<string, [number, string]>();
    let heard: (() => void) | undefined;
    socket.addEventListener("message", ({ data }) => {
      const frame = decodeFrame(data);
      if (!frame) return;
      answers.set(`${frame.channel}:${frame.id}`, [frame.type, String(jsonOf(frame)?.["code"] ?? "")]);
      heard?.();
    });
    await new Promise((resolve) => socket.addEventListener("open", resolve, { once: true }));
    const answer = async (fields: Parameters<typeof encodeFrame>[0], text: string): Promise<[number, string]> => {
      const key = `${fields.channel ?? 0}:${fields.id ?? 0}`;
      answers.delete(key);
      socket.send(encodeFrame({ ...fields, payload: new TextEncoder().encode(text) }));
      while (!answers.has(key)) await new Promise<void>((resolve) => (heard = resolve));
      return answers.get(key)!;
    };
    let channel = 10;
    for (const value of VALUES) {
      for (const text of [
        `{"path":${value}}`,
        value,
        `{"path":"frames","path":${value}}`,
        `{"__proto__":{"path":"frames"}}`,
      ]) {
        const [type, code] = await answer({ type: FrameType.OPEN, channel: channel++ }, text);
        const isFine = text === `{"path":"__proto__"}` || text.endsWith(`,"path":"__proto__"}`);
        expect([text.slice(0, 60), type, code]).toEqual([
          text.slice(0, 60),
          FrameType.ERROR,
          isFine ? "NOT_FOUND" : "BAD_REQUEST",
        ]);
      }
    }
    socket.send(jsonFrame({ type: FrameType.OPEN, channel: 1 }, { path: "frames" }));
    while (answers.get("1:0")?.[0] !== FrameType.HELLO) await new Promise<void>((resolve) => (heard = resolve));
    let id = 100;
    for (const value of VALUES) {
      for (const type of [FrameType.FOLLOW, FrameType.FETCH]) {
        for (const text of [`{"from":${value}}`, value]) {
          const isFine =
            text === '{"from":0}' || text === "{}" || text === '{"toString":1}' || text.startsWith('{"timestamp"');
          if (isFine) continue;
          const [answered, code] = await answer({ type, channel: 1, id: id++, credits: 1_000 }, text);
          expect([text.slice(0, 60), answered, code]).toEqual([
            text.slice(0, 60),
            FrameType.ERROR,
            expect.toBeOneOf(["BAD_REQUEST", "OFFSET_OUT_OF_RANGE"]),
          ]);
        }
      }
    }
    socket.close();
  });
});

describe("a webhook's answer", () => {
  let server: Server;
  let answered: { sent: number; ended: Promise<void> } | undefined;
  let mode: "endless" | "redirect" | "failing" | "dripping";
  const seen: string[] = [];

  beforeAll(async () => {
    server = createServer((request, response) => {
      request.resume();
      seen.push(`${request.method} ${request.url}`);
      if (mode === "redirect") return void response.writeHead(302, { location: "/elsewhere" }).end("moved");
      const state = { sent: 0, ended: new Promise<void>((resolve) => response.once("close", resolve)) };
      answered = state;
      response.writeHead(mode === "failing" ? 500 : 200, { "content-type": "application/json" });
      if (mode === "dripping") {
        const drip = setInterval(() => response.write(" "), 50);
        return void response.once("close", () => clearInterval(drip));
      }
      const piece = Buffer.alloc(64 * 1024, " ");
      const more = (): void => {
        // An endless answer would send more than this. Sockets hold far less.
        while (!response.destroyed && state.sent < 256 * 1024 * 1024) {
          state.sent += piece.length;
          if (!response.write(piece)) return void response.once("drain", more);
        }
        response.end();
      };
      more();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  });
  afterAll(
    () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(resolve);
      }),
  );

  async function subscribe(name: string): Promise<void> {
    const { port } = server.address() as AddressInfo;
    const stream = `${dev.url}/v1/stream/hooked-${name}`;
    await fetch(stream, { method: "PUT", headers: { "content-type": "text/plain" } });
    const config = {
      type: "webhook",
      streams: [`hooked-${name}`],
      webhook: { url: `http://127.0.0.1:${port}/${name}` },
    };
    expect(
      (await fetch(`${dev.url}/v1/stream/__ds/subscriptions/${name}`, { method: "PUT", body: JSON.stringify(config) }))
        .status,
    ).toBe(201);
    expect((await fetch(stream, { method: "POST", headers: { "content-type": "text/plain" }, body: "x" })).status).toBe(
      204,
    );
  }
  const until = async (isSo: () => boolean): Promise<void> => {
    while (!isSo()) await new Promise((resolve) => setImmediate(resolve));
  };

  test.each(["endless", "failing"] as const)("is not read further than needed: %s", async (kind) => {
    mode = kind;
    answered = undefined;
    await subscribe(kind);
    await until(() => answered !== undefined);
    await answered!.ended;
    // The webhook's server can send only as much as the sockets in between hold.
    expect(answered!.sent).toBeLessThan(64 * 1024 * 1024);
  });

  test("that never ends is given up, and the call is tried again", async () => {
    mode = "dripping";
    answered = undefined;
    await subscribe("dripping");
    await until(() => answered !== undefined);
    await answered!.ended;
    await until(() => seen.filter((each) => each === "POST /dripping").length >= 2);
    expect((await fetch(`${dev.url}/v1/stream/__ds/subscriptions/dripping`, { method: "DELETE" })).status).toBe(204);
  });

  test("that redirects is a failed attempt, and is not followed", async () => {
    mode = "redirect";
    await subscribe("redirect");
    // The second attempt shows that the first counted as failed.
    await until(() => seen.filter((each) => each === "POST /redirect").length >= 2);
    expect(seen.some((each) => each.includes("elsewhere"))).toBe(false);
    expect((await fetch(`${dev.url}/v1/stream/__ds/subscriptions/redirect`, { method: "DELETE" })).status).toBe(204);
  });
});
