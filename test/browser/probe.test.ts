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

async function namesIn(directory: FileSystemDirectoryHandle): Promise<string[]> {
  const found: string[] = [];
  for await (const name of (directory as typeof directory & { keys(): AsyncIterable<string> }).keys()) found.push(name);
  return found.sort();
}

/**
 * What lies in OPFS itself, and the volumes of probes. A worker of an earlier test that was ended while it asked may
 * have left some.
 */
const rootNames = async (): Promise<string[]> => namesIn(await navigator.storage.getDirectory());
async function probesLeft(): Promise<(string | undefined)[]> {
  const root = await navigator.storage.getDirectory();
  const tides = await namesIn(await root.getDirectoryHandle("tidemark", { create: true }));
  const databases = (await indexedDB.databases()).map(({ name }) => name).sort();
  return [...tides, ...databases].filter((name) => name?.includes(".probe"));
}

describe("the engine", () => {
  it("is OPFS where it works, and the probe leaves nothing behind", async () => {
    const before = await probesLeft();
    const tide = await open(fresh());
    expect([tide.storage.engine, tide.storage.rejected]).toEqual(["opfs", []]);
    await tide.close();
    expect(await probesLeft()).toEqual(before);
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
    const before = await rootNames();
    let tide = await open(fresh());
    expect(tide.storage).toMatchObject({ engine: "opfs", durability: "device" });
    await tide.close();
    tide = await open(fresh(), { worker: opfsDown });
    expect(tide.storage).toMatchObject({ engine: "indexeddb", durability: "none" });
    await tide.close();
    const after = [...new Set(["tidemark", ...before])].sort();
    expect(await rootNames(), "the question leaves nothing behind").toEqual(after);
  });

  it("is what was asked for by name, or NO_STORAGE", async () => {
    const refused = await open(fresh(), { worker: noOpfs, engine: "opfs" }).catch((thrown: unknown) => thrown);
    expect((refused as TidemarkError).code).toBe("NO_STORAGE");
    const tide = await open(fresh(), { worker: noOpfs, engine: "memory" });
    expect(tide.storage).toMatchObject({ engine: "memory", durability: "none" });
    await tide.close();
  });
});
