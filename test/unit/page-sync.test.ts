/** The page's side of sync, and the desk at which the worker asks pages for tokens. */
import { describe, expect, it, vi } from "vitest";
import { checkSync, type PageSync, pageSync } from "../../src/browser/sync/page-sync.ts";
import { TokenDesk, type TokenPage } from "../../src/browser/sync/token-desk.ts";
import type { SyncAsk, SyncNews } from "../../src/browser/sync/words.ts";
import type { SyncEvent, SyncStatus } from "../../src/browser/sync-api.ts";

const LIVE: SyncStatus = { state: "live", connected: true, topics: {} };
const P = 2 ** 52;

function made(answer: (ask: SyncAsk) => unknown = () => undefined) {
  const asked: SyncAsk[] = [];
  const told: SyncEvent[] = [];
  const sync: PageSync = pageSync({
    ask: async (ask) => {
      asked.push(ask);
      return answer(ask);
    },
    topics: new Map(),
    tell: (event) => told.push(event),
  });
  return { sync, asked, told };
}

describe("options of sync()", () => {
  it.each<[string, unknown]>([
    ["sync", undefined],
    ["sync", "http://edge"],
    ["url", { topics: ["a"] }],
    ["url", { url: "ftp://edge", topics: ["a"] }],
    ["url", { url: "nonsense", topics: ["a"] }],
    ["topics", { url: "http://edge" }],
    ["topics", { url: "http://edge", topics: [] }],
    ["token", { url: "http://edge", topics: ["a"], token: 7 }],
    ["path", { url: "http://edge", topics: { a: { path: "" } } }],
    ["from", { url: "http://edge", topics: { a: { from: "middle" } } }],
    ["from", { url: "http://edge", topics: { a: { from: { last: 1, timestamp: 2 } } } }],
    ["create", { url: "http://edge", topics: { a: { create: true } } }],
    ["onTrimmed", { url: "http://edge", topics: { a: { onTrimmed: "weep" } } }],
  ])("a wrong %s is named: %o", (field, options) => {
    expect(() => checkSync(options)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => checkSync(options)).toThrow(new RegExp(field));
  });

  it("takes names or options of topics, and an address with or without a slash at its end", () => {
    const url = new URL("https://edge.example/base/");
    expect(checkSync({ url, topics: ["a", "b"] })).toEqual({
      url: "https://edge.example/base",
      topics: { a: {}, b: {} },
    });
    const topics = { a: { path: "x/y", from: { last: 3 }, create: false, onTrimmed: "stop" } };
    expect(checkSync({ url: "http://localhost:8787", topics })).toEqual({ url: "http://localhost:8787", topics });
  });
});

describe("a page in sync", () => {
  it("tells status and events to all who listen, and one that throws harms nobody", async () => {
    const { sync, told } = made(() => LIVE);
    const states: string[] = [];
    const reported = vi.fn();
    vi.stubGlobal("reportError", reported);
    sync.subscribe(() => {
      throw new Error("mine");
    });
    const end = sync.subscribe(({ state }) => states.push(state));
    const events: string[] = [];
    sync.on(({ type }) => events.push(type));
    await sync.start({ url: "http://edge", topics: ["a"] });
    expect(sync.status).toBe(LIVE);
    sync.hear({ type: "status", status: { ...LIVE, state: "offline", connected: false } });
    end();
    sync.hear({ type: "gap", topic: "a", from: 1, to: 2 });
    sync.hear({ type: "status", status: LIVE });
    expect(states).toEqual(["live", "offline"]);
    expect(events).toEqual(["status", "gap", "status"]);
    expect(told.map(({ type }) => type)).toEqual(events);
    expect(reported).toHaveBeenCalledTimes(3);
    vi.unstubAllGlobals();
  });

  it("gives a token when it is asked: a string, a function's, null, or that it failed", async () => {
    const { sync, asked } = made(() => LIVE);
    const answers = () => asked.filter((ask) => ask.ask === "token");
    sync.hear({ type: "ask-token", id: 1, ask: { reason: "connect" } });
    await vi.waitFor(() => expect(answers()).toEqual([{ ask: "token", id: 1, token: undefined }]));
    await sync.start({ url: "http://edge", topics: ["a"], token: "t" });
    sync.hear({ type: "ask-token", id: 2, ask: { reason: "connect" } });
    await sync.authenticate(({ reason }) => (reason === "refused" ? Promise.reject(new Error("away")) : null));
    sync.hear({ type: "ask-token", id: 3, ask: { reason: "expired" } });
    sync.hear({ type: "ask-token", id: 4, ask: { reason: "refused" } });
    await vi.waitFor(() =>
      expect(answers().slice(1)).toEqual([
        { ask: "token", id: 2, token: "t" },
        { ask: "token", id: 3, token: null },
        { ask: "token", id: 4, failed: true },
      ]),
    );
  });

  it("keeps promises of places: the edge's offset, unknown, or discarded", async () => {
    const { sync } = made();
    expect(await sync.committed("a", 7)).toEqual({ offset: 7 });
    const [first, second, third, other] = [P + 4, P + 5, P + 6, P + 4].map((offset, i) =>
      sync.committed(i === 3 ? "b" : "a", offset),
    );
    sync.hear({ type: "settled", topic: "a", runs: [{ from: 3, to: 6, offset: 100 }] });
    expect(await first).toEqual({ offset: 101 });
    expect(await second).toEqual({ offset: 102 });
    sync.hear({ type: "retracted", topic: "a", range: [6, 8] });
    await expect(third).rejects.toMatchObject({ code: "RETRACTED", details: { topic: "a" } });
    sync.hear({ type: "settled", topic: "b", runs: [{ from: 4, to: 5, offset: -1 }] });
    expect(await other).toEqual({ offset: undefined });
  });
});

describe("the desk of tokens", () => {
  const page = (answer: ((id: number) => void) | undefined): TokenPage => ({
    tell: ({ event }: { readonly event: SyncNews }) => event.type === "ask-token" && answer?.(event.id),
  });

  it("asks pages in turn until one has a token", async () => {
    const asked: string[] = [];
    const desk: TokenDesk = new TokenDesk(() => [
      page((id) => (asked.push("leader"), desk.answered(id, { token: undefined }))),
      page((id) => (asked.push("second"), desk.answered(id, { token: "t" }))),
      page(() => asked.push("third")),
    ]);
    expect(await desk.token("connect")).toBe("t");
    expect(asked).toEqual(["leader", "second"]);
  });

  it("tells nobody's provider from nobody signed in, and that from one that failed", async () => {
    const deskOf = (answer: object): TokenDesk => {
      const desk: TokenDesk = new TokenDesk(() => [page((id) => desk.answered(id, answer))]);
      return desk;
    };
    expect(await deskOf({ token: undefined }).token("connect")).toBeUndefined();
    expect(await deskOf({ token: null }).token("connect")).toBeNull();
    await expect(deskOf({ failed: true }).token("connect")).rejects.toMatchObject({ code: "TIMEOUT" });
  });

  it("passes over a page that does not answer within ten seconds", async () => {
    vi.useFakeTimers();
    try {
      const desk: TokenDesk = new TokenDesk(() => [page(undefined), page((id) => desk.answered(id, { token: "t" }))]);
      const token = desk.token("connect");
      await vi.advanceTimersByTimeAsync(10_000);
      expect(await token).toBe("t");
    } finally {
      vi.useRealTimers();
    }
  });
});
