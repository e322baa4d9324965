/** Files of the client that are loaded by the first call: what counts before they are there, and without them. */
import { afterEach, describe, expect, it, vi } from "vitest";
import type { EdgeClient } from "../../src/client/index.ts";

const CLIENT = "../../src/client";
/** By its call: the file that it needs. */
const CALLS: Readonly<Record<string, readonly [file: string, call: (edge: EdgeClient) => Promise<unknown>]>> = {
  "read()": [`${CLIENT}/read-topic.ts`, (edge) => edge.topic("t").read({ from: 0 }).next()],
  "changes()": [`${CLIENT}/views.ts`, (edge) => edge.topic("t").changes().next()],
  "view()": [
    `${CLIENT}/views.ts`,
    (edge) =>
      edge
        .topic("t")
        .view({ name: "v", initial: () => 0, apply: (state) => state })
        .ready(),
  ],
  "export()": [`${CLIENT}/export-topic.ts`, (edge) => edge.topic("t").export().next()],
  "use()": [
    "../../src/typed/typed-topic.ts",
    (edge) =>
      edge
        .topic("t")
        .use((_, next) => next())
        .append({ value: 1 }),
  ],
  "appendAll()": ["../../src/client/append-all.ts", (edge) => edge.topic("t").appendAll([])],
  "importSegments()": ["../../src/topic/segment-upload.ts", (edge) => edge.topic("t").importSegments([])],
};

afterEach(() => {
  vi.resetModules();
  for (const [file] of Object.values(CALLS)) vi.doUnmock(file);
});

/** A client whose edge has an empty log that ends at `end()`; and what was asked of it. */
async function clientOf(end = () => 0) {
  const { connect } = await import("../../src/client/index.ts");
  const asked: string[] = [];
  const fetch = (url: string, { method }: RequestInit): Promise<Response> => {
    asked.push(`${method} ${new URL(url).search}`);
    if (url.endsWith("live=long-poll")) return new Promise(() => undefined);
    const next = `${String(end()).padStart(16, "0")}_0000000000000000`;
    const headers = { "stream-next-offset": next, "stream-up-to-date": "true", "tidemark-start-offset": next };
    const body = JSON.stringify({ appended: [{ baseOffset: 0, lastOffset: 0, duplicate: false }] });
    return Promise.resolve(new Response(method === "POST" ? body : null, { headers }));
  };
  return { asked, edge: connect("https://edge.example", { fetch, transport: "http", timeoutMs: 1_000 }) };
}

describe("a file that can't be loaded", () => {
  it.each(Object.entries(CALLS))("%s is LOAD_FAILED, says what to do, and is tried again", async (_, [file, call]) => {
    let isLost = true;
    vi.doMock(file, async (original) => {
      if (isLost) throw new Error("no such file");
      return original();
    });
    const { edge } = await clientOf();
    await expect(call(edge)).rejects.toMatchObject({
      code: "LOAD_FAILED",
      kind: "retry",
      message: expect.stringContaining("import tidemark/client-whole") as string,
    });
    isLost = false;
    vi.doUnmock(file);
    const again = await call(edge).then(
      () => "done",
      ({ code }: { code: string }) => code,
    );
    expect(again).not.toBe("LOAD_FAILED");
    await edge.close();
  });
});

describe("the file of the client's socket", () => {
  afterEach(() => void vi.restoreAllMocks());

  it("that can't be loaded is asked for again behind a long-poll, and not in each of a row", async () => {
    const file = `${CLIENT}/live-socket.ts`;
    let loads = 0;
    vi.doMock(file, () => {
      loads++;
      throw new Error("no such file");
    });
    const { connect } = await import("../../src/client/index.ts");
    const polls: (() => void)[] = [];
    const headers = { "stream-next-offset": "0000000000000000_0000000000000000", "stream-up-to-date": "true" };
    const fetch = async (url: string): Promise<Response> => {
      if (url.endsWith("live=long-poll")) await new Promise<void>((resolve) => polls.push(resolve));
      return new Response(null, { headers });
    };
    let opened!: () => void;
    const open = new Promise<void>((resolve) => (opened = resolve));
    class Socket extends EventTarget {
      binaryType = "";
      constructor() {
        super();
        opened();
      }
      send(): void {}
      close(): void {}
    }
    const edge = connect("https://edge.example", { fetch, WebSocket: Socket as never });
    const stop = new AbortController();
    const read = edge.topic("t").read({ from: 0, follow: true, signal: stop.signal }).next();
    await vi.waitFor(() => expect(polls).toHaveLength(1));
    polls.shift()!();
    await vi.waitFor(() => expect(polls).toHaveLength(1));
    expect(loads).toBe(1);
    vi.doUnmock(file);
    const now = performance.now.bind(performance);
    vi.spyOn(performance, "now").mockImplementation(() => now() + 10_000);
    polls.shift()!();
    await open;
    stop.abort(new Error("enough"));
    await expect(read).rejects.toThrow("enough");
    await edge.close();
  });
});

