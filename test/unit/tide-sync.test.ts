/**
 * The worker's side of sync over a store in memory, with an edge that never answers: which topics go on, and which edge
 * may be named.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { PortClient } from "../../src/browser/port/port-client.ts";
import { type PortHost, PortServer } from "../../src/browser/port/port-server.ts";
import type { SyncAsk } from "../../src/browser/sync/words.ts";
import { TidemarkError } from "../../src/errors.ts";
import type { StoredSettings } from "../../src/store/catalog.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { saveNotes } from "../../src/store/noted-logs.ts";
import { outboxName, replicaName } from "../../src/sync/log-names.ts";
import { copyName, readableOutboxNote } from "../../src/sync/notes.ts";
import { Outbox } from "../../src/sync/outbox.ts";
import { TopicStorage } from "../../src/sync/topic-storage.ts";
import { SyncDevice } from "../edge/http/sync-device.ts";

const EDGE = "http://edge.example";

/** A WebSocket that never opens. */
class SilentSocket {
  static made: string[] = [];
  constructor(url: string) {
    SilentSocket.made.push(url);
  }
  close(): void {}
}

const open: SyncDevice[] = [];

beforeEach(() => {
  SilentSocket.made = [];
  vi.stubGlobal("WebSocket", SilentSocket);
});
afterEach(async () => {
  for (const device of open.splice(0)) await device.close();
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

async function device(): Promise<SyncDevice> {
  const made = await SyncDevice.open();
  open.push(made);
  return made;
}

/** The topic can't be opened: a later version wrote its note. */
async function spoil({ store }: SyncDevice, topic: string): Promise<void> {
  const log = (await store.find(outboxName(topic)))!;
  await saveNotes(store, [[log, { ...log.note, v: 2 } as StoredSettings]]);
}

describe("one topic that can't be opened", () => {
  it("keeps no other from its sync, from a pause, or from a wait", async () => {
    const tide = await device();
    await tide.start({ url: EDGE, topics: ["bad", "good"] });
    await spoil(tide, "bad");
    const unreadable = { code: "UNSUPPORTED_FORMAT", details: { topic: "bad" } };
    await expect(tide.reopen()).rejects.toMatchObject(unreadable);
    expect(tide.status).toMatchObject({ state: "connecting", topics: { good: { state: "offline" } } });
    await expect(tide.page.drained({ topic: "good" })).resolves.toBeUndefined();
    await expect(tide.page.drained({ topic: "bad" })).rejects.toMatchObject(unreadable);
    await expect(tide.page.drained()).rejects.toMatchObject(unreadable);
    await expect(tide.page.pause()).rejects.toMatchObject(unreadable);
    expect(tide.status).toMatchObject({ state: "paused", reason: "user" });
    await expect(tide.reopen()).rejects.toMatchObject(unreadable);
    expect(tide.status).toMatchObject({ state: "paused", reason: "user" });
  });

  it("is tried again by itself where that may help", async () => {
    const tide = await device();
    await tide.start({ url: EDGE, topics: ["bad", "good"] });
    vi.useFakeTimers();
    const find = SegmentStore.prototype.find;
    const missing = new TidemarkError("LOAD_FAILED", "recovery.js can't be loaded", {});
    let left = 2;
    const finding = vi.spyOn(SegmentStore.prototype, "find").mockImplementation(function (this: SegmentStore, name) {
      return name === outboxName("bad") && left-- > 0 ? Promise.reject(missing) : find.call(this, name);
    });
    try {
      const resumed = tide.reopen();
      await expect(resumed).rejects.toBe(missing);
      expect(Object.keys(tide.status.topics)).toEqual(["good"]);
      await vi.advanceTimersByTimeAsync(30_000);
      expect(Object.keys(tide.status.topics)).toEqual(["good"]);
      await vi.advanceTimersByTimeAsync(30_000);
      expect(Object.keys(tide.status.topics).sort()).toEqual(["bad", "good"]);
      expect(left).toBe(-1);
      await vi.advanceTimersByTimeAsync(90_000);
      expect(left).toBe(-1);
    } finally {
      finding.mockRestore();
    }
  });

  it("of those that sync() names is refused, and the others are synced and go on", async () => {
    const tide = await device();
    const log = await tide.local("bad");
    vi.spyOn(log, "alone").mockRejectedValue(new TidemarkError("INVALID_ARGUMENT", "compacted", { topic: "bad" }));
    const both = tide.start({ url: EDGE, topics: ["bad", "good"] });
    await expect(both).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { topic: "bad" } });
    expect(Object.keys(tide.status.topics)).toEqual(["good"]);
    expect(tide.status.state).toBe("connecting");
  });
});

it("a topic whose note can't be written is closed, and the next call opens its outbox anew", async () => {
  const tide = await device();
  await tide.start({ url: EDGE, topics: ["a"], background: "keep" });
  const opening = vi.spyOn(TopicStorage, "open");
  const full = new TidemarkError("QUOTA_EXCEEDED", "no room", {});
  vi.spyOn(Outbox.prototype, "saveNote").mockRejectedValueOnce(full);
  await expect(tide.start({ url: EDGE, topics: ["b"] })).rejects.toBe(full);
  expect(Object.keys(tide.status.topics)).toEqual(["a"]);
  await tide.start({ url: EDGE, topics: ["b"] });
  expect(Object.keys(tide.status.topics)).toEqual(["a", "b"]);
  const [first, second] = await Promise.all(opening.mock.results.map(({ value }) => value as Promise<TopicStorage>));
  await expect(first!.outbox.log.clean()).rejects.toMatchObject({ code: "CLOSED" });
  await expect(second!.outbox.log.clean()).resolves.toBeDefined();
});

