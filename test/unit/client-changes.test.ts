/**
 * Changes of the client where its edge has removed what was not read yet, or another topic has the name by then; how
 * they end, and views of them; and a network that is down for longer than a call tries.
 */
import { afterEach, expect, it, vi } from "vitest";
import { encodeBatch } from "../../src/client/encode-batch.ts";
import { connect } from "../../src/client/index.ts";
import { unlessAborted } from "../../src/client/waiting.ts";
import { decodeFrame, encodeFrame, FrameType, jsonFrame } from "../../src/sync/frames.ts";
import { formatOffset } from "../../src/sync/http-words.ts";

/** An error as the edge answers it. */
const answerOf = (error: { readonly code: string }, status: number): Response =>
  new Response(JSON.stringify({ error }), { status, headers: { "tidemark-error": error.code } });

/** An edge without records, whose log ends at the first of these; each long-poll then finds it as the next one says. */
function edgeOf(...logs: readonly { readonly start: number; readonly end: number }[]) {
  const [log, ...later] = logs;
  let { start, end } = log!;
  const fetch = (url: string): Promise<Response> => {
    const { searchParams } = new URL(url);
    if (searchParams.has("live")) {
      const next = later.shift();
      if (!next) return new Promise(() => undefined);
      ({ start, end } = next);
    }
    const offset = Number((searchParams.get("offset") ?? formatOffset(start)).slice(0, 16));
    if (offset < start || offset > end) {
      const details = { offset, logStartOffset: start, logEndOffset: end };
      const error = { code: "OFFSET_OUT_OF_RANGE", message: "not there", details };
      return Promise.resolve(answerOf(error, offset < start ? 410 : 416));
    }
    const headers = {
      "stream-next-offset": formatOffset(end),
      "tidemark-start-offset": formatOffset(start),
      "stream-up-to-date": "true",
    };
    return Promise.resolve(new Response(null, { headers }));
  };
  return connect("https://edge.example", { fetch, transport: "http" });
}

async function told(edge: ReturnType<typeof edgeOf>, from?: number): Promise<string[]> {
  const found: string[] = [];
  for await (const change of edge.topic("t").changes({ from })) {
    if (change.type === "gap") found.push(`gap ${change.from} ${change.to}`);
    if (change.type === "reset") found.push(`reset ${change.logStartOffset}`);
    if (change.type === "level" && found.push(`level ${change.watermark}`) >= 3) break;
  }
  await edge.close();
  return found;
}

it("what was removed before it was read is a gap, and the reader goes on behind it", async () => {
  expect(await told(edgeOf({ start: 0, end: 3 }, { start: 5, end: 6 }))).toEqual(["level 3", "gap 3 5", "level 6"]);
});

it("a log that ends before the reader's offset is another one", async () => {
  expect(await told(edgeOf({ start: 0, end: 9 }, { start: 1, end: 2 }))).toEqual(["level 9", "reset 1", "level 2"]);
});

it("a read whose place is removed before its first answer begins with what is there", async () => {
  // HEAD says that the log begins at 0; retention has moved its start by the time of GET.
  const fetch = async (url: string, { method }: RequestInit): Promise<Response> => {
    const offset = Number((new URL(url).searchParams.get("offset") ?? "").slice(0, 16));
    if (method !== "HEAD" && offset < 5) {
      const details = { offset, logStartOffset: 5, logEndOffset: 9 };
      return answerOf({ code: "OFFSET_OUT_OF_RANGE", details } as { code: string }, 410);
    }
    const headers = {
      "stream-next-offset": formatOffset(9),
      "tidemark-start-offset": formatOffset(method === "HEAD" ? 0 : 5),
      "stream-up-to-date": "true",
    };
    return new Response(null, { headers });
  };
  const topic = connect("https://edge.example", { fetch: fetch as never, transport: "http" }).topic("t");
  for (const from of ["earliest", { last: 9 }] as const)
    expect(await topic.read({ from }).next()).toMatchObject({ done: true });
  await expect(topic.read({ from: 0 }).next()).rejects.toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
});

it("an offset of the caller's that is not in the log is an error", async () => {
  await expect(told(edgeOf({ start: 4, end: 9 }), 3)).rejects.toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
});

afterEach(() => vi.unstubAllGlobals());

const BATCH = encodeBatch([{ key: null, value: new TextEncoder().encode("1"), timestamp: 1 }], {
  producerId: 5,
  producerEpoch: 0,
  baseSequence: 0,
});

/** Resolves with a call of the function beside it. */
function happening(): readonly [Promise<void>, () => void] {
  let tell!: () => void;
  return [new Promise<void>((resolve) => (tell = resolve)), () => tell()];
}

/**
 * An empty topic and a socket, by which one record comes. `cancelled` resolves once the follow was given up, `asked`
 * once a channel was asked for, and `closed` once the client has closed the socket. `open` counts sockets that are not
 * closed. A silent one never says hello. A long-poll waits until it is given up.
 */