describe("while a file is being loaded", () => {
  const heldBack = (file: string) => {
    let come!: () => void;
    const gate = new Promise<void>((resolve) => (come = resolve));
    vi.doMock(file, async (original) => {
      await gate;
      return original();
    });
    return come;
  };

  it('"latest" is the log\'s end as of the call of read()', async () => {
    const come = heldBack(CALLS["read()"]![0]);
    let end = 5;
    const { edge, asked } = await clientOf(() => end);
    const read = edge.topic("t").read({ from: "latest", follow: true });
    await vi.waitFor(() => expect(asked).toEqual(["HEAD "]));
    end = 9;
    const next = read.next();
    come();
    await vi.waitFor(() => expect(asked.length).toBeGreaterThan(1));
    expect(asked[1]).toBe("GET ?offset=0000000000000005_0000000000000000");
    await read.return!();
    expect(await next).toEqual({ done: true, value: undefined });
    await edge.close();
  });

  it("so it is for changes(); and export() ends where the log did at its first next()", async () => {
    const come = heldBack(CALLS["changes()"]![0]);
    const comeToo = heldBack(CALLS["export()"]![0]);
    let end = 5;
    const { edge, asked } = await clientOf(() => end);
    const changes = edge.topic("t").changes({ from: "latest" });
    const files = edge.topic("t").export().next();
    await vi.waitFor(() => expect(asked).toEqual(["HEAD ", "HEAD "]));
    end = 9;
    come();
    comeToo();
    // The log is empty: nothing is exported, and nothing asked for.
    expect((await files).done).toBe(true);
    expect((await changes.next()).value).toMatchObject({ type: "level" });
    expect(asked[2]).toBe("GET ?offset=0000000000000005_0000000000000000");
    await changes.return!();
    await edge.close();
  });

  it("a read ends at once: by return(), by its signal, and with the client", async () => {
    const come = heldBack(CALLS["read()"]![0]);
    const { edge } = await clientOf();
    const topic = edge.topic("t");
    const returned = topic.read({ follow: true });
    const first = returned.next();
    await returned.return!();
    expect(await first).toEqual({ done: true, value: undefined });
    const stop = new AbortController();
    const stopped = topic.read({ signal: stop.signal }).next();
    stop.abort(new Error("enough"));
    await expect(stopped).rejects.toThrow("enough");
    const open = topic.read().next();
    await edge.close();
    await expect(open).rejects.toMatchObject({ code: "CLOSED" });
    come();
  });
});

describe("a client that is closed by its signal", () => {
  it.each([true, false])("ends an append that middleware had: sent %s", async (isSent) => {
    const { connect } = await import("../../src/client/index.ts");
    const stop = new AbortController();
    let reached!: () => void;
    const there = new Promise<void>((resolve) => (reached = resolve));
    const headers = { "stream-next-offset": "0000000000000000_0000000000000000" };
    const fetch = (_: string, { method }: RequestInit): Promise<Response> => {
      if (method !== "POST") return Promise.resolve(new Response(null, { headers }));
      reached();
      return new Promise(() => undefined);
    };
    const topic = connect("https://edge.example", { fetch, transport: "http", signal: stop.signal }).topic("t");
    topic.use(async (_, next) => {
      if (!isSent) reached();
      await (isSent ? next() : new Promise(() => undefined));
    });
    const acked = topic.append({ value: 1 });
    await there;
    stop.abort();
    await expect(acked).rejects.toMatchObject({ code: isSent ? "OUTCOME_UNKNOWN" : "CLOSED" });
  });
});
