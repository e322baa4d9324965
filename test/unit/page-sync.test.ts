/** The page's side of sync, and the desk at which the worker asks pages for tokens. */
import { describe, expect, it, vi } from "vitest";
import type { Ack } from "../../src/browser/api.ts";
import { TidemarkError } from "../../src/errors.ts";
import { type PageSync, pageSync, type PageSyncHost } from "../../src/browser/sync/page-sync.ts";
import { checkSync } from "../../src/browser/sync/sync-checks.ts";
import { TokenDesk, type TokenPage } from "../../src/browser/sync/token-desk.ts";
import type { Places, SyncAsk, SyncNews } from "../../src/browser/sync/words.ts";
import type { SyncEvent, SyncStatus, TopicSyncStatus } from "../../src/browser/sync-api.ts";

const LIVE: SyncStatus = { state: "live", connected: true, topics: {} };
const P = 2 ** 52;
/** Texts that can't be a token, among them the page that a server answers instead of one. */
const NO_TOKENS = ["", "one two", "ends\n", "é", "x".repeat(8193), "<!doctype html>\n<title>App</title>"];

function made(answer: (ask: SyncAsk) => unknown = () => undefined) {
  const asked: SyncAsk[] = [];
  const told: SyncEvent[] = [];
  const tide: PageSyncHost["tide"] = {
    ended: undefined,
    syncing: undefined,
    tell: ({ event }) => void told.push(event),
  };
  const sync: PageSync = pageSync({
    ask: async (ask) => {
      asked.push(ask);
      return answer(ask);
    },
    topics: new Map(),
    tide,
  });
  return { sync, tide, asked, told };
}

const acked = (offset: number) => ({
  offset,
  owner: { producerId: 7, producerEpoch: 0, baseSequence: 0 },
  at: 0,
  duplicate: false,
});

describe("who listens", () => {
  it("a function that listens twice is told twice, and what ends one call, also again, ends no other", () => {
    for (const listenTo of ["subscribe", "on"] as const) {
      const { sync } = made();
      let told = 0;
      const leave = sync[listenTo](() => told++);
      const listener = (): void => void told++;
      const [first, second] = [sync[listenTo](listener), sync[listenTo](listener)];
      leave();
      first();
      first();
      sync.hear({ type: "status", status: LIVE });
      second();
      sync.hear({ type: "status", status: LIVE });
      expect(told).toBe(1);
    }
  });

  it("one that a listener before it has ended is not told", () => {
    const { sync } = made();
    const told: string[] = [];
    sync.on(() => {
      told.push("first");
      leave();
    });
    const leave = sync.on(() => told.push("second"));
    sync.hear({ type: "status", status: LIVE });
    expect(told).toEqual(["first"]);
  });
});

