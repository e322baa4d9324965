/** Topics that stopped, and topics whose sync ends, over real workerd: what is told, what each answer leaves. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type LocalWorker, startWorker } from "../local-worker.ts";
import { type SyncDevice, textsIn } from "./sync-device.ts";
import { closeDevices, json, openDevice, pathsBelow } from "./sync-suite.ts";

let worker: LocalWorker;

beforeAll(async () => {
  worker = await startWorker();
});
afterAll(async () => {
  await closeDevices();
  await worker.stop();
});

const paths = pathsBelow("stopped");

async function deviceAt(path: string, volume?: SyncDevice["volume"]): Promise<SyncDevice> {
  const device = await openDevice(volume);
  await device.start({ url: worker.url, topics: { orders: { path } } });
  return device;
}

async function localTexts(device: SyncDevice, topic: string): Promise<string[]> {
  const log = await device.local(topic);
  const found: string[] = [];
  for (let from = log.logStartOffset; from < log.highWatermark;) {
    const { bytes, nextOffset } = await log.fetch(from);
    found.push(...(await textsIn(bytes)));
    from = nextOffset;
  }
  return found;
}

const urlOf = (path: string): string => `${worker.url}/v1/stream/${path}`;
const remove = async (path: string): Promise<void> => void (await fetch(urlOf(path), { method: "DELETE" }));
async function make(path: string): Promise<void> {
  const made = await fetch(urlOf(path), { method: "PUT", headers: { "content-type": "application/json" } });
  expect(made.status).toBe(201);
}

/** A device with "a" and "b" at the edge and "c" un-synced, whose log was removed there. */
async function stopped(path: string, isMadeAnew = true): Promise<{ device: SyncDevice; offset: number }> {
  const device = await deviceAt(path);
  await device.write("a", "b");
  await device.level();
  await device.page.pause();
  const [offset] = await device.write("c");
  await remove(path);
  if (isMadeAnew) await make(path);
  await device.page.resume();
  await device.until(() => device.of().state === "stopped");
  return { device, offset: offset! };
}

