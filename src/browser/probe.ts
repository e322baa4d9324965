/**
 * Which engine a tide lives in. An engine that is to hold a new tide must first prove itself: write, flush, close, open
 * again, compare. One that holds this tide already is the only one that is asked: a tide that is in IndexedDB stays there
 * though OPFS works by now, and one that is in OPFS is never shown empty because OPFS fails today.
 *
 *   named engine ──────────────▶ that one
 *   auto ── found in OPFS ─────▶ OPFS or NO_STORAGE
 *        ── found in IndexedDB ▶ IndexedDB or NO_STORAGE
 *        ── new ───────────────▶ OPFS, else IndexedDB, else NO_STORAGE; memory only when named
 *
 * No engine tells whether it is private browsing: there OPFS (Chromium) and IndexedDB (Firefox) work, in memory, and their
 * flush is nothing. `durability` can't know that; docs/failure-modes.md says so.
 */
import { TidemarkError } from "../errors.ts";
import { MemoryVolume } from "../store/memory-volume.ts";
import { type Engine, readExactly, type Volume } from "../store/volume.ts";
import { databaseName } from "./idb-connection.ts";
import { IdbVolume } from "./idb-volume.ts";
import { findDirectory } from "./opfs.ts";
import { OpfsVolume } from "./opfs-volume.ts";

export interface VolumeChoice {
  readonly name: string;
  readonly engine: Engine | "auto";
  readonly slotBytes: number;
}

export interface Rejected {
  readonly engine: Engine;
  readonly reason: string;
}

const PROBE_SLOT_BYTES = 64 * 1024;

const OPEN: { readonly [engine in Engine]: (options: { name: string; slotBytes: number }) => Promise<Volume> } = {
  opfs: (options) => OpfsVolume.open(options),
  indexeddb: (options) => IdbVolume.open(options),
  memory: async (options) => new MemoryVolume(options),
};

const FOUND: { readonly [engine in Engine]: (name: string) => Promise<boolean> } = {
  async opfs(name) {
    const directory = await findDirectory(["tidemark", name], false);
    for await (const file of directory.keys()) if (file.startsWith("slot-")) return true;
    return false;
  },
  async indexeddb(name) {
    return (await indexedDB.databases()).some((database) => database.name === databaseName(name));
  },
  memory: async () => false,
};

const REMOVE: { readonly [engine in Engine]: (name: string) => Promise<void> } = {
  async opfs(name) {
    await (await findDirectory(["tidemark"], false)).removeEntry(name, { recursive: true });
  },
  indexeddb: (name) =>
    new Promise((resolve) => {
      const request = indexedDB.deleteDatabase(databaseName(name));
      request.onsuccess = request.onerror = request.onblocked = () => resolve();
    }),
  memory: async () => undefined,
};

/** Opens the tide's volume. NO_STORAGE with the reasons; ALREADY_OPEN when another worker holds it. */
export async function openVolume({ name, engine, slotBytes }: VolumeChoice): Promise<{ volume: Volume; rejected: readonly Rejected[] }> {
  const rejected: Rejected[] = [];
  const home = await homeOf(name);
  const candidates: readonly Engine[] = engine !== "auto" ? [engine] : home ? [home] : ["opfs", "indexeddb"];
  for (const candidate of candidates) {
    try {
      // A tide that is there has proved its engine; opening its store writes, flushes and reads back the catalog anyway.
      if (candidate !== home && candidate !== "memory") await prove(candidate);
      return { volume: await OPEN[candidate]({ name, slotBytes }), rejected };
    } catch (thrown) {
      const error = TidemarkError.from(thrown, "STORAGE_FAILED");
      if (error.code === "ALREADY_OPEN" || error.code === "UNSUPPORTED_FORMAT") throw error;
      rejected.push({ engine: candidate, reason: error.message });
    }
  }
  const reasons = rejected.map((each) => `${each.engine}: ${each.reason}`).join("; ");
  throw new TidemarkError("NO_STORAGE", `${home ? `this tide is in ${home}, which fails` : "no engine works"}: ${reasons}`, { home });
}

/** Where this tide is already. An engine that can't even be asked holds nothing that we could reach. */
async function homeOf(name: string): Promise<Engine | undefined> {
  for (const engine of ["opfs", "indexeddb"] as const) if (await FOUND[engine](name).catch(() => false)) return engine;
  return undefined;
}

/** Writes, flushes, closes, opens again and compares, in a volume of its own that is gone afterwards. */
async function prove(engine: Engine): Promise<void> {
  const name = `.probe-${crypto.randomUUID()}`;
  const options = { name, slotBytes: PROBE_SLOT_BYTES };
  const written = crypto.getRandomValues(new Uint8Array(1000));
  let volume: Volume | undefined;
  try {
    volume = await OPEN[engine](options);
    await volume.addSlots(1);
    await volume.write(0, 4000, written);
    await volume.flush([0]);
    await volume.close();
    volume = await OPEN[engine](options);
    const read = await readExactly(volume, 0, 4000, written.length);
    if (!read.every((byte, at) => byte === written[at])) throw new TidemarkError("STORAGE_FAILED", "other bytes came back");
  } finally {
    await volume?.close().catch(() => undefined);
    await REMOVE[engine](name).catch(() => undefined);
  }
}
