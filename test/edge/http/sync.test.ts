/**
 * Devices in sync under Node (sync-device.ts), over real sockets to real workerd and a network that is cut.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { SyncEvent } from "../../../src/browser/sync-api.ts";
import { BODY_AT } from "../../../src/store/slot-layout.ts";
import { FaultProxy } from "../../sync/proxy.ts";
import { type LocalWorker, startWorker } from "../local-worker.ts";
import { copyOf, type SyncDevice } from "./sync-device.ts";
import { closeDevices, json, openDevice, pathsBelow } from "./sync-suite.ts";

let worker: LocalWorker;
let network: FaultProxy;

beforeAll(async () => {
  worker = await startWorker();
  network = await new FaultProxy(Number(new URL(worker.url).port)).start();
});
afterAll(async () => {
  await closeDevices();
  await network.stop();
  await worker.stop();
});

const edge = (): string => `http://127.0.0.1:${network.port}`;
const paths = pathsBelow("sync");

async function deviceAt(path: string, volume?: SyncDevice["volume"]): Promise<SyncDevice> {
  const device = await openDevice(volume);
  await device.start({ url: edge(), topics: { [device.topic]: { path } } });
  return device;
}

describe("tides in sync", () => {
  it("make the log, push what each has, and hold the same; a cut in the middle loses and doubles nothing", async () => {
    const path = paths();
    const ann = await deviceAt(path);
    await ann.write("a0", "a1");
    const ben = await deviceAt(path);
    await ann.level();
    await ben.until(() => ben.of().watermark === 2);
    expect(await ben.committed()).toEqual(json(["a0", "a1"]));
    network.refuse();
    await ann.write("a2", "a3");
    await ben.write("b0", "b1", "b2");
    network.heal();
    await Promise.all([ann, ben].map((each) => each.until(() => each.of().watermark === 7)));
    const [one, other] = [await ann.committed(), await ben.committed()];
    expect(one).toEqual(other);
    expect(one.filter((value) => value.startsWith('"a'))).toEqual(json(["a0", "a1", "a2", "a3"]));
    expect(one.filter((value) => value.startsWith('"b'))).toEqual(json(["b0", "b1", "b2"]));
  });

  it("status says what waits, whether the edge is there, and that a pause is a person's", async () => {
    const device = await deviceAt(paths());
    await device.level();
    expect(device.status).toMatchObject({
      state: "live",
      connected: true,
      topics: { orders: { state: "live", pending: { records: 0, bytes: 0 }, behind: { records: 0 }, hasSynced: true } },
    });
    await device.page.pause();
    await device.write("later");
    expect(device.status).toMatchObject({
      state: "paused",
      reason: "user",
      connected: false,
      topics: { orders: { state: "offline", pending: { records: 1 } } },
    });
    await device.page.resume();
    await device.level();
    expect(await device.committed()).toEqual(json(["later"]));
    await expect(device.page.drained({ topic: "other" })).rejects.toMatchObject({ code: "UNKNOWN_TOPIC" });
    await expect(device.start({ url: "http://other.example", topics: ["orders"] })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: { field: "url" },
    });
  });

  it("a copy of a device claims: what both share is at the edge once, and what each wrote since, too", async () => {
    const path = paths();
    const original = await deviceAt(path);
    await original.page.pause();
    await original.write("shared");
    const copy = await deviceAt(path, await copyOf(original.volume));
    await copy.page.pause();
    await original.write("original");
    await copy.write("copy");
    await original.page.resume();
    await original.level();
    await copy.page.resume();
    await copy.level();
    await original.until(() => original.of().watermark === 3);
    const found = await original.committed();
    expect([...found].sort()).toEqual(json(["copy", "original", "shared"]));
    expect(await copy.committed()).toEqual(found);
    expect(copy.events.some(({ type }) => type === "claimed")).toBe(true);
  });

  it("a batch that the edge refuses blocks what is behind it, until it is discarded", async () => {
    const device = await deviceAt(paths());
    await device.level();
    await device.page.pause();
    await device.write("good", new TextEncoder().encode("{ no JSON"), "behind");
    await device.page.resume();
    await expect(device.page.drained()).rejects.toMatchObject({ details: { topic: "orders" } });
    await device.until(() => device.of().watermark === 1);
    expect(await device.committed()).toEqual(json(["good"]));
    expect(device.of().blocked).toMatchObject({ firstOffset: 2 ** 52 + 1, records: 1 });
    await device.page.unblock("orders", "discard");
    await device.level();
    expect(await device.committed()).toEqual(json(["good", "behind"]));
  });
});

describe("a person who signs in elsewhere", () => {
  it("finds what was written meanwhile at the edge, as soon as a page is seen again", async () => {
    const path = paths();
    const device = await openDevice();
    let token: null | undefined = null;
    await device.start({ url: edge(), token: () => token as null, topics: { orders: { path } } });
    await device.until(() => device.status.state === "paused");
    expect(device.status.reason).toBe("signed-out");
    await device.write("out");
    // This edge asks for none, and refuses what is no token of its own.
    token = undefined;
    await device.sync.ask({ ask: "hint", hint: "seen" });
    // The hint may come within a second of the last try.
    const again = setInterval(() => void device.sync.ask({ ask: "hint", hint: "seen" }), 200);
    await device.level().finally(() => clearInterval(again));
    expect(await device.committed()).toEqual(json(["out"]));
  });
});

describe("caughtUp()", () => {
  it("holds all that was at the edge when it was called, also where the topic was live and did not know", async () => {
    const path = paths();
    const near = await openDevice();
    await near.start({ url: worker.url, topics: { orders: { path } } });
    await near.level();
    const far = await deviceAt(path);
    await far.level();
    network.weather.latencyMs = 300;
    await near.write("a", "b");
    await near.page.drained();
    expect(far.of()).toMatchObject({ state: "live", watermark: 0, behind: { records: 0 } });
    await far.page.caughtUp();
    expect(far.of()).toMatchObject({ state: "live", watermark: 2, behind: { records: 0 } });
    expect(await far.committed()).toEqual(json(["a", "b"]));
    // A connection that ends while the edge is asked is no answer.
    await near.write("c");
    await near.page.drained();
    const told = far.page.caughtUp();
    network.heal();
    network.cut();
    await told;
    expect(far.of().watermark).toBe(3);
  });

  it("ends when the topic is synced no more", async () => {
    const device = await deviceAt(paths());
    await device.page.pause();
    const waits = [device.page.caughtUp(), device.page.drained(), device.page.caughtUp()];
    await device.write("left");
    waits[1] = device.page.drained();
    const over = waits.slice(1).map((wait) => expect(wait).rejects.toMatchObject({ code: "CLOSED" }));
    await device.page.detach("orders", { force: true });
    await Promise.all(over);
    await expect(waits[0]).rejects.toMatchObject({ code: "CLOSED", details: { topic: "orders", reason: "left" } });
  });
});

describe("places that a page was not told of", () => {
  it("are asked for at another leader: settled, trimmed, retracted", async () => {
    const path = paths();
    const ben = await deviceAt(path);
    await ben.write("first");
    await ben.level();
    const ann = await deviceAt(path);
    await ann.level();
    network.refuse();
    const offsets = await ann.write("a", "b", "c");
    const places = offsets.map((offset) => ann.placeOf(offset));
    const isOver = (): boolean => ann.of().pending.records === 0 && ann.of().watermark === 4;
    await ann.away(async () => {
      network.heal();
      await expect.poll(isOver).toBe(true);
    });
    expect(await Promise.all(places)).toEqual([{ offset: 1 }, { offset: 2 }, { offset: 3 }]);
    // The same over an opening, which finds what it has settled by itself.
    network.refuse();
    const [last] = await ann.write("d");
    const late = ann.placeOf(last!);
    await ann.away(async () => {
      await ann.succeed();
      network.heal();
      await expect.poll(() => ann.of().watermark).toBe(5);
    });
    expect(await late).toEqual({ offset: 4 });
    // An ack that comes once more, of a record whose place was told before.
    expect(await ann.placeOf(offsets[1]!, true)).toEqual({ offset: 2 });
    // Also beside one that was appended now, whose place is not told to the page.
    await expect.poll(() => ann.page.status.topics["orders"]?.watermark).toBe(5);
    network.refuse();
    const [next] = await ann.write("e");
    const waits = ann.placeOf(next!);
    await ann.away(async () => {
      network.heal();
      await expect.poll(() => ann.of().watermark).toBe(6);
      expect(await ann.placeOf(offsets[1]!, true)).toEqual({ offset: 2 });
    });
    expect(await waits).toEqual({ offset: 5 });
    await ann.page.pause();
    const [gone] = await ann.write("gone");
    const never = ann.placeOf(gone!);
    never.catch(() => undefined);
    const { storage } = await ann.sync.log("orders");
    await ann.away(() => storage.retract(gone! - 2 ** 52, gone! - 2 ** 52 + 1, "discarded"));
    await expect(never).rejects.toMatchObject({ code: "RETRACTED" });
  });
});

describe("what sync() was told", () => {
  const head = async (path: string): Promise<Headers> =>
    (await fetch(`${worker.url}/v1/stream/${path}`, { method: "HEAD" })).headers;

  it("holds after a reload without a call, and a later call changes what it names only", async () => {
    const path = paths();
    const device = await openDevice();
    const create = { retention: { maxAgeMs: 86_400_500, maxBytes: 2 ** 30 }, compaction: { minLagMs: 1_000 } };
    const topics = {
      orders: { path, create, outboxBytesMax: 400, onTrimmed: "stop", keep: { maxRecords: 7 } },
    } as const;
    network.refuse();
    await device.start({ url: edge(), topics });
    await device.reopen();
    network.heal();
    await device.level();
    const headers = await head(path);
    expect(headers.get("content-type")).toBe("application/json");
    expect(headers.get("tidemark-retention-seconds")).toBe("86401");
    expect(headers.get("tidemark-retention-bytes")).toBe(String(2 ** 30));
    expect(headers.get("tidemark-compaction")).toBe("key");
    expect(headers.get("tidemark-compaction-lag-seconds")).toBe("1");
    await device.page.pause();
    const full = device.write(...Array.from({ length: 9 }, () => "x".repeat(60)));
    await expect(full).rejects.toMatchObject({ code: "OUTBOX_FULL", details: { outboxBytesMax: 400 } });
    expect(device.events).toContainEqual({ type: "outboxfull", topic: "orders" });
    await device.start({ url: edge(), topics: { orders: { outboxBytesMax: 100_000 } } });
    await device.write("one more");
    await device.reopen();
    const { options } = (await device.sync.log("orders")).storage.outboxNote;
    expect(options).toEqual({ create, outboxBytesMax: 100_000, onTrimmed: "stop", keep: { maxRecords: 7 } });
    expect((await device.sync.log("orders")).settings.retention).toEqual({ maxRecords: 7 });
    const moved = device.start({ url: edge(), topics: { orders: { path: "elsewhere" } } });
    await expect(moved).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: { field: "path", topic: "orders" },
    });
  });

  it("makes the log for the topic's values, and blocks before anything is sent if they don't fit (H31)", async () => {
    const [bytes, text, wrong] = [paths(), paths(), paths()];
    const device = await openDevice();
    await fetch(`${worker.url}/v1/stream/${wrong}`, { method: "PUT", headers: { "content-type": "application/json" } });
    await device.start({
      url: edge(),
      topics: {
        files: { path: bytes, serializer: "bytes" },
        notes: { path: text, serializer: "text" },
        wrong: { path: wrong, serializer: "text" },
      },
    });
    await device.writeTo("files", Uint8Array.of(0, 255, 7));
    await device.writeTo("notes", new TextEncoder().encode("no JSON"));
    await device.writeTo("wrong", new TextEncoder().encode("no JSON either"));
    for (const topic of ["files", "notes"]) {
      await device.page.drained({ topic });
      await device.page.caughtUp({ topic });
    }
    expect((await head(bytes)).get("content-type")).toBe("application/octet-stream");
    expect((await head(text)).get("content-type")).toBe("text/plain");
    expect(await device.committed("notes")).toEqual(["no JSON"]);
    await device.until(() => device.of("wrong").state === "blocked");
    expect(device.of("wrong").blocked).toMatchObject({ code: "INVALID_ARGUMENT", firstOffset: undefined });
    expect((await head(wrong)).get("stream-next-offset")).toMatch(/^0+_?0*$/);
    // A later call that says what the values really are lets them go.
    await device.start({ url: edge(), topics: { wrong: { serializer: "json" } } });
    await device.until(() => device.of("wrong").blocked?.records === 1);
  });

  it("an edge's log that nobody may make is waited for", async () => {
    const path = paths();
    const device = await openDevice();
    await device.start({ url: edge(), topics: { orders: { path, create: false } } });
    await device.write("early");
    await device.until(() => device.of().state === "offline" && device.status.connected);
    expect((await fetch(`${worker.url}/v1/stream/${path}`, { method: "HEAD" })).status).toBe(404);
    await fetch(`${worker.url}/v1/stream/${path}`, { method: "PUT", headers: { "content-type": "application/json" } });
    await device.level();
    expect(await device.committed()).toEqual(json(["early"]));
  });

  it("keep removes committed records from this device only", async () => {
    const path = paths();
    const device = await openDevice();
    await device.start({ url: edge(), topics: { orders: { path, keep: { maxRecords: 100 } } } });
    await device.write(...Array.from({ length: 200 }, (_, i) => `${i}-${"x".repeat(1_000)}`));
    await device.level();
    expect(device.due).toContain("orders");
    await device.sync.clean("orders");
    const { logStartOffset, highWatermark } = await device.sync.log("orders");
    expect(highWatermark).toBe(200);
    expect(logStartOffset).toBeGreaterThan(0);
    expect(logStartOffset).toBeLessThanOrEqual(100);
    const fresh = await deviceAt(path);
    await fresh.level();
    expect((await fresh.committed()).length).toBe(200);
  });
});

describe("a network without WebSockets", () => {
  it("devices sync over HTTP, through lost connections, and use sockets again once there are some", async () => {
    const path = paths();
    network.noSockets();
    const [ann, ben] = [await deviceAt(path), await deviceAt(path)];
    await ann.write("a", "b", "c");
    await Promise.all([ann.level(), ben.level()]);
    await ben.until(() => ben.of().watermark === 3);
    for (let round = 0; round < 1; round++) {
      const written = [ann.write(`ann-${round}`), ben.write(`ben-${round}`)];
      network.cut();
      await Promise.all(written);
      await Promise.all([ann.level(), ben.level()]);
    }
    await Promise.all([ann, ben].map((device) => device.until(() => device.of().watermark === 5)));
    const found = await ann.committed();
    expect(await ben.committed()).toEqual(found);
    expect([...found].sort()).toHaveLength(new Set(found).size);
    expect(network.heal()).toBeGreaterThan(4);
    // A device that comes now has a socket, and both kinds see each other.
    const late = await deviceAt(path);
    await late.level();
    await late.write("late");
    await Promise.all([ann, ben, late].map((device) => device.until(() => device.of().watermark === 6)));
    expect(await late.committed()).toEqual([...found, ...json(["late"])]);
  });
});

describe("a link that rests", () => {
  it("a pause holds after a reload, also for a topic that is synced later, until somebody resumes (H43)", async () => {
    const [path, other] = [paths(), paths()];
    const device = await deviceAt(path);
    await device.level();
    await device.page.pause();
    await device.write("paused");
    await device.reopen();
    expect(device.status).toMatchObject({ state: "paused", reason: "user", connected: false });
    await device.start({ url: edge(), topics: { orders: {}, more: { path: other } } });
    await device.writeTo("more", "paused, too");
    await device.page.authenticate("a-token");
    await device.reopen();
    expect(device.status).toMatchObject({ state: "paused", reason: "user" });
    await device.page.resume();
    await device.level();
    expect(await device.committed()).toEqual(json(["paused"]));
    expect(await device.committed("more")).toEqual(json(["paused, too"]));
    await device.reopen();
    await device.level();
    expect(device.status.state).toBe("live");
  });

  it("a wait and a pause that are asked for before the topics are open again count for all of them", async () => {
    const device = await deviceAt(paths());
    await device.level();
    network.refuse();
    await device.write("waits");
    let isDrained = false;
    const drained = async (): Promise<void> => {
      await device.page.drained();
      isDrained = true;
    };
    const { answer } = await device.reopen(drained);
    await device.until(() => device.status.state === "offline");
    expect(isDrained).toBe(false);
    network.heal();
    await answer;
    expect(device.of().pending.records).toBe(0);
    await (
      await device.reopen(() => device.page.pause())
    ).answer;
    expect(device.status).toMatchObject({ state: "paused", reason: "user" });
    await device.page.resume();
  });

  it("a page that is seen again has news within three seconds, though its socket is dead (H26)", async () => {
    const path = paths();
    const ann = await deviceAt(path);
    const ben = await openDevice();
    await ben.start({ url: worker.url, topics: { orders: { path } } });
    await Promise.all([ann.level(), ben.level()]);
    network.swallow("up", "down");
    await ben.write("news");
    await ben.level();
    expect(ann.status.connected).toBe(true);
    const from = performance.now();
    await ann.sync.ask({ ask: "hint", hint: "seen" });
    // The socket is given up after two seconds without an answer; only then there is a network again.
    await ann.until(() => !ann.status.connected);
    network.heal();
    await ann.until(() => ann.of().watermark === 1);
    expect(performance.now() - from).toBeLessThan(3_000);
  });
});

describe("a damaged copy", () => {
  it("is made anew from the edge: what a read meets, and what was met before sync went on", async () => {
    const device = await deviceAt(paths());
    for (let i = 0; i < 60; i++) await device.write(`${i} `.padEnd(4_000, "."));
    await device.level();
    await device.until(() => device.of().watermark === 60);
    const whole = await device.committed();
    const damage = async (): Promise<void> => {
      const { replica } = (await device.sync.log("orders")).storage;
      const [segment] = replica!.log.all;
      expect(segment!.sealed).toBeDefined();
      await device.volume.write(segment!.slot, BODY_AT + Math.floor(segment!.bytes / 2), Uint8Array.of(0));
    };
    const healed = (): SyncEvent[] => device.events.filter(({ type }) => type === "healed");
    await damage();
    await expect(device.committed()).rejects.toMatchObject({ code: "CORRUPT_RANGE" });
    await device.until(() => healed().length === 1);
    expect(healed()[0]).toMatchObject({ topic: "orders", from: 0 });
    expect(await device.committed()).toEqual(whole);

    await device.page.pause();
    await damage();
    await expect(device.committed()).rejects.toMatchObject({ code: "CORRUPT_RANGE" });
    await device.reopen();
    await expect(device.committed()).rejects.toMatchObject({ code: "CORRUPT_RANGE" });
    await device.page.resume();
    await device.until(() => healed().length === 2);
    expect(await device.committed()).toEqual(whole);
    await device.reopen();
    expect(await device.committed()).toEqual(whole);
  });
});