function socketEdge({ isSilent = false } = {}) {
  const [cancelled, cancel] = happening();
  const [asked, ask] = happening();
  const [closed, close] = happening();
  const sockets = new Set<EventTarget>();
  class Socket extends EventTarget {
    binaryType = "";
    constructor() {
      super();
      sockets.add(this);
      queueMicrotask(() => this.dispatchEvent(new Event("open")));
    }
    send(data: unknown): void {
      const frame = decodeFrame(data);
      if (frame?.type === FrameType.CANCEL) cancel();
      if (frame?.type === FrameType.OPEN) ask();
      if (frame?.type === FrameType.OPEN && !isSilent)
        this.#tell(jsonFrame({ type: FrameType.HELLO, channel: frame.channel }, {}));
      if (frame?.type === FrameType.FOLLOW)
        this.#tell(encodeFrame({ type: FrameType.BATCHES, channel: frame.channel, id: frame.id, payload: BATCH }));
    }
    #tell(data: unknown): void {
      queueMicrotask(() => this.dispatchEvent(new MessageEvent("message", { data })));
    }
    close(): void {
      sockets.delete(this);
      close();
      this.dispatchEvent(Object.assign(new Event("close"), { code: 1000, reason: "" }));
    }
  }
  const headers = {
    "stream-next-offset": formatOffset(0),
    "tidemark-start-offset": formatOffset(0),
    "stream-up-to-date": "true",
  };
  const fetch: typeof globalThis.fetch = (url, init) =>
    String(url).includes("long-poll")
      ? unlessAborted(new Promise<never>(() => undefined), init!.signal!)
      : Promise.resolve(new Response(null, { headers }));
  const edge = connect("https://edge.example", { fetch, WebSocket: Socket as never });
  return { edge, cancelled, asked, closed, open: () => sockets.size };
}

it("who leaves changes() in the middle ends its follow", async () => {
  const { edge, cancelled } = socketEdge();
  for await (const { type } of edge.topic("t").changes()) if (type === "append") break;
  await cancelled;
  await edge.close();
});

it("a channel that opens without a word is given up, and its socket with the last read", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const { edge, asked, closed } = socketEdge({ isSilent: true });
    const reading = edge.topic("t").read({ follow: true });
    const next = reading.next();
    await asked;
    // The edge, and this test, know no more than that 5 s have passed.
    await vi.advanceTimersByTimeAsync(5_000);
    await closed;
    await reading.return!();
    expect(await next).toEqual({ done: true, value: undefined });
    await edge.close();
    expect(vi.getTimerCount()).toBe(0);
  } finally {
    vi.useRealTimers();
  }
});

/** A turn in which all promises that can go on have done so. */
const settledTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

it.each(["close", "return"] as const)(
  "whenever a client is closed, no timer and no socket stays: by %s",
  async (how) => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const left: unknown[] = [];
    const ends = new Set<number>();
    try {
      // More turns of promises than there are from the call to the first record.
      for (let turns = 0; turns < 150; turns++) {
        const { edge, open } = socketEdge();
        const reading = edge.topic("t").read({ follow: true });
        const next = reading.next().then(
          ({ done }) => Number(done === true),
          () => -1,
        );
        for (let turn = 0; turn < turns; turn++) await null;
        if (how === "return") await reading.return!();
        else await edge.close();
        ends.add(await next);
        await settledTurn();
        if (vi.getTimerCount() > 0 || open() > 0) left.push({ turns, timers: vi.getTimerCount(), sockets: open() });
        vi.clearAllTimers();
        await edge.close();
      }
    } finally {
      vi.useRealTimers();
    }
    expect(left).toEqual([]);
    // Some were closed before the record came, and some behind it.
    expect([...ends].sort()).toEqual(how === "return" ? [0, 1] : [-1, 0]);
  },
);

it("an error of a view's apply is reported, and ends its follow", async () => {
  const reported: unknown[] = [];
  vi.stubGlobal("reportError", (thrown: unknown) => reported.push(thrown));
  const { edge, cancelled } = socketEdge();
  const error = new Error("no such todo");
  const apply = (): number => {
    throw error;
  };
  const view = edge.topic("t").view({ name: "v", initial: () => 0, apply });
  await new Promise<unknown>((resolve) => view.subscribe(resolve));
  await cancelled;
  await expect(view.ready()).rejects.toBe(error);
  expect(reported).toEqual([error]);
  await edge.close();
});

