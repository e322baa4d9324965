/**
 * Finds out to which tide a volume belongs when its catalog and its slots, or its two catalogs, disagree. Loaded only
 * then: files were exchanged.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { CATALOG_SLOTS } from "./volume.ts";
import { readRole } from "./slot-read.ts";
import type { Volume } from "./volume.ts";

/** The one of these tides that most slots belong to. CORRUPT_CATALOG if no slot belongs to any of them. */
export async function tideOfSlots(volume: Volume, kernel: Kernel, tides: readonly string[]): Promise<string> {
  const slots = new Map<string, number>();
  for (let slot = CATALOG_SLOTS; slot < volume.slotCount; slot++) {
    const tide = (await readRole(kernel, volume, slot))?.tide ?? "";
    slots.set(tide, (slots.get(tide) ?? 0) + 1);
  }
  const [most] = [...tides].sort((a, b) => (slots.get(b) ?? 0) - (slots.get(a) ?? 0));
  if (!slots.has(most!))
    throw new TidemarkError("CORRUPT_CATALOG", "the catalog is another tide's: no slot here belongs to it", {
      slots: volume.slotCount,
    });
  return most!;
}
