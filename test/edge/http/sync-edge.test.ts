/** An edge that is put back to an earlier state, over real workerd: its files are replaced by a copy. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { RawWorkerd } from "../raw-workerd.ts";
import { SyncDevice } from "./sync-device.ts";

const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-sync-edge-"));
const state = path.join(folder, "worker");
let worker: RawWorkerd;
const open: SyncDevice[] = [];

beforeAll(async () => {
  worker = await RawWorkerd.create({ directory: state });
  await worker.start();
}, 30_000);
afterAll(async () => {
  for (const device of open) await device.close();
  await worker.kill();
  rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
});

const paths = (() => {
  let next = 0;
  return (): string => `edge/${++next}`;
})();
const json = (values: readonly string[]): string[] => values.map((value) => JSON.stringify(value));

async function deviceAt(at: string): Promise<SyncDevice> {
  const device = await SyncDevice.open();
  open.push(device);
  await device.start({ url: worker.url, topics: { orders: { path: at } } });
  return device;
}

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
      await device.page.resolve("orders", "restart");
      await device.level();
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
