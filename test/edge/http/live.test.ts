/**
 * Live readers over real connections: a standard EventSource, clients that vanish without closing their connection, and
 * clients that stay connected and do not read.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { EventSource } from "eventsource";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startBrowser } from "../../support/chromium.ts";
import { RawWorkerd } from "../raw-workerd.ts";

const TEXT = { "content-type": "text/plain" };
const directory = mkdtempSync(path.join(os.tmpdir(), "tidemark-live-"));
let worker: RawWorkerd;
let streams = 0;

beforeAll(async () => {
  const settings = {
    TIDEMARK_OPEN_ACCESS: "loopback",
    TIDEMARK_SSE_MS: "1500",
    TIDEMARK_SSE_HEARTBEAT_MS: "200",
    TIDEMARK_SSE_STALLED_MS: "300",
    TIDEMARK_LONG_POLL_MS: "1000",
    TIDEMARK_SOCKET_SILENT_MS: "400",
  };
  worker = await RawWorkerd.create({ directory, settings });
  await worker.start();
});
afterAll(async () => {
  await worker.kill();
  rmSync(directory, { recursive: true, force: true });
});

const at = (name: string): string => `${worker.url}/v1/stream/${name}`;
async function make(body?: string): Promise<string> {
  const name = `live-${++streams}`;
  expect((await fetch(at(name), { method: "PUT", headers: TEXT, ...(body !== undefined && { body }) })).status).toBe(
    201,
  );
  return name;
}
const post = async (name: string, body: string, headers: Record<string, string> = TEXT): Promise<void> =>
  void expect((await fetch(at(name), { method: "POST", headers, ...(body !== "" && { body }) })).status).toBe(204);

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
async function places(name: string, gauge: "watchers" | "sockets"): Promise<number> {
  const text = await (await fetch(`${worker.url}/v1/metrics/${name}`)).text();
  return Number(new RegExp(`tidemark_${gauge}\\{.*\\} (\\d+)`).exec(text)![1]);
}
async function until(name: string, gauge: "watchers" | "sockets", count: number): Promise<void> {
  while ((await places(name, gauge)) !== count) await pause(20);
}

/** What a reader has received so far. */
interface Seen {
  readonly data: readonly string[];
  /** How many answers it has got. */
  readonly answers: number;
  readonly closed: boolean;
}
interface Reader {
  seen(): Promise<Seen>;
  end(): Promise<void>;
}
/** Reads by an EventSource for Node from npm. */
async function inNode(url: string): Promise<Reader> {
  const source = new EventSource(url);
  const data: string[] = [];
  let answers = 0;
  source.addEventListener("open", () => answers++);
  source.addEventListener("data", (event) => data.push(event.data as string));
  return {
    seen: async () => ({ data, answers, closed: source.readyState === EventSource.CLOSED }),
    end: async () => source.close(),
  };
}
/** Reads by the EventSource of a real Chromium, in a page of another origin. */
async function inChromium(url: string): Promise<Reader> {
  const profile = mkdtempSync(path.join(os.tmpdir(), "tidemark-live-"));
  const { browser, context, child } = await startBrowser(profile);
  const page = await context.newPage();
  // Chromium lets only pages from loopback send requests to loopback.
  const site = createServer((_, response) => response.end("reader"));
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  await page.goto(`http://127.0.0.1:${(site.address() as net.AddressInfo).port}/`);
  const seen = await page.evaluateHandle((from) => {
    const source = new globalThis.EventSource(from);
    const data: string[] = [];
    const found = { source, data, answers: 0 };
    source.addEventListener("open", () => found.answers++);
    source.addEventListener("data", (event) => data.push((event as MessageEvent<string>).data));
    return found;
  }, url);
  return {
    seen: () => seen.evaluate(({ source, data, answers }) => ({ data, answers, closed: source.readyState === 2 })),
    async end() {
      const gone = new Promise((resolve) => child.once("exit", resolve));
      await browser.close();
      process.kill(-child.pid!, "SIGKILL");
      await gone;
      site.close();
      site.closeAllConnections();
      rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

describe("a standard EventSource", () => {
  it.each([
    ["a package for Node", inNode],
    ["Chromium", inChromium],
  ])(
    "of %s gets each record once, over many answers, and stops when the stream is closed",
    async (_, read) => {
      const name = await make("one");
      const reader = await read(`${at(name)}?offset=-1&live=sse`);
      const when = async (wanted: (seen: Seen) => boolean): Promise<Seen> => {
        for (;;) {
          const seen = await reader.seen();
          if (wanted(seen)) return seen;
          await pause(20);
        }
      };
      try {
        await when(({ data }) => data.length > 0);
        // Posts continue until the reader has got three answers, so that some come between two answers.
        for (let i = 0; (await reader.seen()).answers < 3; i++) {
          await post(name, `${i};`);
          await pause(150);
        }
        await post(name, "last");
        const seen = await when(({ data }) => data.at(-1)!.endsWith("last"));
        const written = await (await fetch(`${at(name)}?offset=-1`)).text();
        expect(seen.data.join("")).toBe(written);
        // A closed stream ends the EventSource: the stream answers 204 to the last event's id.
        await post(name, "", { "stream-closed": "true" });
        const closed = await when((last) => last.closed);
        expect(closed.data.join("")).toBe(written);
        await until(name, "watchers", 0);
      } finally {
        await reader.end();
      }
    },
    60_000,
  );
});

/** A connection that sends one request and nothing more. `read`: whether it reads what comes. */
async function connection(request: string, read: boolean): Promise<net.Socket> {
  const socket = net.connect(worker.port, "127.0.0.1");
  socket.on("error", () => undefined);
  await new Promise<void>((resolve) => socket.once("connect", () => resolve()));
  socket.write(request);
  if (read) socket.resume();
  return socket;
}
const get = (name: string, query: string, headers = ""): string =>
  `GET /v1/stream/${name}${query} HTTP/1.1\r\nhost: 127.0.0.1:${worker.port}\r\n${headers}\r\n`;
const UPGRADE =
  "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: " +
  "AAAAAAAAAAAAAAAAAAAAAA==\r\n";

describe("a client that vanishes", () => {
  it.each([
    // Readers of events share one place.
    ["SSE", "?offset=-1&live=sse", 1],
    ["long-poll", "?offset=now&live=long-poll", 20],
  ])(
    "%s: its place is free soon after",
    async (_, query, watchers) => {
      const name = await make("x");
      const clients = await Promise.all(Array.from({ length: 20 }, () => connection(get(name, query), true)));
      await until(name, "watchers", watchers);
      for (const client of clients) client.destroy();
      await until(name, "watchers", 0);
    },
    60_000,
  );

  it("SSE: the others get each record once, also while the one vanishes whose socket they share", async () => {
    const name = await make();
    const seen: number[][] = [];
    const clients: net.Socket[] = [];
    for (let i = 0; i < 8; i++) {
      const client = await connection(get(name, "?offset=now&live=sse"), false);
      const found: number[] = [];
      let text = "";
      const isThere = new Promise<void>((resolve) =>
        client.on("data", (data) => {
          text += data.toString("latin1");
          if (text.includes("event: control")) resolve();
          const lines = text.split("\n");
          text = lines.pop()!;
          for (const line of lines)
            if (/^data:\d/.test(line)) found.push(...line.slice(5).split(";").filter(Boolean).map(Number));
        }),
      );
      await isThere;
      seen.push(found);
      clients.push(client);
    }
    expect(await places(name, "watchers")).toBe(1);
    let n = 0;
    // The first of those that are left has the socket, and vanishes before a record, or while records come.
    for (const client of clients.slice(0, 5)) {
      for (let i = 0; i < 3; i++) await post(name, `${n++};`);
      client.destroy();
      for (let i = 0; i < 3; i++) await post(name, `${n++};`);
    }
    const all = Array.from({ length: n }, (_, i) => i);
    while (seen.slice(5).some(({ length }) => length < n)) await pause(20);
    expect(seen.slice(5)).toEqual([all, all, all]);
    expect(await places(name, "watchers")).toBe(1);
    for (const client of clients) client.destroy();
    await until(name, "watchers", 0);
  });

  it("WebSocket: at once", async () => {
    const name = await make("x");
    const clients = await Promise.all(Array.from({ length: 5 }, () => connection(get(name, "", UPGRADE), true)));
    await until(name, "sockets", 5);
    for (const client of clients) client.destroy();
    await until(name, "sockets", 0);
  });

  it("WebSocket whose connection still stands: once it has answered no ping", async () => {
    const name = await make("x");
    const silent = await connection(get(name, "", UPGRADE), true);
    const answering = new WebSocket(at(name).replace("http", "ws"));
    let pings = 0;
    answering.addEventListener("message", ({ data }) => {
      if (data !== "ping") return;
      pings++;
      answering.send("pong");
    });
    await until(name, "sockets", 2);
    await until(name, "sockets", 1);
    // A client that answers no ping is given up before the second one.
    for (const asked = pings; pings < asked + 2;) await pause(20);
    expect([await places(name, "sockets"), answering.readyState]).toEqual([1, WebSocket.OPEN]);
    answering.close();
    await until(name, "sockets", 0);
    silent.destroy();
  });

  it("WebSocket that its client closes: it gets the answer that ends its own side, too", async () => {
    const address = at(await make("x"));
    for (const each of [address, `${new URL(address).origin}/v1/socket`]) {
      const socket = new WebSocket(each.replace("http", "ws"));
      await new Promise((resolve) => socket.addEventListener("open", resolve, { once: true }));
      const closed = new Promise<CloseEvent>((resolve) => socket.addEventListener("close", resolve, { once: true }));
      socket.close(1000);
      expect(await closed).toMatchObject({ wasClean: true });
      expect(socket.readyState).toBe(WebSocket.CLOSED);
    }
  });
});

describe("a client that stays and does not read", () => {
  it("SSE: its place is free when its answer's time is up, and the stream goes on", async () => {
    const name = await make();
    for (let i = 0; i < 16; i++) await post(name, `${i}`.repeat(500_000));
    const clients = await Promise.all(
      Array.from({ length: 10 }, () => connection(get(name, "?offset=-1&live=sse"), false)),
    );
    await until(name, "watchers", 1);
    await until(name, "watchers", 0);
    await post(name, "still there");
    for (const client of clients) client.destroy();
  });
});
