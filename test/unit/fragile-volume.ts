/** A volume whose operations fail from a chosen one on, for tests that try every one of them. */
import { TidemarkError } from "../../src/errors.ts";
import { MemoryVolume } from "../../src/store/memory-volume.ts";

/** A memory volume whose operations fail from a chosen one on, and which can show its content after a power cut. */
export class FragileVolume extends MemoryVolume {
  /** How many operations still succeed. */
  left = Infinity;
  operations = 0;
  #pending: { slot: number; position: number; bytes: Uint8Array }[] = [];

  #step(): void {
    this.operations++;
    if (this.left-- <= 0) throw new TidemarkError("STORAGE_FAILED", "the volume is dead");
  }
  override async addSlots(count: number): Promise<void> {
    this.#step();
    await super.addSlots(count);
  }
  override async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.#step();
    this.#pending.push({ slot, position, bytes: bytes.slice() });
    await super.write(slot, position, bytes);
  }
  override async flush(slots: readonly number[] = []): Promise<void> {
    this.#step();
    for (const pending of this.#pending) if (slots.includes(pending.slot)) this.#log.push(pending);
    this.#pending = this.#pending.filter(({ slot }) => !slots.includes(slot));
  }
  readonly #log: { slot: number; position: number; bytes: Uint8Array }[] = [];

  /** The volume after a power cut that drops every write since its slot's last flush. */
  async afterPowerCut(): Promise<MemoryVolume> {
    const volume = new MemoryVolume({ slotBytes: this.slotBytes, slots: this.slotCount });
    for (const { slot, position, bytes } of this.#log) await volume.write(slot, position, bytes);
    return volume;
  }
}
