/** An edge that is put back to an earlier state, over real workerd: its files are replaced by a copy. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RawWorkerd } from "../raw-workerd.ts";
import type { SyncDevice } from "./sync-device.ts";
import { closeDevices, json, openDevice, pathsBelow } from "./sync-suite.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-sync-edge-"));
const state = path.join(folder, "worker");
let worker: RawWorkerd;

beforeAll(async () => {
  worker = await RawWorkerd.create({ directory: state });
  await worker.start();
});
afterAll(async () => {
  await closeDevices();
  await worker.kill();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

const paths = pathsBelow("edge");

async function deviceAt(at: string, volume?: SyncDevice["volume"]): Promise<SyncDevice> {
  const device = await openDevice(volume);
  await device.start({ url: worker.url, topics: { orders: { path: at } } });
  return device;
}

/** The worker's state as of now; the function that it returns puts it back. */
async function backup(): Promise<() => Promise<void>> {
  const copy = mkdtempSync(path.join(folder, "backup-"));
  await worker.kill();
  cpSync(state, copy, { recursive: true });
  await worker.start();
  return async () => {
    await worker.kill();
    rmSync(state, { recursive: true });
    cpSync(copy, state, { recursive: true });
    await worker.start();
  };
}

async function diverged(...devices: readonly SyncDevice[]): Promise<void> {
  for (const device of devices) {
    await device.page.resume();
    await device.until(() => device.of().state === "stopped");
    expect(device.of().stopped).toMatchObject({ code: "DIVERGED" });
  }
}

/** The name under which readers of changes know what is here. */
async function copyOf({ sync }: SyncDevice): Promise<string | null> {
  const log = await sync.log("orders");
  return (await log.changes(0, { provisional: 0, told: undefined })).stream;
}

const offered = ({ events }: SyncDevice): unknown => events.find(({ type }) => type === "offered");

