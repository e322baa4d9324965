/**
 * A whole tide removed, and what a cleared origin or a tab that died leaves behind: in each case the next open is a
 * new, empty tide.
 */
import { afterEach, describe, expect, it } from "vitest";
import { destroy, open, type OpenOptions, type Tide, type TidemarkError } from "../../src/browser/index.ts";
import { meanwhile } from "./meanwhile.ts";

let names = 0;
const fresh = () => `destroy-${Date.now()}-${names++}`;
const opened: Tide[] = [];
afterEach(async () => {
  for (const tide of opened.splice(0).reverse()) await tide.close();
});
const SEGMENT_BYTES = 64 * 1024;
async function tab(name: string, options: OpenOptions = {}): Promise<Tide> {
  const tide = await open(name, { segmentBytes: SEGMENT_BYTES, ...options });
  opened.push(tide);
  return tide;
}
const databases = async (name: string): Promise<unknown[]> =>
  (await indexedDB.databases()).map((each) => each.name).filter((each) => each!.endsWith(`:${name}`));
const root = async (): Promise<FileSystemDirectoryHandle> =>
  (await navigator.storage.getDirectory()).getDirectoryHandle("tidemark", { create: true });
async function filesOf(name: string): Promise<string[] | undefined> {
  const directory = await (await root()).getDirectoryHandle(name).catch(() => undefined);
  if (!directory) return undefined;
  const found: string[] = [];
  for await (const file of (directory as typeof directory & { keys(): AsyncIterable<string> }).keys()) found.push(file);
  return found.sort();
}
async function put(name: string, file: string, bytes: number): Promise<void> {
  let directory = await (await root()).getDirectoryHandle(name, { create: true });
  const parts = file.split("/");
  for (const part of parts.slice(0, -1)) directory = await directory.getDirectoryHandle(part, { create: true });
  const writable = await (await directory.getFileHandle(parts.at(-1)!, { create: true })).createWritable();
  if (bytes > 0) await writable.write(new Uint8Array(bytes));
  await writable.close();
}
async function isNew(name: string): Promise<void> {
  for (let turn = 0; turn < 2; turn++) {
    const tide = await tab(name);
    const values: unknown[] = [];
    for await (const { value } of tide.topic("t").read()) values.push(value);
    expect(values).toEqual(turn ? ["new"] : []);
    if (!turn) expect((await tide.topic("t").append({ value: "new" })).offset).toBe(0);
    await tide.close();
  }
}