it("a view that is asynchronous, or has no name, is told so by the names of its options", async () => {
  const reported: unknown[] = [];
  vi.stubGlobal("reportError", (thrown: unknown) => reported.push(thrown));
  const { edge } = socketEdge();
  const wrong = { code: "INVALID_ARGUMENT", message: expect.stringContaining("not a Promise") as string };
  const later = (): Promise<number> => Promise.resolve(0);
  const kinds: [() => unknown, (state: unknown) => unknown][] = [
    [() => 0, later],
    [later, (state) => state],
    // A spread Promise is none any more, and lacks the state.
    [later, (state) => ({ ...Object(state) }) as object],
  ];
  for (const [initial, apply] of kinds) {
    const view = edge.topic("t").view<unknown>({ name: "v", initial, apply });
    const isOver = (): Promise<boolean> =>
      view.ready().then(
        () => false,
        () => true,
      );
    while (!(await isOver())) await new Promise<unknown>((resolve) => view.subscribe(resolve));
    await expect(view.ready()).rejects.toMatchObject(wrong);
  }
  // The other one never began.
  expect(reported).toMatchObject([wrong]);
  const nameless = edge.topic("t").view({ initial: () => 0, apply: (state: number) => state } as never);
  await expect(nameless.ready()).rejects.toMatchObject({ details: { field: "name" } });
  await edge.close();
});

it("what the edge refuses a view is told by ready() alone", async () => {
  const reported: unknown[] = [];
  vi.stubGlobal("reportError", (thrown: unknown) => reported.push(thrown));
  const error = { code: "FORBIDDEN", message: "not yours" };
  const fetch = (): Promise<Response> => Promise.resolve(answerOf(error, 403));
  const edge = connect("https://edge.example", { fetch, transport: "http" });
  const view = edge.topic("t").view({ name: "v", initial: () => 0, apply: (state: number) => state });
  await expect(view.ready()).rejects.toMatchObject({ details: { edge: "FORBIDDEN" } });
  expect(reported).toEqual([]);
  await edge.close();
});

it.each([0, "latest"] as const)("reads that follow from %s outlast a network that is down", async (from) => {
  let tries = 0;
  let goOn!: () => void;
  const longer = new Promise<void>((resolve) => (goOn = resolve));
  const fetch = (): Promise<Response> => {
    if (++tries >= 4) goOn();
    return Promise.reject(new TypeError("no network"));
  };
  // Shorter than the first pause: a call is over before its second try.
  const edge = connect("https://edge.example", { fetch, transport: "http", timeoutMs: 1 });
  const ends: unknown[] = [];
  const topic = edge.topic("t");
  for (const reading of [topic.read({ from, follow: true }), topic.changes({ from })])
    reading.next().catch((thrown: unknown) => ends.push(thrown));
  await expect(topic.read({ from: 0 }).next()).rejects.toMatchObject({ code: "TIMEOUT" });
  await longer;
  expect(ends).toEqual([]);
  await edge.close();
});

it("a topic that was made without upcast is not given one later", () => {
  const schema = { "~standard": { version: 1, vendor: "test", validate: (value: unknown) => ({ value }) } } as const;
  const edge = connect("https://edge.example");
  const upcast = { 1: (value: unknown) => value };
  edge.topic("t", { schema, version: 2 });
  expect(() => edge.topic("t", { schema, version: 2, upcast })).toThrow("upcast");
  edge.topic("u", { schema, version: 2, upcast });
  // Written in place, it is another object each time.
  edge.topic("u", { schema, version: 2, upcast: { ...upcast } });
});

it("a read that follows up to an offset which the log has ends there", async () => {
  const headers = {
    "stream-next-offset": formatOffset(1),
    "tidemark-start-offset": formatOffset(0),
    "stream-up-to-date": "true",
  };
  // A long-poll is never answered.
  const fetch = (url: string): Promise<Response> =>
    url.includes("live=") ? new Promise(() => undefined) : Promise.resolve(new Response(BATCH, { headers }));
  const edge = connect("https://edge.example", { fetch, transport: "http" });
  const found: unknown[] = [];
  for await (const { value } of edge.topic("t").read({ follow: true, to: 1 })) found.push(value);
  expect(found).toEqual([1]);
  await edge.close();
});

it("an import whose signal is aborted sends nothing, and makes no topic", async () => {
  const sent: string[] = [];
  const fetch = (url: string): Promise<Response> => {
    sent.push(url);
    return new Promise(() => undefined);
  };
  const edge = connect("https://edge.example", { fetch, transport: "http" });
  const enough = new Error("enough");
  const topic = edge.topic("t");
  await expect(topic.importSegments([], { signal: AbortSignal.abort(enough) })).rejects.toBe(enough);
  expect(sent).toEqual([]);
  // Nor is one waited for that the edge does not answer.
  const stop = new AbortController();
  const importing = topic.importSegments([], { signal: stop.signal });
  await expect.poll(() => sent.length).toBe(1);
  stop.abort(enough);
  await expect(importing).rejects.toBe(enough);
  await edge.close();
});

it("a topic that exists with other settings is the caller's matter, and no bug", async () => {
  const fetch = (): Promise<Response> => Promise.resolve(answerOf({ code: "CONFLICT" }, 409));
  const edge = connect("https://edge.example", { fetch, transport: "http" });
  const refusal = { code: "INVALID_ARGUMENT", details: { edge: "CONFLICT", status: 409 } };
  await expect(edge.topic("t").create()).rejects.toMatchObject(refusal);
  await edge.close();
});