describe("resolve offerAgain, after an edge was put back", () => {
  it("each device's lost records are there again once, in its order, before what it had not sent", async () => {
    const at = paths();
    const [a, b] = [await deviceAt(at), await deviceAt(at)];
    await a.write("a1", "a2");
    await b.write("b1");
    for (const device of [a, b]) await device.level();
    const putBack = await backup();
    for (const device of [a, b]) await device.level();
    // Both devices' records by turns, and each device has those of the other.
    for (let i = 0; i < 3; i++)
      for (const [device, name] of [
        [a, "a"],
        [b, "b"],
      ] as const) {
        await device.write(`${name}-lost-${i}`);
        await device.level();
      }
    for (const device of [a, b]) await device.until(() => device.of().watermark === 9);
    await a.reopen();
    for (const device of [a, b]) await device.page.pause();
    const [offset] = await a.write("a-pending");
    const place = a.placeOf(offset!);
    await putBack();
    await diverged(a, b);
    for (const device of [a, b]) await device.page.resolve("orders", "offerAgain");
    for (const device of [a, b]) await device.level();
    for (const device of [a, b]) expect(offered(device)).toMatchObject({ topic: "orders", records: 3, left: 0 });
    expect(await place).toEqual({ offset: expect.any(Number) });
    const fresh = await deviceAt(at);
    await fresh.level();
    const all = await fresh.committed();
    expect(all.filter((value) => value.startsWith('"a'))).toEqual(
      json(["a1", "a2", "a-lost-0", "a-lost-1", "a-lost-2", "a-pending"]),
    );
    expect(all.filter((value) => value.startsWith('"b'))).toEqual(json(["b1", "b-lost-0", "b-lost-1", "b-lost-2"]));
    await a.write("a-later");
    await b.write("b-later");
    for (const device of [a, b, fresh]) await device.level();
    for (const device of [a, b, fresh]) await device.until(() => device.of().watermark === all.length + 2);
    for (const device of [a, b]) expect(await device.committed()).toEqual(await fresh.committed());
    await expect(a.page.resolve("orders", "offerAgain")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("a crash at any write of it, and copies of the profile that offer the same, leave each record once", async () => {
    const at = paths();
    const device = await deviceAt(at);
    await device.write("kept");
    await device.level();
    const putBack = await backup();
    await device.level();
    await device.write("x", "y", "z");
    await device.level();
    await device.until(() => device.of().watermark === 4);
    await device.page.pause();
    await device.write("pending");
    await putBack();
    await diverged(device);
    const images = await device.imagesOf(async () => {
      await device.page.resolve("orders", "offerAgain");
      await device.level();
    });
    await device.close();
    expect(images.length).toBeGreaterThan(5);
    const left = new Set<string>();
    for (const image of images) {
      const again = await openDevice(image);
      await again.sync.resume();
      await again.until(() => again.of().state === "stopped" || again.of().state === "live");
      left.add(again.of().state);
      if (again.of().state === "stopped") await again.page.resolve("orders", "offerAgain");
      await again.level();
      expect((await again.committed()).sort()).toEqual(json(["kept", "pending", "x", "y", "z"]));
      await again.close();
    }
    expect([...left].sort()).toEqual(["live", "stopped"]);
  });
});

describe("resolve offerAgain at a log that was closed", () => {
  it("leaves what the edge has lost in the kept copy, says how much, and nothing waits for it", async () => {
    const at = paths();
    const device = await deviceAt(at);
    await device.write("a");
    await device.level();
    const putBack = await backup();
    await device.level();
    await device.write("b", "c");
    await device.level();
    await device.until(() => device.of().watermark === 3);
    await device.page.pause();
    await putBack();
    const headers = { "stream-closed": "true", "content-type": "application/json" };
    expect((await fetch(`${worker.url}/v1/stream/${at}`, { method: "POST", headers })).ok).toBe(true);
    await diverged(device);
    await device.page.resolve("orders", "offerAgain");
    await device.level();
    expect(offered(device)).toMatchObject({ topic: "orders", records: 0, left: 2 });
    expect(await device.committed()).toEqual(json(["a"]));
  });
});

describe("an edge that was put back to an earlier state", () => {
  it.each([
    ["and has not grown again (H13)", false],
    ["and has grown beyond the device's end since (H14)", true],
  ])(
    "%s stops the topic at what both share, and nothing here is removed",
    async (_, isGrown) => {
      const at = paths();
      const device = await deviceAt(at);
      await device.write("a", "b");
      await device.level();
      await worker.kill();
      const backup = path.join(folder, `backup-${isGrown}`);
      cpSync(state, backup, { recursive: true });
      await worker.start();
      await device.write("c", "d");
      await device.level();
      await device.page.pause();
      await device.write("e");
      await worker.kill();
      rmSync(state, { recursive: true });
      cpSync(backup, state, { recursive: true });
      await worker.start();
      if (isGrown) {
        const other = await deviceAt(at);
        await other.write("x", "y", "z");
        await other.level();
      }
      await device.page.resume();
      await device.until(() => device.of().state === "stopped");
      expect(device.of().stopped).toMatchObject({ code: "DIVERGED" });
      const { agreedTo } = device.of().stopped!.details as { agreedTo: number };
      expect(agreedTo).toBeLessThanOrEqual(2);
      expect(await device.committed()).toEqual(json(["a", "b", "c", "d"]));
      expect(device.of().pending.records).toBe(1);
      // Begun anew, the device has what the edge has; what is un-synced goes out once, and the old copy is kept.
      const [log, anew] = (await copyOf(device))!.split("~");
      await device.page.resolve("orders", "restart");
      await device.level();
      // The log at the edge has the same id, and readers of changes must not go on in it.
      expect(await copyOf(device)).toBe(`${log}~${Number(anew) + 1}`);
      const there = isGrown ? ["a", "b", "x", "y", "z"] : ["a", "b"];
      expect(await device.committed()).toEqual(json([...there, "e"]));
      await device.write("f");
      await device.level();
      const fresh = await deviceAt(at);
      await fresh.level();
      expect(await fresh.committed()).toEqual(json([...there, "e", "f"]));
    },
    60_000,
  );
});
