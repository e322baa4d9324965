/**
 * A volume in memory that counts calls and bytes: a loop without end runs out of calls, and too large a read is
 * noticed.
 */
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { Finding } from "./target.ts";

/** How many calls one input may make. No input that ends comes near. */
const CALLS_MAX = 5000;

export class BudgetVolume extends MemoryVolume {
  calls = 0;
  largestRead = 0;

  override async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    this.#spend(`read ${slot} at ${position}, ${target.length} bytes`);
    this.largestRead = Math.max(this.largestRead, target.length);
    if (target.length > this.slotBytes)
      throw new Finding("a read larger than a slot", `${target.length} bytes of slot ${slot}`);
    return super.read(slot, position, target);
  }

  override async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.#spend(`write ${slot} at ${position}, ${bytes.length} bytes`);
    await super.write(slot, position, bytes);
  }

  override async addSlots(count: number): Promise<void> {
    this.#spend(`${count} more slots`);
    await super.addSlots(count);
  }

  #spend(what: string): void {
    if (++this.calls > CALLS_MAX) throw new Finding("a loop without end", what);
  }
}
