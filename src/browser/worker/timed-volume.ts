/** A volume that measures the flushes of the one behind it, and is otherwise that one. */
import { TidemarkError } from "../../errors.ts";
import type { Volume, VolumeInfo } from "../../store/volume.ts";
import type { FlushTime } from "../port/envelope.ts";

export class TimedVolume implements Volume {
  readonly #told: (time: FlushTime) => void;

  constructor(
    readonly behind: Volume,
    told: (time: FlushTime) => void,
  ) {
    this.#told = told;
  }

  get info(): VolumeInfo {
    return this.behind.info;
  }
  get slotCount(): number {
    return this.behind.slotCount;
  }
  get slotBytes(): number {
    return this.behind.slotBytes;
  }

  async flush(slots: readonly number[]): Promise<void> {
    const began = performance.now();
    let failed: string | undefined;
    try {
      await this.behind.flush(slots);
    } catch (thrown) {
      failed = TidemarkError.from(thrown, "STORAGE_FAILED").code;
      throw thrown;
    } finally {
      this.#told({ ms: performance.now() - began, failed });
    }
  }

  addSlots(count: number): Promise<void> {
    return this.behind.addSlots(count);
  }
  prepare(slot: number): Promise<void> {
    return this.behind.prepare(slot);
  }
  write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    return this.behind.write(slot, position, bytes);
  }
  read(slot: number, position: number, target: Uint8Array): Promise<number> {
    return this.behind.read(slot, position, target);
  }
  handOver(slots: readonly number[]): Promise<void> {
    return this.behind.handOver(slots);
  }
  checkAttached(): Promise<boolean> {
    return this.behind.checkAttached();
  }
  close(): Promise<void> {
    return this.behind.close();
  }
}
