/**
 * A read-only volume whose slots are objects in object storage, so that the segmented store's own reader can read them:
 *
 *   volume      slot n, position 4,096 + x   ──▶   object of that number, byte x
 *
 * A missing object is CORRUPT_RANGE for its whole segment, never an unnoticed gap. If object storage does not answer
 * the error is STORAGE_FAILED: try again.
 */
import { TidemarkError } from "../../src/errors.ts";
import { corruptRange } from "../../src/record/batch-walk.ts";
import { BODY_AT } from "../../src/store/slot-layout.ts";
import type { Volume } from "../../src/store/volume.ts";
import type { ArchiveEntry } from "./archive-tables.ts";

/** Where an object's bytes come from: R2, or a cache before it. Undefined means that there is no such object. */
export interface ObjectSource {
  range(key: string, offset: number, length: number): Promise<Uint8Array | undefined>;
}

const refuse = (): never => {
  throw new TidemarkError("INTERNAL", "objects are immutable");
};

/** A read-only volume. Slot numbers are assigned as segments are opened. */
export class ObjectVolume implements Volume {
  readonly info = { engine: "memory", durability: "device" } as const;
  readonly slotBytes = Infinity;
  readonly objects = new Map<number, ArchiveEntry>();

  constructor(readonly source: ObjectSource | undefined) {}

  get slotCount(): number {
    return this.objects.size;
  }

  async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    const entry = this.objects.get(slot);
    // The segment was retired meanwhile. A reader checks that before it uses the bytes.
    if (!entry) return target.length;
    const { key, baseOffset, sealed } = entry;
    if (!this.source) throw new TidemarkError("STORAGE_FAILED", "the bucket is not bound", { baseOffset });
    const { source } = this;
    const damaged = (reason: string) => corruptRange({ from: baseOffset, to: sealed.nextOffset, reason });
    const bytes = await source.range(key, position - BODY_AT, target.length).catch(async (thrown: unknown) => {
      // A range behind the object's end is refused as well; then the object is shorter than the one that was put.
      const answers = await source.range(key, 0, 1).catch(() => undefined);
      throw answers
        ? damaged("OTHER_OBJECT")
        : new TidemarkError("STORAGE_FAILED", "object storage did not answer", { baseOffset }, { cause: thrown });
    });
    if (!bytes) throw damaged("OBJECT_MISSING");
    if (bytes.length < target.length) throw damaged("OTHER_OBJECT");
    target.set(bytes.subarray(0, target.length));
    return target.length;
  }

  addSlots = refuse;
  prepare = refuse;
  write = refuse;
  handOver = refuse;
  flush = refuse;
  checkAttached = async (): Promise<boolean> => true;
  close = refuse;
}
