/** Which engine is picked, and that data is never hidden behind another one. */
import { describe, expect, it } from "vitest";
import { open, TidemarkError } from "../../src/browser/index.ts";

const noOpfs = () => new Worker(new URL("./no-opfs-worker.ts", import.meta.url), { type: "module" });
const opfsDown = () => new Worker(new URL("./opfs-down-worker.ts", import.meta.url), { type: "module" });
let names = 0;
const fresh = () => `probe-${Date.now()}-${names++}`;

async function valuesOf(tide: Awaited<ReturnType<typeof open>>): Promise<unknown[]> {
  const values: unknown[] = [];
  for await (const record of tide.topic("t").read()) values.push(record.value);
  return values;
}

describe("the engine", () => {
  it("is OPFS where it works, and the probe leaves nothing behind", async () => {
    const tide = await open(fresh());
    expect([tide.storage.engine, tide.storage.rejected]).toEqual(["opfs", []]);
    await tide.close();
    const directory = (await (await navigator.storage.getDirectory()).getDirectoryHandle("tidemark")) as {
      keys(): AsyncIterable<string>;
    };
    for await (const name of directory.keys()) expect(name.startsWith(".probe")).toBe(false);
    expect((await indexedDB.databases()).filter(({ name }) => name?.includes(".probe"))).toEqual([]);
  });

  it("is IndexedDB where OPFS is missing, says why, and stays there when OPFS comes", async () => {
    const name = fresh();
    let tide = await open(name, { worker: noOpfs });
    expect(tide.storage.engine).toBe("indexeddb");
    expect(tide.storage.rejected.map(({ engine }) => engine)).toEqual(["opfs"]);
    expect(tide.storage.rejected[0]!.reason).toMatch(/createSyncAccessHandle/);
    await tide.topic("t").append({ value: "here" });
    await tide.close();
    tide = await open(name);
    expect(tide.storage.engine).toBe("indexeddb");
    expect(await valuesOf(tide)).toEqual(["here"]);
    await tide.close();
  });

  it("a tide in OPFS is NO_STORAGE when OPFS fails, never an empty one elsewhere", async () => {
    const name = fresh();
    let tide = await open(name);
    await tide.topic("t").append({ value: "here" });
    await tide.close();
    const refused = await open(name, { worker: noOpfs }).catch((thrown: unknown) => thrown);
    expect(refused).toBeInstanceOf(TidemarkError);
    expect((refused as TidemarkError).code).toBe("NO_STORAGE");
    tide = await open(name);
    expect(await valuesOf(tide)).toEqual(["here"]);
    await tide.close();
  });

  it("a tide in OPFS is not taken for a new one while nobody can look into OPFS", async () => {
    const name = fresh();
    let tide = await open(name);
    await tide.topic("t").append({ value: "here" });
    await tide.close();
    const refused = await open(name, { worker: opfsDown }).catch((thrown: unknown) => thrown);
    expect((refused as TidemarkError).code).toBe("NO_STORAGE");
    expect((await indexedDB.databases()).map((database) => database.name)).not.toContain(`tidemark:${name}`);
    tide = await open(name);
    expect(await valuesOf(tide)).toEqual(["here"]);
    await tide.close();
  });

  it("is durable here; a refused directory means a private window, where IndexedDB is not durable", async () => {
    let tide = await open(fresh());
    expect(tide.storage).toMatchObject({ engine: "opfs", durability: "device" });
    await tide.close();
    tide = await open(fresh(), { worker: opfsDown });
    expect(tide.storage).toMatchObject({ engine: "indexeddb", durability: "none" });
    await tide.close();
    const root = (await navigator.storage.getDirectory()) as { keys(): AsyncIterable<string> };
    for await (const name of root.keys()) expect(name, "the question leaves nothing behind").toBe("tidemark");
  });

  it("is what was asked for by name, or NO_STORAGE", async () => {
    const refused = await open(fresh(), { worker: noOpfs, engine: "opfs" }).catch((thrown: unknown) => thrown);
    expect((refused as TidemarkError).code).toBe("NO_STORAGE");
    const tide = await open(fresh(), { worker: noOpfs, engine: "memory" });
    expect(tide.storage).toMatchObject({ engine: "memory", durability: "none" });
    await tide.close();
  });
});