describe("options of sync()", () => {
  const of = (options: unknown): unknown => ({ url: "http://edge", topics: { a: options } });
  it.each<[string, unknown]>([
    ["sync", undefined],
    ["sync", "http://edge"],
    ["sync", [1]],
    ["url", { topics: ["a"] }],
    ["url", { url: 7, topics: ["a"] }],
    ["url", { url: "ftp://edge", topics: ["a"] }],
    ["url", { url: "nonsense", topics: ["a"] }],
    ["url", { url: "http://edge?x=1", topics: ["a"] }],
    ["url", { url: "http://me@edge", topics: ["a"] }],
    ["url", { url: "http://:secret@edge", topics: ["a"] }],
    ["url", { url: "http://edge/base?", topics: ["a"] }],
    ["url", { url: new URL("http://edge#"), topics: ["a"] }],
    ["topics", { url: "http://edge" }],
    ["topics", { url: "http://edge", topics: [] }],
    ["topics", { url: "http://edge", topics: "a" }],
    ["name", { url: "http://edge", topics: [7] }],
    ["name", { url: "http://edge", topics: ["a/b"] }],
    ["name", { url: "http://edge", topics: ["__views"] }],
    ["token", { url: "http://edge", topics: ["a"], token: 7 }],
    ...NO_TOKENS.map((token): [string, object] => ["token", { url: "http://edge", topics: ["a"], token }]),
    ["topics.a", of(null)],
    ["topics.a", of([])],
    ["path", of({ path: "" })],
    ["path", of({ path: 7 })],
    ["path", of({ path: "x".repeat(1025) })],
    ["path", of({ path: "a\nb" })],
    ["path", of({ path: ".." })],
    ["path", of({ path: "a/./b" })],
    ["path", of({ path: "../a" })],
    ["from", of({ from: "middle" })],
    ["from", of({ from: { last: 1, timestamp: 2 } })],
    ["from", of({ from: { last: -1 } })],
    ["from", of({ from: 7 })],
    ["create", of({ create: true })],
    ["create", of({ create: [] })],
    ["retentoin", of({ create: { retentoin: { maxBytes: 1 } } })],
    ["create.retention.maxBytes", of({ create: { retention: { maxBytes: 0 } } })],
    ["create.compaction", of({ create: { compaction: true } })],
    ["outboxBytesMax", of({ outboxBytesMax: 0 })],
    ["outboxBytesMax", of({ outboxBytesMax: "1" })],
    ["keep", of({ keep: "all" })],
    ["keep.maxAge", of({ keep: { maxAge: 1 } })],
    ["onTrimmed", of({ onTrimmed: "weep" })],
    ["serializer", of({ serializer: {} })],
  ])("a wrong %s is named: %o", (field, options) => {
    expect(() => checkSync(options)).toThrow(expect.objectContaining({ code: "INVALID_ARGUMENT" }));
    expect(() => checkSync(options)).toThrow(field);
  });

  it("takes names or options of topics, and an address with or without a slash at its end", () => {
    const url = new URL("https://edge.example/base/");
    expect(checkSync({ url, topics: ["a", "b"] })).toEqual({
      url: "https://edge.example/base",
      topics: { a: {}, b: {} },
    });
    const topics = { a: { path: "x/.y/..z", from: { last: 3 }, create: false, onTrimmed: "stop", serializer: "text" } };
    expect(checkSync({ url: "http://localhost:8787", topics })).toEqual({ url: "http://localhost:8787", topics });
  });

  it("takes a topic's serializer from the page that has the topic, and refuses another one", () => {
    const custom = { serialize: () => new Uint8Array(0), deserialize: () => 0 };
    const serializers: Record<string, unknown> = { a: "text", b: custom };
    const check = (topics: object) => checkSync({ url: "http://edge", topics }, (topic) => serializers[topic]).topics;
    expect(check({ a: {}, b: {}, c: {} })).toEqual({ a: { serializer: "text" }, b: { serializer: "bytes" }, c: {} });
    expect(check({ b: { serializer: "json" } })).toEqual({ b: { serializer: "json" } });
    expect(() => check({ a: { serializer: "json" } })).toThrow(
      /serializer must be "text", as this page has the topic a/,
    );
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
        { ask: "token", id: 4, failed: "the token function failed: Error: away" },
      ]),
    );
  });

  it("reports what is no token as an error of the page, and to the worker it has none", async () => {
    const reported = vi.fn();
    vi.stubGlobal("reportError", reported);
    try {
      const { sync, asked } = made(() => LIVE);
      const wrong = { code: "INVALID_ARGUMENT", details: { field: "token" } };
      for (const [id, given] of [7, { token: "t" }, () => "t", true, ...NO_TOKENS].entries()) {
        await expect(sync.authenticate(() => given as never)).rejects.toMatchObject(wrong);
        sync.hear({ type: "ask-token", id, ask: { reason: "connect" } });
        await vi.waitFor(() =>
          expect(asked.at(-1)).toEqual({ ask: "token", id, failed: expect.any(String) as string }),
        );
        expect(reported.mock.lastCall).toMatchObject([wrong]);
      }
      expect(asked.map(({ ask }) => ask)).not.toContain("authenticate");
      await sync.authenticate(() => undefined as never);
      expect(asked.at(-1)).toEqual({ ask: "authenticate", token: undefined });
      expect(reported).toHaveBeenCalledTimes(4 + NO_TOKENS.length);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it("is there once something is synced: not after a refused call, and not by an ack of a local topic", async () => {
    const one: SyncStatus = { ...LIVE, topics: { a: { state: "joining" } as TopicSyncStatus } };
    let refused: Record<string, string> | undefined = { topic: "a" };
    const { sync, tide, asked } = made(({ ask }) => {
      if (ask === "start" && refused) throw new TidemarkError("INVALID_ARGUMENT", "refused", refused);
      return one;
    });
    const ack = { committed: Promise.resolve({ offset: 1 }) } as Ack;
    expect(await sync.replicated(Promise.resolve(ack))).toMatchObject({ offset: 1, acks: "replicated" });
    await expect(sync.start({ url: "http://edge", topics: ["a"], token: "t" })).rejects.toThrow("refused");
    sync.hear({ type: "status", status: LIVE });
    expect(tide.syncing).toBeUndefined();
    // Of several topics one may be refused: the others need the token.
    sync.hear({ type: "ask-token", id: 1, ask: { reason: "connect" } });
    await vi.waitFor(() => expect(asked.at(-1)).toEqual({ ask: "token", id: 1, token: "t" }));
    refused = { field: "url" };
    await expect(sync.start({ url: "http://other", topics: ["a"], token: "of-another" })).rejects.toThrow("refused");
    sync.hear({ type: "ask-token", id: 2, ask: { reason: "expiring" } });
    await vi.waitFor(() => expect(asked.at(-1)).toEqual({ ask: "token", id: 2, token: "t" }));
    refused = undefined;
    await sync.start({ url: "http://edge", topics: ["a"] });
    expect(tide.syncing).toBe(sync);
    const other = made();
    other.sync.hear({ type: "outboxfull", topic: "a" });
    expect(other.tide.syncing).toBe(other.sync);
  });

  it("drained() ends with its signal, also while an append of this page is under way", async () => {
    let resolve = (): void => undefined;
    const promise = new Promise<void>((done) => (resolve = done));
    const asked: SyncAsk[] = [];
    const sync = pageSync({
      ask: async (ask) => void asked.push(ask),
      topics: new Map([["a", { drained: () => promise, serializer: "json" }]]),
      tide: { ended: undefined, syncing: undefined, tell: () => undefined },
    });
    const stop = new AbortController();
    const waits = sync.drained({ signal: stop.signal });
    const reason = new Error("enough");
    stop.abort(reason);
    await expect(waits).rejects.toBe(reason);
    await expect(sync.drained({ topic: "a", signal: stop.signal })).rejects.toBe(reason);
    expect(asked).toEqual([]);
    const whole = sync.drained({ signal: new AbortController().signal });
    resolve();
    await whole;
    expect(asked).toEqual([{ ask: "wait", until: "drained", topic: undefined }]);
  });

  it("is idle once the tide has ended, and all who listen hear so; one that never synced says nothing", async () => {
    const base = { pending: { records: 3, bytes: 9 }, watermark: 5, serializer: "json", hasSynced: true } as const;
    const topics: SyncStatus["topics"] = {
      a: { ...base, state: "catching-up", progress: 0.5 },
      b: { ...base, state: "blocked" },
      c: { ...base, state: "stopped" },
    };
    const { sync, told } = made(() => ({ ...LIVE, nextTryAt: 7, reason: "user", topics }) satisfies SyncStatus);
    await sync.start({ url: "http://edge", topics: ["a"] });
    const heard: SyncStatus[] = [];
    sync.subscribe((status) => heard.push(status));
    sync.end(new TidemarkError("CLOSED", "the tide is closed", {}));
    const left = { ...topics, a: { ...base, state: "offline" } };
    expect(sync.status).toEqual({ state: "idle", connected: false, topics: left });
    expect(heard).toEqual([sync.status]);
    expect(told).toEqual([{ type: "status", status: sync.status }]);
    const other = made();
    other.sync.end(new TidemarkError("CLOSED", "the tide is closed", {}));
    expect(other.told).toEqual([]);
  });

  it("tells another leader that it is hidden, because it did not become so in that leader's time", async () => {
    const { sync, asked } = made();
    sync.connected();
    expect(asked).toEqual([]);
    vi.stubGlobal("document", { visibilityState: "hidden" });
    try {
      sync.connected();
      expect(asked).toEqual([{ ask: "hint", hint: "hidden" }]);
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it("ends promises of places with the tide", async () => {
    const { sync } = made();
    const waits = sync.committed("a", acked(P + 4));
    const gone = new TidemarkError("CLOSED", "the tide is closed", { reason: "closed" });
    sync.end(gone);
    await expect(waits).rejects.toBe(gone);
    await expect(sync.committed("a", acked(P + 5))).rejects.toBe(gone);
  });

  it("keeps promises of places: the edge's offset, unknown, or discarded", async () => {
    const { sync } = made();
    expect(await sync.committed("a", acked(7))).toEqual({ offset: 7 });
    const [first, second, third, other] = [P + 4, P + 5, P + 6, P + 4].map((offset, i) =>
      sync.committed(i === 3 ? "b" : "a", acked(offset)),
    );
    sync.hear({ type: "settled", topic: "a", runs: [{ from: 3, to: 6, offset: 100 }] });
    expect(await first).toEqual({ offset: 101 });
    expect(await second).toEqual({ offset: 102 });
    sync.hear({ type: "retracted", topic: "a", range: [6, 8] });
    await expect(third).rejects.toMatchObject({ code: "RETRACTED", details: { topic: "a" } });
    sync.hear({ type: "settled", topic: "b", runs: [{ from: 4, to: 5, offset: -1 }] });
    expect(await other).toEqual({ offset: undefined });
  });

  it("asks another leader for places that it waits for, and for that of a record acked once more", async () => {
    const places: Places = { runs: [{ from: 0, to: 3, offset: 50 }], retracted: [[3, 4]] };
    const { sync, asked } = made((ask) => (ask.ask === "places" ? places : undefined));
    sync.connected();
    const batch = (baseSequence: number) => ({ producerId: 7, producerEpoch: 0, baseSequence });
    const [one, two] = [batch(20), batch(22)];
    const waits = [
      ...[0, 1].map((at) => sync.committed("a", { offset: P + at, owner: one, at, duplicate: false })),
      ...[0, 1].map((at) => sync.committed("a", { offset: P + 2 + at, owner: two, at, duplicate: false })),
    ];
    const still = sync.committed("a", { ...acked(P + 9), owner: batch(24) });
    sync.connected();
    sync.connected();
    expect(await Promise.all(waits.slice(0, 3))).toEqual([{ offset: 50 }, { offset: 51 }, { offset: 52 }]);
    await expect(waits[3]).rejects.toMatchObject({ code: "RETRACTED" });
    const runs = [
      { position: 0, count: 2, at: 0, ...one },
      { position: 2, count: 2, at: 0, ...two },
      { position: 9, count: 1, at: 0, ...batch(24) },
    ];
    expect(asked).toEqual([{ ask: "places", topic: "a", since: 0, runs }]);
    expect(await sync.committed("a", { ...acked(P + 1), duplicate: true })).toEqual({ offset: 51 });
    expect(asked.length).toBe(2);
    sync.hear({ type: "settled", topic: "a", runs: [{ from: 9, to: 10, offset: 60 }] });
    expect(await still).toEqual({ offset: 60 });
  });

  it("a record of a topic that is synced no more has no place", async () => {
    const { sync } = made((ask) => {
      if (ask.ask === "places") throw new TidemarkError("UNKNOWN_TOPIC", "the topic a is not synced", {});
    });
    const wait = sync.committed("a", acked(P));
    sync.connected();
    await expect(wait).rejects.toMatchObject({ code: "RETRACTED" });
  });
});

describe("calls with wrong values", () => {
  it.each<[string, (sync: PageSync) => unknown]>([
    ["options", (sync) => sync.drained(7 as never)],
    ["topic", (sync) => sync.drained({ topic: 7 as never })],
    ["signal", (sync) => sync.caughtUp({ signal: {} as never })],
    ["token", (sync) => sync.authenticate({} as never)],
    ["choice", (sync) => sync.unblock("a", "forget" as never)],
    ["name", (sync) => sync.unblock(undefined as never, "retry")],
    ["listener", async (sync) => sync.on("gap" as never)],
    ["listener", async (sync) => sync.subscribe(undefined as never)],
  ])("name the %s and ask nothing of the worker", async (field, call) => {
    const { sync, asked } = made();
    await expect(call(sync)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(call(sync)).rejects.toThrow(field);
    expect(asked).toEqual([]);
  });

  it("a topic that sync() has as JSON is not used with another serializer", async () => {
    const a = {
      state: "live",
      pending: { records: 0, bytes: 0 },
      watermark: 0,
      serializer: "json",
      hasSynced: true,
    } as const;
    const topics: SyncStatus["topics"] = { a };
    const { sync } = made(() => ({ ...LIVE, topics }));
    await sync.start({ url: "http://edge", topics: ["a"] });
    sync.checkTopic("a", undefined);
    sync.checkTopic("a", { serialize: null });
    sync.checkTopic("b", "bytes");
    expect(() => sync.checkTopic("a", "bytes")).toThrow(/serializer must be "json", as sync\(\) has the topic a/);
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

  it("takes no late answer to another leader's question", async () => {
    const asked: number[] = [];
    const desks = [1, 2].map((): TokenDesk => new TokenDesk(() => [page((id) => asked.push(id))]));
    const [first, second] = desks.map((desk) => desk.token("connect"));
    for (const [i, token] of ["stale", "new"].entries()) desks[1]!.answered(asked[i]!, { token });
    desks[0]!.answered(asked[0]!, { token: "old" });
    expect(await Promise.all([first, second])).toEqual(["old", "new"]);
  });

  it("asks on where a page has the refused token only, and gives that if none has another; null ends it", async () => {
    const deskOf = (...tokens: readonly (string | null | undefined)[]): TokenDesk => {
      const desk: TokenDesk = new TokenDesk(() => tokens.map((token) => page((id) => desk.answered(id, { token }))));
      return desk;
    };
    expect(await deskOf("old", undefined, "new").token("refused", "old")).toBe("new");
    expect(await deskOf("old", undefined).token("refused", "old")).toBe("old");
    expect(await deskOf("old", null, "new").token("refused", "old")).toBeNull();
  });

  it("takes what a page said by itself before what others know, for a second, unless it is refused", async () => {
    vi.useFakeTimers();
    try {
      const desk: TokenDesk = new TokenDesk(() => [page((id) => desk.answered(id, { token: "others" }))]);
      desk.said("earlier");
      await vi.advanceTimersByTimeAsync(900);
      desk.said("mine");
      await vi.advanceTimersByTimeAsync(900);
      expect([await desk.token("connect"), await desk.token("connect")]).toEqual(["mine", "mine"]);
      expect(await desk.token("refused", "mine")).toBe("others");
      await vi.advanceTimersByTimeAsync(100);
      expect(await desk.token("connect")).toBe("others");
      desk.said(null);
      expect(await desk.token("connect")).toBeNull();
    } finally {
      vi.useRealTimers();
    }
  });

  it("tells nobody's provider from nobody signed in, and that from one that failed", async () => {
    const deskOf = (answer: object): TokenDesk => {
      const desk: TokenDesk = new TokenDesk(() => [page((id) => desk.answered(id, answer))]);
      return desk;
    };
    expect(await deskOf({ token: undefined }).token("connect")).toBeUndefined();
    expect(await deskOf({ token: null }).token("connect")).toBeNull();
    const failing = (failed: string | true) => deskOf({ failed }).token("connect");
    await expect(failing("no login")).rejects.toMatchObject({ code: "TIMEOUT", message: "TIMEOUT: no login" });
    // Pages of earlier versions.
    await expect(failing(true)).rejects.toMatchObject({ message: "TIMEOUT: no page gave a token" });
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

  it("asks pages that did not answer last, so that frozen tabs don't hide one that has a token", async () => {
    vi.useFakeTimers();
    try {
      const asked: number[] = [];
      let answers = (_: number): boolean => false;
      const pages = [0, 1, 2, 3].map((n) =>
        page((id) => {
          asked.push(n);
          if (n === 3 || answers(n)) desk.answered(id, { token: `t${n}` });
        }),
      );
      const desk: TokenDesk = new TokenDesk(() => pages);
      void desk.token("connect");
      await vi.advanceTimersByTimeAsync(30_000);
      expect(asked.splice(0)).toEqual([0, 1, 2, 3]);
      expect(await desk.token("connect")).toBe("t3");
      expect(asked.splice(0)).toEqual([3]);
      // One that answers again has its place again.
      answers = (n) => n === 0;
      const refused = desk.token("refused", "t3");
      expect(await refused).toBe("t0");
      expect(asked.splice(0)).toEqual([3, 0]);
      expect(await desk.token("connect")).toBe("t0");
      expect(asked).toEqual([0]);
    } finally {
      vi.useRealTimers();
    }
  });
});
