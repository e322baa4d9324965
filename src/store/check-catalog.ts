/** Compares a volume's slots with its catalog before the catalog is used. */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import type { CatalogState } from "./catalog.ts";
import { CATALOG_SLOTS } from "./volume.ts";
import { readRole } from "./slot-read.ts";
import type { Volume } from "./volume.ts";

/** If the catalog is blank but slots hold segments, the catalog was lost. The volume must not be formatted then. */
export async function refuseLostCatalog(volume: Volume, kernel: Kernel): Promise<void> {
  for (let slot = CATALOG_SLOTS; slot < volume.slotCount; slot++) {
    const log = (await readRole(kernel, volume, slot))?.log;
    if (log !== undefined)
      throw new TidemarkError("CORRUPT_CATALOG", "slots hold segments but the catalog is gone", { slot, log });
  }
}

/**
 * Both copies may have come from another tide. One slot is checked, and all of them if that one belongs to another
 * tide.
 */
export async function refuseForeignCatalog(volume: Volume, kernel: Kernel, { id, logs }: CatalogState): Promise<void> {
  const slot = logs[0]?.segments.at(-1)?.slot ?? volume.slotCount;
  const tide = id !== undefined && slot < volume.slotCount ? (await readRole(kernel, volume, slot))?.tide : "";
  if (tide && tide !== id) await (await import("./whose-catalog.ts")).tideOfSlots(volume, kernel, [id!]);
}
