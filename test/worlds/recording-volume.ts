/**
 * A volume in memory that records, after each call, what a crash at that moment could leave: the bytes that were
 * flushed and the writes that were not.
 *
 *   write ──► pending, in order ──flush of the slot──► durable
 *              └ read shows them
 *
 * Durable slots are never changed in place, so a moment is a list of references. The same class also serves as the disk
 * that a crash left: it is opened on an image, and copies a slot when it first writes to it.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Volume, VolumeInfo } from "../../src/store/volume.ts";

export interface PendingWrite {
  readonly slot: number;
  readonly position: number;
  readonly bytes: Uint8Array;
}

/** One array for each slot. The arrays of an image are never changed. */
export type Image = readonly Uint8Array[];

export interface Moment {
  /** The call that has just returned, for example "write", "flush" or "grow". */
  readonly call: string;
  readonly durable: Image;
  readonly pending: readonly PendingWrite[];
}

export class RecordingVolume implements Volume {
  readonly info: VolumeInfo = { engine: "opfs", durability: "device" };
  readonly slotBytes: number;
  readonly #blank: Uint8Array;
  #durable: Uint8Array[];
  #cache: Uint8Array[];
  #pending: readonly PendingWrite[] = [];
  /** While this is set, each call adds a moment to it. */
  moments: Moment[] | undefined;

  constructor(slotBytes: number, image: Image = []) {
    this.slotBytes = slotBytes;
    this.#blank = new Uint8Array(slotBytes);
    this.#durable = [...image];
    this.#cache = [...image];
  }

  get slotCount(): number {
    return this.#cache.length;
  }

  /** `afterKill`: the bytes after a kill of the process. `afterPowerCut`: those without all unflushed writes. */
  get afterKill(): Image {
    return this.#cache.slice();
  }
  get afterPowerCut(): Image {
    return this.#durable.slice();
  }
  now(call: string): Moment {
    return { call, durable: this.#durable.slice(), pending: this.#pending };
  }

  #called(call: string): void {
    this.moments?.push(this.now(call));
  }

  async addSlots(count: number): Promise<void> {
    for (let made = 0; made < count; made++) {
      this.#durable.push(this.#blank);
      this.#cache.push(this.#blank);
      this.#called("grow");
    }
  }

  async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    const old = this.#cache[slot];
    if (!old || position < 0 || position + bytes.length > this.slotBytes)
      throw new TidemarkError("INTERNAL", "outside the volume", { slot, position });
    const changed = old === this.#durable[slot] ? old.slice() : old;
    changed.set(bytes, position);
    this.#cache[slot] = changed;
    this.#pending = [...this.#pending, { slot, position, bytes: bytes.slice() }];
    this.#called("write");
  }

  async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    const source = this.#cache[slot];
    if (!source || position < 0) throw new TidemarkError("INTERNAL", "outside the volume", { slot, position });
    const count = Math.min(target.length, this.slotBytes - position);
    target.set(source.subarray(position, position + count));
    return count;
  }

  async prepare(): Promise<void> {}
  async checkAttached(): Promise<boolean> {
    return true;
  }
  async handOver(): Promise<void> {}

  async flush(slots: readonly number[]): Promise<void> {
    for (const slot of slots) this.#durable[slot] = this.#cache[slot]!;
    this.#pending = this.#pending.filter(({ slot }) => !slots.includes(slot));
    this.#called("flush");
  }

  async close(): Promise<void> {}
}