it("sync() names a topic whose detach a crash has cut: that is finished, and the topic is synced anew", async () => {
  const tide = await device();
  await tide.start({ url: EDGE, topics: ["a"] });
  await tide.writeTo("a", "left behind");
  const log = (await tide.store.find(outboxName("a")))!;
  await saveNotes(tide.store, [[log, { ...log.note, leaving: 0 } as StoredSettings]]);
  const { answer } = await tide.reopen(() => tide.start({ url: EDGE, topics: ["a", "b"] }));
  await answer;
  expect(tide.ended).toContain("a");
  expect(tide.store.names()).toContain(replicaName("a.kept"));
  expect(tide.status.topics).toMatchObject({ a: { pending: { records: 0 } }, b: { pending: { records: 0 } } });
  await tide.writeTo("a", "new");
  expect(tide.of("a").pending.records).toBe(1);
});

it("what a call has changed is in the page's status once the call is over", async () => {
  const tide = await device();
  await tide.start({ url: EDGE, topics: ["a"] });
  await tide.page.pause();
  expect(tide.page.status).toMatchObject({ state: "paused", reason: "user" });
  await tide.page.resume();
  expect(tide.page.status).toMatchObject({ state: "connecting" });
});

it("waits that a page has given up take no room on its port", async () => {
  const tide = await device();
  await tide.start({ url: EDGE, topics: ["a"] });
  await tide.page.pause();
  const { port1, port2 } = new MessageChannel();
  const manage: PortHost["manage"] = (request, signal) => tide.sync.ask((request as { ask: SyncAsk }).ask, signal);
  const failed = vi.fn();
  const server = new PortServer(port2 as globalThis.MessagePort, { manage, failed } as Partial<PortHost> as PortHost);
  const client = new PortClient(port1 as globalThis.MessagePort);
  const over = new AbortController();
  const wait = { op: "sync", ask: { ask: "wait", until: "level", topic: "a" } } as const;
  const waits = Array.from({ length: 10 }, () => client.call(wait, over.signal));
  await client.ping();
  expect(server.running.size).toBe(10);
  over.abort(new Error("given up"));
  for (const each of await Promise.allSettled(waits)) expect(each).toMatchObject({ reason: { message: "given up" } });
  expect(await client.call({ op: "sync", ask: { ask: "status" } })).toMatchObject({ state: "paused" });
  expect(server.running.size).toBe(0);
  expect(failed).not.toHaveBeenCalled();
  client.fail(new TidemarkError("CLOSED", "the test is over"));
});

describe("the edge that sync() names", () => {
  it("is any while nothing is synced: after a refused call, and after the last topic was detached", async () => {
    const tide = await device();
    const log = await tide.local("bad");
    vi.spyOn(log, "alone").mockRejectedValue(new TidemarkError("INVALID_ARGUMENT", "compacted", { topic: "bad" }));
    await expect(tide.start({ url: "http://one.example", topics: ["bad"] })).rejects.toThrow("compacted");
    expect(tide.status).toEqual({ state: "idle", connected: false, topics: {} });
    await tide.start({ url: "http://two.example", topics: ["a", "b"] });
    await vi.waitFor(() => expect(SilentSocket.made).toEqual(["ws://two.example/v1/socket"]));
    await tide.page.detach("a");
    const other = tide.start({ url: EDGE, topics: ["c"] });
    await expect(other).rejects.toMatchObject({ code: "INVALID_ARGUMENT", details: { field: "url" } });
    await tide.page.detach("b");
    expect(tide.status).toEqual({ state: "idle", connected: false, topics: {} });
    await tide.start({ url: EDGE, topics: ["c"] });
    await vi.waitFor(() => expect(SilentSocket.made.at(-1)).toBe("ws://edge.example/v1/socket"));
    await tide.page.pause();
    await tide.page.detach("c");
    await expect(tide.page.pause()).rejects.toThrow("no topic is synced");
    expect(tide.ended).toEqual(["a", "b", "c"]);
  });
});

it("a topic that is synced once more has a copy of another name: an edge may be put back meanwhile", async () => {
  const tide = await device();
  const names: (string | null)[] = [];
  for (const records of [0, 1]) {
    if (records > 0) await tide.local("a");
    await tide.start({ url: EDGE, topics: ["a"] });
    const note = readableOutboxNote(tide.store.keptOf(outboxName("a"))!.note)!;
    names.push(copyName({ ...note, stream: "a stream", from: 0, life: null, gaps: [] }));
    if (records === 0) await tide.page.detach("a");
  }
  expect(names).toEqual([expect.stringMatching(/^a stream~\d+$/), expect.stringMatching(/^a stream~\d+$/)]);
  expect(new Set(names).size).toBe(2);
});
