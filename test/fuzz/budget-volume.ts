/** A volume in memory that counts: what loops without end runs out of calls, what takes too much at once is seen. */
import { MemoryVolume } from "../../src/store/memory-volume.ts";
import { Finding } from "./target.ts";

/** Calls that one input may make; no honest one comes near. */
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
