/**
 * A volume over an image that a test damages: single bits and whole pages are changed under it. It can record which
 * bytes were read. Writes go to copies of the slots, so that one image can be opened any number of times.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Volume, VolumeInfo } from "../../src/store/volume.ts";

export type Image = readonly Uint8Array[];
export const PAGE = 4096;

export class RotVolume implements Volume {
  readonly info: VolumeInfo = { engine: "opfs", durability: "device" };
  readonly slotBytes: number;
  readonly #image: Image;
  readonly #slots: Uint8Array[];
  /** For each slot an array with a 1 for every byte that was read. Only when the test asks for it. */
  readonly touched: Uint8Array[] | undefined;
  /** Called at each flush with the slot's bytes at that time, to collect earlier versions of pages. */
  onFlush: ((slot: number, bytes: Uint8Array) => void) | undefined;

  constructor(slotBytes: number, image: Image, track = false) {
    this.slotBytes = slotBytes;
    this.#image = image;
    this.#slots = [...image];
    this.touched = track ? image.map((slot) => new Uint8Array(slot.length)) : undefined;
  }

  get slotCount(): number {
    return this.#slots.length;
  }
  image(): Image {
    return this.#slots.map((slot) => slot.slice());
  }

  async addSlots(count: number): Promise<void> {
    for (let made = 0; made < count; made++) this.#slots.push(new Uint8Array(this.slotBytes));
  }
  async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    const old = this.#slots[slot]!;
    if (position < 0 || position + bytes.length > this.slotBytes)
      throw new TidemarkError("INTERNAL", "outside the volume", { slot, position });
    if (old === this.#image[slot]) this.#slots[slot] = old.slice();
    this.#slots[slot]!.set(bytes, position);
  }
  async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    const source = this.#slots[slot];
    if (!source || position < 0) throw new TidemarkError("INTERNAL", "outside the volume", { slot, position });
    const count = Math.min(target.length, this.slotBytes - position);
    target.set(source.subarray(position, position + count));
    this.touched?.[slot]?.fill(1, position, position + count);
    return count;
  }
  async prepare(): Promise<void> {}
  async checkAttached(): Promise<boolean> {
    return true;
  }
  async handOver(): Promise<void> {}
  async flush(slots: readonly number[]): Promise<void> {
    if (this.onFlush) for (const slot of slots) this.onFlush(slot, this.#slots[slot]!);
  }
  async close(): Promise<void> {}
}
