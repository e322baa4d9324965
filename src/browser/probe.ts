/**
 * Which engine a tide lives in. An engine that is to hold a new tide must first prove itself: write, flush, close, open
 * again, compare. One that holds this tide already is the only one that is asked: a tide that is in IndexedDB stays there
 * though OPFS works by now, and one that is in OPFS is never shown empty because OPFS fails today.
 *
 *   named engine ──────────────▶ that one; ENGINE_MISMATCH when the tide is in another
 *   auto ── found in OPFS ─────▶ OPFS or NO_STORAGE
 *        ── found in IndexedDB ▶ IndexedDB or NO_STORAGE
 *        ── new ───────────────▶ OPFS, else IndexedDB, else NO_STORAGE; memory only when named
 *
 * OPFS can fail for a while as a whole (Safari: "unknown transient reason"), and then nobody can look into it. So a tide in
 * OPFS leaves a mark where IndexedDB lists its names: an empty database `tidemark-opfs:<name>`.
 */
import { TidemarkError } from "../errors.ts";
import { gone } from "../store/gone.ts";
import type { Engine, Volume, VolumeInfo } from "../store/volume.ts";
import { type DirectoryHandle, findDirectory } from "./opfs.ts";
import { refuseOther } from "./engine.ts";
import { OpfsVolume } from "./opfs-volume.ts";
import { databaseName, isNamed, leaveMark, markName } from "./platform.ts";

export interface VolumeChoice {
  readonly name: string;
  readonly engine: Engine | "auto";
  readonly slotBytes: number;
  /** A leader that hangs may keep files locked (takeover.ts). */
  readonly takeover?: boolean | undefined;
  readonly lifeLock?: string;
  /** It was open before: nothing is made in its place (CLOSED, reason "cleared"). */
  readonly isThere?: boolean | undefined;
  /** Of one that is there, and was found by another tab. */
  readonly known?: { readonly engine: Engine; readonly durability: VolumeInfo["durability"]; readonly directory?: DirectoryHandle };
}

export interface Rejected {
  readonly engine: Engine;
  readonly reason: string;
}

export interface VolumeOptions {
  readonly name: string;
  readonly directory?: DirectoryHandle;
  readonly slotBytes: number;
  readonly durability?: VolumeInfo["durability"];
  readonly takeover?: boolean | undefined;
  /** Of the worker that opens it. */
  readonly lifeLock?: string;
  readonly isThere?: boolean | undefined;
}

export type Openers = { readonly [engine in Engine]: (options: VolumeOptions) => Promise<Volume> };
const OPEN: Openers = {
  opfs: (options) => OpfsVolume.open(options),
  indexeddb: async (options) => (await import("./idb-volume.ts")).IdbVolume.open(options),
  memory: async (options) => new (await import("../store/memory-volume.ts")).MemoryVolume(options),
};

/** Why this engine is refused; throws what no other engine would make better. */
export function rejection(engine: Engine, thrown: unknown): Rejected {
  const error = TidemarkError.from(thrown, "STORAGE_FAILED");
  if (error.code === "ALREADY_OPEN" || error.code === "UNSUPPORTED_FORMAT" || error.code === "CLOSED") throw error;
  return { engine, reason: error.message };
}

export function noStorage(home: Engine | undefined, rejected: readonly Rejected[]): TidemarkError {
  const reasons = rejected.map((each) => `${each.engine}: ${each.reason}`).join("; ");
  return new TidemarkError("NO_STORAGE", `${home ? `this tide is in ${home}, which fails` : "no engine works"}: ${reasons}`, { home });
}

/** Opens the tide's volume. NO_STORAGE with the reasons; ALREADY_OPEN when another worker holds it; ENGINE_MISMATCH. */
export async function openVolume(choice: VolumeChoice): Promise<{ volume: Volume; rejected: readonly Rejected[] }> {
  const { name, engine, known } = choice;
  if (known) return { volume: await OPEN[known.engine]({ ...choice, ...known }), rejected: [] };
  const [names, found] = await Promise.all([databaseNames(), hasSlots(name).catch((thrown: Error) => thrown)]);
  if (names?.includes(markName(name, "destroyed"))) {
    // A tab died over it.
    await (await import("./destroy.ts")).removeTide(name);
    return openVolume(choice);
  }
  const marked = names?.includes(markName(name, "opfs"));
  const inOpfs = found instanceof Error ? marked && !isNamed(found, "NotFoundError") : found;
  const home = inOpfs ? "opfs" : names?.includes(databaseName(name)) ? "indexeddb" : undefined;
  if (home) refuseOther(name, home, engine);
  else if (choice.isThere) throw gone();
  if (!home || !names || (engine !== "auto" && engine !== home)) return (await import("./prove.ts")).openProved(choice, home, names, OPEN);
  try {
    // A tide that is there has proved its engine; opening its store writes, flushes and reads back the catalog anyway.
    const volume = await OPEN[home]({ ...choice, durability: names.includes(markName(name, "private")) ? "none" : "device" });
    if (inOpfs && !marked) leaveMark(markName(name, "opfs"));
    return { volume, rejected: [] };
  } catch (thrown) {
    throw noStorage(home, [rejection(home, thrown)]);
  }
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
