/** The volume that keeps its slots in memory: the reference implementation, and the engine `memory`. */
import { TidemarkError } from "../errors.ts";
import type { Volume, VolumeInfo } from "./volume.ts";

export interface MemoryVolumeOptions {
  readonly slotBytes: number;
  /** Slots that exist from the start. Default 0. */
  readonly slots?: number | undefined;
  /** More slots than this are QUOTA_EXCEEDED. Default: no limit. */
  readonly slotsMax?: number | undefined;
}

export class MemoryVolume implements Volume {
  readonly info: VolumeInfo = { engine: "memory", durability: "none" };
  readonly slotBytes: number;
  readonly #slotsMax: number;
  /** A slot's bytes are allocated by its first write, so that a large empty pool costs nothing. */
  readonly #slots: (Uint8Array | undefined)[] = [];

  constructor(options: MemoryVolumeOptions) {
    this.slotBytes = options.slotBytes;
    this.#slotsMax = options.slotsMax ?? Infinity;
    for (let slot = 0; slot < (options.slots ?? 0); slot++) this.#slots.push(undefined);
  }

  get slotCount(): number {
    return this.#slots.length;
  }

  async addSlots(count: number): Promise<void> {
    for (let made = 0; made < count; made++) {
      if (this.#slots.length >= this.#slotsMax) {
        throw new TidemarkError("QUOTA_EXCEEDED", "no room for another slot", { slots: this.#slots.length, made });
      }
      this.#slots.push(undefined);
    }
  }

  async prepare(slot: number): Promise<void> {
    this.#check(slot, 0, 0);
  }

  async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.#check(slot, position, bytes.length);
    (this.#slots[slot] ??= new Uint8Array(this.slotBytes)).set(bytes, position);
  }

  async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    this.#check(slot, position, 0);
    const count = Math.min(target.length, this.slotBytes - position);
    const source = this.#slots[slot];
    if (source) target.set(source.subarray(position, position + count));
    else target.fill(0, 0, count);
    return count;
  }

  async handOver(): Promise<void> {}

  async flush(): Promise<void> {}

  async checkAttached(): Promise<boolean> {
    return true;
  }

  async close(): Promise<void> {}

  #check(slot: number, position: number, length: number): void {
    if (slot < 0 || slot >= this.#slots.length || position < 0 || position + length > this.slotBytes) {
      throw new TidemarkError("INTERNAL", "outside the volume", { slot, position, length });
    }
  }
}
