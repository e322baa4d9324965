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
 * OPFS can fail for a while as a whole (Safari: "unknown transient reason"), and then nobody can look into it. So a tide in
 * OPFS leaves a mark where IndexedDB lists its names: an empty database `tidemark-opfs:<name>`.
 */
import { TidemarkError } from "../errors.ts";
import type { Engine, Volume, VolumeInfo } from "../store/volume.ts";
import { findDirectory } from "./opfs.ts";
import { OpfsVolume } from "./opfs-volume.ts";
import { databaseName, isNamed, markName } from "./platform.ts";

export interface VolumeChoice {
  readonly name: string;
  readonly engine: Engine | "auto";
  readonly slotBytes: number;
}

export interface Rejected {
  readonly engine: Engine;
  readonly reason: string;
}

export interface VolumeOptions {
  readonly name: string;
  readonly slotBytes: number;
  readonly durability?: VolumeInfo["durability"];
}

const OPEN: { readonly [engine in Engine]: (options: VolumeOptions) => Promise<Volume> } = {
  opfs: (options) => OpfsVolume.open(options),
  indexeddb: async (options) => (await import("./idb-volume.ts")).IdbVolume.open(options),
  memory: async (options) => new (await import("../store/memory-volume.ts")).MemoryVolume(options),
};

/** Opens the tide's volume. NO_STORAGE with the reasons; ALREADY_OPEN when another worker holds it. */
export async function openVolume({ name, engine, slotBytes }: VolumeChoice): Promise<{ volume: Volume; rejected: readonly Rejected[] }> {
  const rejected: Rejected[] = [];
  const names = await databaseNames();
  const marked = names?.includes(markName(name, "opfs"));
  const inOpfs = await hasSlots(name).catch((thrown: unknown) => marked && !isNamed(thrown, "NotFoundError"));
  const home = inOpfs ? "opfs" : names?.includes(databaseName(name)) ? "indexeddb" : undefined;
  const candidates: readonly Engine[] = engine !== "auto" ? [engine] : home ? [home] : ["opfs", "indexeddb"];
  // Looked at once, when the tide is made, or where no mark can say it.
  const asked = (!home || !names) && engine !== "memory" && (await (await import("./prove.ts")).isPrivate());
  const durability = asked || names?.includes(markName(name, "private")) ? "none" : "device";
  for (const candidate of candidates) {
    try {
      // A tide that is there has proved its engine; opening its store writes, flushes and reads back the catalog anyway.
      if (candidate !== home && candidate !== "memory") await (await import("./prove.ts")).prove(candidate, OPEN[candidate]);
      const volume = await OPEN[candidate]({ name, slotBytes, durability });
      // Not awaited: they are for the next open, and nothing here depends on them.
      if (candidate === "opfs" && !marked) leaveMark(markName(name, "opfs"));
      if (asked) leaveMark(markName(name, "private"));
      return { volume, rejected };
    } catch (thrown) {
      const error = TidemarkError.from(thrown, "STORAGE_FAILED");
      if (error.code === "ALREADY_OPEN" || error.code === "UNSUPPORTED_FORMAT") throw error;
      rejected.push({ engine: candidate, reason: error.message });
    }
  }
  const reasons = rejected.map((each) => `${each.engine}: ${each.reason}`).join("; ");
  throw new TidemarkError("NO_STORAGE", `${home ? `this tide is in ${home}, which fails` : "no engine works"}: ${reasons}`, { home });
}

function leaveMark(mark: string): void {
  const request = indexedDB.open(mark);
  request.onsuccess = () => request.result.close();
}

async function hasSlots(name: string): Promise<boolean> {
  for await (const file of (await findDirectory(["tidemark", name], false)).keys()) if (file.startsWith("slot-")) return true;
  return false;
}

/** undefined: IndexedDB is off, and nothing in it could be reached. */
const databaseNames = async (): Promise<unknown[] | undefined> => {
  try {
    return (await indexedDB.databases()).map((database) => database.name);
  } catch {
    return undefined;
  }
};
