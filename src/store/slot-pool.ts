/**
 * The free slots of a volume, and its growth.
 *
 *   put(slot) ──▶ free ──▶ take()      used slots first, new ones when none is free
 *                   ▲
 *                   └── grown ahead beside other work, so that a roll seldom waits for a new slot and the slot's file
 *                       name had time to reach the disk
 */
import { TidemarkError } from "../errors.ts";
import type { Volume } from "./volume.ts";

/** Free slots that are kept ready. */
const SPARE_SLOTS = 2;

export class SlotPool {
  readonly #volume: Volume;
  /** False once nothing may be written any more. */
  readonly #mayGrow: () => boolean;
  readonly #free: number[] = [];
  /** Resolves when no slot is being made. Never rejects. */
  #growing: Promise<void> = Promise.resolve();

  constructor(volume: Volume, mayGrow: () => boolean) {
    this.#volume = volume;
    this.#mayGrow = mayGrow;
  }

  put(...slots: readonly number[]): void {
    this.#free.push(...slots);
  }

  /** Makes sure that `count` slots are free. QUOTA_EXCEEDED: as many as possible were made, nothing else changed. */
  async reserve(count: number): Promise<void> {
    await this.#grow(() => count - this.#free.length);
  }

  async take(): Promise<number> {
    await this.reserve(1);
    // Used slots first: their blocks are allocated, which makes writing into them several times faster.
    this.#free.sort((a, b) => a - b);
    const slot = this.#free.shift()!;
    this.growAhead();
    return slot;
  }

  /** Makes slots beside other work. A failure here is ignored: it is met again, and reported, when a slot is needed. */
  growAhead(): void {
    if (this.#mayGrow()) void this.#grow(() => SPARE_SLOTS - this.#free.length).catch(() => undefined);
  }

  /** Resolves when no slot is being made. */
  settled(): Promise<void> {
    return this.#growing;
  }

  /** Makes slots one call at a time, so that each call sees the slots that the one before made. */
  #grow(missing: () => number): Promise<void> {
    const run = this.#growing.then(async () => {
      const count = missing();
      if (count <= 0) return;
      const before = this.#volume.slotCount;
      try {
        await this.#volume.addSlots(count);
      } catch (thrown) {
        throw TidemarkError.from(thrown, "STORAGE_FAILED").with({ slotRefused: true });
      } finally {
        for (let slot = before; slot < this.#volume.slotCount; slot++) this.#free.push(slot);
      }
    });
    this.#growing = run.catch(() => undefined);
    return run;
  }
}
