/**
 * Which engine a tide lives in. An engine that is to hold a new tide must first prove itself: write, flush, close,
 * open again, compare. One that holds this tide already is the only one that is asked: a tide that is in IndexedDB
 * stays there though OPFS works by now, and one that is in OPFS is never shown empty because OPFS fails today.
 *
 *   named engine ──────────────▶ that one; ENGINE_MISMATCH when the tide is in another
 *   auto ── found in OPFS ─────▶ OPFS or NO_STORAGE
 *        ── found in IndexedDB ▶ IndexedDB or NO_STORAGE
 *        ── new ───────────────▶ OPFS, else IndexedDB, else NO_STORAGE; memory only when named
 *
 * OPFS can fail for a while as a whole (Safari: "unknown transient reason"), and then nobody can look into it. So a
 * tide in OPFS leaves a mark where IndexedDB lists its names: an empty database `tidemark-opfs:<name>`.
 */
import { gone } from "../../store/gone.ts";
import type { Volume } from "../../store/volume.ts";
import { findDirectory } from "./opfs-files.ts";
import { refuseOther } from "./same-engine.ts";
import { OpfsVolume } from "./opfs-volume.ts";
import { isNamed } from "../platform/errors.ts";
import { databaseName, databaseNames, leaveMark, markName } from "../platform/names.ts";
import { openProved } from "./engine-self-test.ts";
import { noStorage, type Openers, type Rejected, rejection, type VolumeChoice } from "./engine.ts";

const OPEN: Openers = {
  opfs: (options) => OpfsVolume.open(options),
  indexeddb: async (options) => (await import("./idb-volume.ts")).IdbVolume.open(options),
  memory: async (options) => new (await import("../../store/memory-volume.ts")).MemoryVolume(options),
};

/** Opens the tide's volume. NO_STORAGE with the reasons; ALREADY_OPEN when another worker holds it; ENGINE_MISMATCH. */
export async function openVolume(choice: VolumeChoice): Promise<{ volume: Volume; rejected: readonly Rejected[] }> {
  const { name, engine, known } = choice;
  if (known) return { volume: await OPEN[known.engine]({ ...choice, ...known }), rejected: [] };
  const [names, found] = await Promise.all([
    // undefined: IndexedDB is off, and nothing in it could be reached.
    databaseNames().catch(() => undefined),
    hasSlots(name).catch((thrown: Error) => thrown),
  ]);
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
  if (!home || !names || (engine !== "auto" && engine !== home)) return openProved(choice, home, names, OPEN);
  try {
    // A tide that is there has proved its engine; opening its store writes, flushes and reads back the catalog anyway.
    const volume = await OPEN[home]({
      ...choice,
      durability: names.includes(markName(name, "private")) ? "none" : "device",
    });
    if (inOpfs && !marked) leaveMark(markName(name, "opfs"));
    return { volume, rejected: [] };
  } catch (thrown) {
    throw noStorage(home, [rejection(home, thrown)]);
  }
}

async function hasSlots(name: string): Promise<boolean> {
  for await (const file of (await findDirectory(["tidemark", name], false)).keys())
    if (file.startsWith("slot-")) return true;
  return false;
}