describe("destroy()", () => {
  it("removes what a self-test left in a tab that ended, once no worker could still be in one", async () => {
    const base = await navigator.storage.getDirectory();
    const left = [`.probe-${crypto.randomUUID()}`, `.tidemark-${crypto.randomUUID()}`, ".probe-of-somebody"] as const;
    const [probe, file, other] = left;
    await put(probe, "slot-0000", 10);
    await put(other, "slot-0000", 0);
    await base.getFileHandle(file, { create: true });
    await new Promise((resolve, reject) => {
      const request = indexedDB.open(`tidemark:${probe}`);
      request.onsuccess = () => resolve(request.result.close());
      request.onerror = reject;
    });
    const there = async (): Promise<unknown[]> => [
      (await filesOf(probe)) !== undefined,
      await base.getFileHandle(file).then(
        () => true,
        () => false,
      ),
      (await databases(probe)).length > 0,
      (await filesOf(other)) !== undefined,
    ];
    const beside = await tab(fresh());
    await destroy(fresh());
    expect(await there()).toEqual([true, true, true, true]);
    await beside.close();
    // Its worker ends a moment later.
    await expect
      .poll(async () => (await destroy(fresh()), there()), { timeout: 20_000 })
      .toEqual([false, false, false, true]);
    await (await root()).removeEntry(other, { recursive: true });
  });

  it.each(["opfs", "indexeddb", "memory"] as const)(
    "removes a tide in %s that tabs have open: they are closed, and nothing is left",
    async (engine) => {
      const name = fresh();
      const tides = [await tab(name, { engine }), await tab(name, { engine }), await tab(name, { engine })];
      const alone = await tab(fresh());
      for (const tide of tides) await tide.topic("t").append({ value: "old" });
      const closed = tides.map(
        (tide) => new Promise((resolve) => tide.on((event) => event.type === "closed" && resolve(event.reason))),
      );
      await destroy(name);
      for (const reason of await Promise.all(closed)) expect(reason).toMatch(/destroyed/);
      for (const tide of tides)
        await expect(tide.topic("t").append({ value: "late" })).rejects.toMatchObject({
          code: "CLOSED",
          details: { reason: "destroyed" },
        });
      expect([await filesOf(name), await databases(name)]).toEqual([undefined, []]);
      if (engine !== "memory") await isNew(name);
      expect((await alone.topic("t").append({ value: 1 })).offset).toBe(0);
    },
  );

  it("closes a tab that was alone, does nothing where there is nothing, and refuses what is no name", async () => {
    const name = fresh();
    await destroy(name);
    expect([await filesOf(name), await databases(name)]).toEqual([undefined, []]);
    const tide = await tab(name);
    await tide.topic("t").append({ value: "old" });
    await destroy(name);
    await expect(tide.topic("t").append({ value: "late" })).rejects.toMatchObject({ code: "CLOSED" });
    await isNew(name);
    for (const bad of ["", "..", "a/b", 5, undefined])
      await expect(destroy(bad as string)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  const held = fresh();
  const refusedWhileHeld = meanwhile(async () => {
    const tide = await open(held, { segmentBytes: SEGMENT_BYTES });
    await tide.topic("t").append({ value: "old" });
    await tide.close();
    return navigator.locks.request(`tidemark:${held}`, () =>
      destroy(held).then(
        () => undefined,
        (thrown: TidemarkError) => thrown,
      ),
    );
  });
  it("is ALREADY_OPEN when the lead is not let go of, and removes nothing then", async () => {
    const refused = await refusedWhileHeld();
    expect([refused?.code, refused?.kind]).toEqual(["ALREADY_OPEN", "retry"]);
    const values: unknown[] = [];
    for await (const { value } of (await tab(held)).topic("t").read()) values.push(value);
    expect(values).toEqual(["old"]);
  });

  it.each(["opfs", "indexeddb"] as const)(
    "that a tab died over is ended by the next open of the tide in %s",
    async (engine) => {
      const name = fresh();
      const tide = await tab(name, { engine });
      await tide.topic("t").append({ value: "old" });
      await tide.close();
      await new Promise((resolve) => {
        const request = indexedDB.open(`tidemark-destroyed:${name}`);
        request.onsuccess = () => resolve(request.result.close());
      });
      // Some of the files are gone already.
      if (engine === "opfs")
        for (const file of ["slot-0000", "slot-0001"])
          await (await (await root()).getDirectoryHandle(name)).removeEntry(file);
      await isNew(name);
      expect(await databases(name)).not.toContain(`tidemark-destroyed:${name}`);
    },
  );
});

describe("what a cleared origin leaves", () => {
  it.each([
    ["empty files", { "slot-0000": 0, "slot-0001": 0, "slot-0002": 0 }],
    ["empty files and an empty copy", { "slot-0000": 0, "slot-0001": 0, "slot-0002": 0, "taken/slot-0001.1": 0 }],
    ["copies alone", { "taken/slot-0000.1": 0, "taken/slot-0001.1": 0 }],
    ["one file of another size", { "slot-0000": 0, "slot-0001": 4096, "taken/slot-0000.1": 512 }],
    ["a folder", { "taken/none": 0 }],
    ["files never written", { "slot-0000": SEGMENT_BYTES, "slot-0001": SEGMENT_BYTES, "slot-0002": SEGMENT_BYTES }],
  ])("%s: the next open is a new, empty tide that works", async (_, files) => {
    const name = fresh();
    for (const [file, bytes] of Object.entries(files)) await put(name, file, bytes);
    await isNew(name);
  });

  it("a tide whose catalog is gone while its segments are there is damaged, not new", async () => {
    const name = fresh();
    const tide = await tab(name);
    await tide.topic("t").append({ value: "old" });
    await tide.close();
    const before = await filesOf(name);
    for (const file of ["slot-0000", "slot-0001"]) await put(name, file, 0);
    const refused = await tab(name).then(
      () => undefined,
      (thrown: TidemarkError) => thrown,
    );
    expect([refused?.code, refused?.kind]).toEqual(["CORRUPT_CATALOG", "stop"]);
    expect(await filesOf(name)).toEqual(before);
  });
});