describe("a log that is not at the edge any more (H15)", () => {
  it("stops the topic, and is not made again, though the topic may be made", async () => {
    const path = paths();
    const { device } = await stopped(path, false);
    expect(device.of().stopped).toMatchObject({ code: "REPLACED" });
    expect(device.status).toMatchObject({ state: "blocked", connected: true, reason: "REPLACED" });
    const event = device.events.find(({ type }) => type === "stopped");
    expect(event).toMatchObject({ topic: "orders", code: "REPLACED", details: { stream: expect.any(String) } });
    expect((await fetch(urlOf(path), { method: "HEAD" })).status).toBe(404);
    const over = { code: "REPLACED", message: expect.stringContaining("resolve()"), details: { topic: "orders" } };
    await expect(device.page.drained()).rejects.toMatchObject(over);
    expect(await device.committed()).toEqual(json(["a", "b"]));
    await device.write("d");
    await device.reopen();
    await device.until(() => device.of().state === "stopped");
    expect(device.of().pending.records).toBe(2);
  });

  it("restart: the copy stays as <name>.kept, and what was not at the edge goes to the new log, once", async () => {
    const path = paths();
    const { device, offset } = await stopped(path);
    await device.write("d");
    const place = device.placeOf(offset!);
    await expect(device.page.resolve("orders", "offerAgain")).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: { field: "choice", topic: "orders", code: "REPLACED" },
    });
    await device.page.resolve("orders", "restart");
    await device.level();
    expect(await place).toEqual({ offset: 0 });
    expect(await device.committed()).toEqual(json(["c", "d"]));
    expect(await localTexts(device, "orders.kept")).toEqual(json(["a", "b"]));
    await device.reopen();
    await device.write("e");
    await device.level();
    const fresh = await deviceAt(path);
    await fresh.level();
    expect(await fresh.committed()).toEqual(json(["c", "d", "e"]));
    expect(await localTexts(device, "orders.kept")).toEqual(json(["a", "b"]));
    await expect(device.page.resolve("orders", "restart")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("two tabs that answer at once: one answer counts, and the other one hears so", async () => {
    const path = paths();
    const { device } = await stopped(path);
    const twice = async (answer: () => Promise<void>): Promise<void> => {
      const both = await Promise.allSettled([answer(), answer()]);
      expect(both.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
      expect(both.find(({ status }) => status === "rejected")).toMatchObject({ reason: { code: "INVALID_ARGUMENT" } });
    };
    await twice(() => device.page.resolve("orders", "restart"));
    await device.write("d");
    await device.level();
    expect(await device.committed()).toEqual(json(["c", "d"]));
    expect(await localTexts(device, "orders.kept")).toEqual(json(["a", "b"]));
    const other = await stopped(paths());
    await twice(() => other.device.page.detach("orders", { force: true }));
    expect(await localTexts(other.device, "orders.kept")).toEqual(json(["a", "b", "c"]));
  });

  it("detach: copy and un-synced records are <name>.kept, and the topic's name is free", async () => {
    const { device, offset } = await stopped(paths());
    const place = device.placeOf(offset!);
    await device.page.resolve("orders", "detach");
    await expect(place).rejects.toMatchObject({ code: "RETRACTED" });
    expect(device.ended).toEqual(["orders"]);
    expect(device.of()).toBeUndefined();
    expect(await localTexts(device, "orders.kept")).toEqual(json(["a", "b", "c"]));
    expect(device.store.names()).toEqual(["orders.kept-0"]);
    await expect(device.page.unblock("orders", "retry")).rejects.toMatchObject({ code: "UNKNOWN_TOPIC" });
    await device.reopen();
    expect(await localTexts(device, "orders.kept")).toEqual(json(["a", "b", "c"]));
    const kept = await device.local("orders.kept");
    expect((await kept.clean()).rolled).toBe(false);
  });
});

describe("detach()", () => {
  it("is SYNC_PAUSED with un-synced records, unless it is forced; refused if there is a kept topic", async () => {
    const path = paths();
    const device = await deviceAt(path);
    await device.write("a");
    await device.level();
    await device.page.pause();
    await device.write("b");
    await expect(device.page.detach("orders")).rejects.toMatchObject({
      code: "SYNC_PAUSED",
      details: { topic: "orders", records: 1 },
    });
    await device.page.detach("orders", { force: true });
    expect(await localTexts(device, "orders.kept")).toEqual(json(["a", "b"]));
    await device.start({ url: worker.url, topics: { orders: { path } } });
    await device.page.resume();
    await device.level();
    expect(await device.committed()).toEqual(json(["a"]));
    await expect(device.page.detach("orders")).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
      details: { topic: "orders.kept" },
    });
    await device.write("still in sync");
    await device.level();
    expect(await device.committed()).toEqual(json(["a", "still in sync"]));
  });

  it("of a topic that never reached the edge keeps all of it", async () => {
    const device = await openDevice();
    await device.start({ url: "http://127.0.0.1:9", topics: ["orders"] });
    await device.write("a", "b");
    await device.page.detach("orders", { force: true });
    expect(await localTexts(device, "orders.kept")).toEqual(json(["a", "b"]));
  });

  it("goes on in the next opening after a crash in the middle, and copies nothing twice", async () => {
    const path = paths();
    const device = await deviceAt(path);
    await device.write("a");
    await device.level();
    await device.page.pause();
    await device.write("b", "c");
    const images = await device.imagesOf(() => device.page.detach("orders", { force: true }));
    expect(images.length).toBeGreaterThan(4);
    const seen = new Set<string>();
    for (const image of images) {
      const again = await openDevice(image);
      await again.sync.resume();
      const isSynced = again.status.topics["orders"] !== undefined;
      seen.add(String(isSynced));
      if (!isSynced) expect(await localTexts(again, "orders.kept")).toEqual(json(["a", "b", "c"]));
      else {
        expect(await again.committed()).toEqual(json(["a"]));
        expect(again.of().pending.records).toBe(2);
      }
      await again.close();
    }
    expect([...seen].sort()).toEqual(["false", "true"]);
  });
});
