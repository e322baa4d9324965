/**
 * A second power cut, while an image is being recovered: it comes at one of the recovery's operations and tears the
 * recovery's own writes.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { Volume, VolumeInfo } from "../../src/store/volume.ts";
import type { Counters } from "../simulation/counters.ts";
import { Disk } from "../simulation/disk.ts";
import { Random } from "../simulation/prng.ts";
import type { Image } from "./images.ts";

/** A volume over a simulated disk whose operations fail after a given number of them. */
class ShortLivedVolume implements Volume {
  readonly info: VolumeInfo = { engine: "opfs", durability: "device" };
  readonly slotBytes: number;
  readonly #disk: Disk;
  #left: number;

  constructor(disk: Disk, operations: number) {
    this.slotBytes = disk.options.slotBytes;
    this.#disk = disk;
    this.#left = operations;
  }

  get slotCount(): number {
    return this.#disk.slotCount;
  }
  get ended(): boolean {
    return this.#left < 0;
  }
  #step(): void {
    if (this.#left-- <= 0) throw new TidemarkError("STORAGE_FAILED", "the power is gone");
  }
  async addSlots(count: number): Promise<void> {
    this.#step();
    for (let made = 0; made < count; made++) this.#disk.addSlot();
  }
  async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.#step();
    this.#disk.write(slot, position, bytes);
  }
  async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    return this.#disk.read(slot, position, target);
  }
  async prepare(): Promise<void> {}
  async checkAttached(): Promise<boolean> {
    return true;
  }
  async handOver(): Promise<void> {}
  async flush(slots: readonly number[]): Promise<void> {
    for (const slot of slots) {
      this.#step();
      this.#disk.flush(slot, false);
    }
  }
  async close(): Promise<void> {}
}

/** The image after the second cut. It is unchanged if the recovery ended before the cut. */
export async function cutAgain(
  kernel: Kernel,
  image: Image,
  slotBytes: number,
  plan: { readonly secondCut: number; readonly seed: number },
  counters: Counters,
): Promise<Image> {
  const disk = new Disk(
    { slotBytes, slotsMax: Infinity, buffered: false, losesNames: false, keepsOlder: false, staleAcrossLives: false },
    counters,
  );
  for (const [slot, bytes] of image.slots.entries()) {
    disk.addSlot();
    if (bytes) disk.write(slot, 0, bytes);
    disk.flush(slot, false);
  }
  const volume = new ShortLivedVolume(disk, plan.secondCut);
  await SegmentStore.open({ volume, kernel, now: () => 1 }).catch((thrown: unknown) => {
    if (!volume.ended) throw thrown;
  });
  if (!volume.ended) return image;
  counters.add("cut.in-recovery");
  disk.powerCut(new Random(plan.seed, 3), []);
  return { ...image, slots: disk.images() };
}
