/**
 * Live readers and a stream's TTL, inside workerd: a stream with a live reader does not expire, an idle stream expires
 * when its last reader has gone, and readers that have gone leave nothing behind.
 */
import { env, evictDurableObject, SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { EdgeSocket, type Wire } from "../../src/sync/edge-socket.ts";
import { openTopic } from "../../worker/library.ts";
import { handle } from "../../worker/front/router.ts";
import { call, inside, objectOf, real } from "./archive-tools.ts";
import { offsetText, SseReader } from "./sse-reader.ts";
import { timers } from "./timers.ts";

const TTL_MS = 1_000;
let streams = 0;
const at = (path: string): string => `http://localhost/v1/stream/${path}`;
const ask = (url: string, init: RequestInit = {}, settings: Record<string, string> = {}): Promise<Response> =>
  handle(new Request(url, init), { ...(env as object), ...settings } as never);
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function make(headers: Record<string, string> = { "stream-ttl": String(TTL_MS / 1000) }): Promise<string> {
  const path = `lifetime/${++streams}`;
  expect((await call(path, "PUT", { "content-type": "text/plain", ...headers }, "first")).status).toBe(201);
  return path;
}
const statusOf = async (path: string): Promise<number> => (await call(path, "HEAD")).status;
const readersOf = (path: string): Promise<number> =>
  inside(
    path,
    (instance) =>
      (instance as typeof instance & { ctx: { getWebSockets(tag?: string): unknown[] } }).ctx.getWebSockets().length,
  );
async function until(isIt: () => Promise<boolean>): Promise<void> {
  while (!(await isIt())) await pause(10);
}
/** Waits until the stream has expired. It asks by HEAD, which does not renew the TTL. */
const expired = (path: string): Promise<void> => until(async () => (await statusOf(path)) === 404);

/** Waits until the TTL was renewed after its time: a stream without a reader would have expired by then. */
async function renewed(path: string): Promise<void> {
  const touchedAt = (): Promise<number> =>
    inside(
      path,
      (_, { storage: { sql } }) =>
        (
          JSON.parse(String(sql.exec("SELECT value FROM meta WHERE key = 'config'").toArray()[0]!["value"])) as {
            touchedAt: number;
          }
        ).touchedAt,
    );
  const before = await touchedAt();
  await until(async () => (await touchedAt()) >= before + TTL_MS);
}

async function follow(path: string) {
  const response = (await SELF.fetch(at(path), { headers: { upgrade: "websocket" } })) as Response & {
    webSocket: Wire & { accept(): void; binaryType: string };
  };
  response.webSocket.binaryType = "arraybuffer";
  response.webSocket.accept();
  return (await EdgeSocket.bind(response.webSocket, timers)).follow("earliest");
}

/** A reader at the end of the stream, which gets the next record. */
interface Reader {
  next(): Promise<unknown>;
  leave(): Promise<unknown>;
}
const READERS: Readonly<Record<string, (path: string) => Promise<Reader>>> = {
  async SSE(path) {
    const reader = new SseReader(await ask(`${at(path)}?offset=-1&live=sse`));
    await reader.dataUntil(offsetText(1));
    return { next: () => reader.dataUntil(offsetText(2)), leave: () => reader.cancel() };
  },
  async "long-poll"(path) {
    const answer = ask(`${at(path)}?offset=${offsetText(1)}&live=long-poll`);
    return { next: async () => (await answer).text(), leave: async () => undefined };
  },
  async WebSocket(path) {
    const found = await follow(path);
    await found.next();
    return { next: () => found.next(), leave: () => found.return(undefined) };
  },
  async openTopic(path) {
    const records = openTopic<string>(real, path, { serializer: "text" }).read({ from: 1, follow: true });
    const next = records.next();
    return { next: () => next, leave: () => records.return!() };
  },
};

describe("a TTL", () => {
  it.each(Object.keys(READERS))(
    "does not end a stream under its reader: %s; behind the last one it does",
    async (kind) => {
      const path = await make();
      const reader = await READERS[kind]!(path);
      await until(async () => (await readersOf(path)) === 1);
      await renewed(path);
      expect(await statusOf(path)).toBe(200);
      // Also when its object sleeps in between.
      await evictDurableObject(objectOf(path));
      await renewed(path);
      expect(await statusOf(path)).toBe(200);
      const next = reader.next();
      await call(path, "POST", {}, "second");
      await next;
      await reader.leave();
      const left = Date.now();
      await until(async () => (await readersOf(path)) === 0 || kind === "WebSocket");
      await expired(path);
      expect(Date.now() - left).toBeGreaterThan(0.8 * TTL_MS);
    },
    20_000,
  );

  it("a socket that follows nothing reads nothing", async () => {
    const path = await make();
    const response = (await SELF.fetch(at(path), { headers: { upgrade: "websocket" } })) as Response & {
      webSocket: Wire & { accept(): void };
    };
    response.webSocket.accept();
    await expired(path);
    expect(await readersOf(path)).toBe(0);
  });

  it("by a fixed date ends the stream at that date, whoever reads", async () => {
    const path = await make({ "stream-expires-at": new Date(Date.now() + 700).toISOString() });
    const reader = new SseReader(await ask(`${at(path)}?offset=-1&live=sse`));
    await reader.dataUntil(offsetText(1));
    expect(await reader.next()).toBeUndefined();
    expect(await statusOf(path)).toBe(404);
  });
});

describe("a reader that has gone", () => {
  it("leaves nothing behind: SSE that is cancelled, and a wait whose client is known to be gone", async () => {
    const path = await make({});
    const readers = await Promise.all(
      Array.from({ length: 5 }, async () => new SseReader(await ask(`${at(path)}?offset=-1&live=sse`))),
    );
    const gone = new AbortController();
    const polls = Array.from({ length: 5 }, () =>
      ask(`${at(path)}?offset=${offsetText(1)}&live=long-poll`, { signal: gone.signal }),
    );
    const events = new SseReader(await ask(`${at(path)}?offset=-1&live=sse`, { signal: gone.signal }));
    await events.control();
    const waiting = events.next().catch(() => undefined);
    // Readers of events share a place, and the one that is left has it to itself.
    await until(async () => (await readersOf(path)) === 6);
    await Promise.all(readers.map((reader) => reader.cancel()));
    await until(async () => (await readersOf(path)) === 6);
    gone.abort();
    await Promise.allSettled(polls);
    await until(async () => (await readersOf(path)) === 0);
    await waiting;
    await events.cancel().catch(() => undefined);
  });

  it("keeps its place no longer than an SSE answer may last, if it does not read it", async () => {
    const path = await make({});
    const response = await ask(
      `${at(path)}?offset=-1&live=sse`,
      {},
      { TIDEMARK_SSE_MS: "50", TIDEMARK_SSE_STALLED_MS: "50" },
    );
    expect(await readersOf(path)).toBe(1);
    await until(async () => (await readersOf(path)) === 0);
    await expect(response.text()).rejects.toThrow("does not read");
  });
});
