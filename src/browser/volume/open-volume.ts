/**
 * Chooses the engine of a tide. An engine that shall hold a new tide must first pass a test: write, flush, close, open
 * again, compare. For an existing tide only the engine that holds it is used: a tide in IndexedDB stays there even if
 * OPFS works by now, and a tide in OPFS is never shown empty because OPFS fails today.
 *
 *   named engine ──────────────▶ that one; ENGINE_MISMATCH if the tide is in another
 *   auto ── found in OPFS ─────▶ OPFS or NO_STORAGE
 *        ── found in IndexedDB ▶ IndexedDB or NO_STORAGE
 *        ── new ───────────────▶ OPFS, else IndexedDB, else NO_STORAGE; memory only if named
 *
 * OPFS as a whole can fail for a while (Safari: "unknown transient reason"), and then nobody can see what is in it. So
 * a tide in OPFS leaves a mark where IndexedDB lists its names: an empty database `tidemark-opfs:<name>`.
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
    // Undefined if IndexedDB is off; then nothing in it can be reached.
    databaseNames().catch(() => undefined),
    hasSlots(name).catch((thrown: Error) => thrown),
  ]);
  if (names?.includes(markName(name, "destroyed"))) {
    // A tab died while it removed the tide.
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
    // A tide that exists has shown that its engine works. Opening its store writes, flushes and reads the catalog
    // anyway.
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
