/**
 * A device's disk, and a volume over it. Every operation of the volume takes time, so that a crash comes between any
 * two of them.
 *
 *   opened-topic.ts ─▶ SegmentStore ─▶ SimVolume ─(pause)─▶ Disk: cache ──flush──▶ durable
 *                                                             │        power lost: what was not flushed is
 *                                                             │        kept, dropped, torn or garbled
 *                                                             └ process killed: the cache stays
 */
import { TidemarkError } from "../../../src/errors.ts";
import { readHeader } from "../../../src/record/format.ts";
import type { Volume, VolumeInfo } from "../../../src/store/volume.ts";
import { Counters } from "../counters.ts";
import { Disk, type DiskOptions, type InflightWrite } from "../disk.ts";
import type { Random } from "../prng.ts";

/** A log writes offset and epoch into a batch's first bytes. */
const STAMPED_BYTES = 16;
const SLOT_BYTES = 16 * 1024;

/** What outlives a crash. */
export class SimDisk {
  readonly disk: Disk;
  /** A full disk has no room for another slot. */
  isFull = false;
  /** The process ends before the next operation but so many, or just when that one is done. */
  trap: { left: number; readonly spring: () => void; readonly isBehind?: true } | undefined;
  /** From the next write but so many on, each is refused: there is no room, until this is undefined again. */
  refusesIn: number | undefined;
  /** What was refused, by the volume's own words. */
  readonly refused: string[] = [];
  readonly #durable = new Set<number>();

  constructor(disk: Disk) {
    this.disk = disk;
  }

  static made(random: Random): SimDisk {
    const options: DiskOptions = {
      slotBytes: SLOT_BYTES,
      slotsMax: 4096,
      // As IndexedDB does: what was not handed over ends with the process.
      buffered: random.chance(0.3),
      losesNames: false,
      keepsOlder: false,
      staleAcrossLives: false,
    };
    return new SimDisk(new Disk(options, new Counters()));
  }

  /** True if these bytes, but for what a log stamps, are on the disk even when power is lost. */
  isDurable(batch: Uint8Array): boolean {
    const { crc } = readHeader(batch);
    if (this.#durable.has(crc)) return true;
    if (!this.disk.holds(batch.subarray(STAMPED_BYTES))) return false;
    this.#durable.add(crc);
    return true;
  }

  /** As a copy of the files, made while they are written. */
  copy(): SimDisk {
    return new SimDisk(this.disk.copy(new Counters()));
  }
}

export class SimVolume implements Volume {
  readonly info: VolumeInfo;
  readonly slotBytes = SLOT_BYTES;
  readonly inflight = new Set<InflightWrite>();
  isDead = false;
  readonly #sim: SimDisk;
  readonly #pause: () => Promise<void> | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(sim: SimDisk, pause: () => Promise<void> | undefined) {
    this.#sim = sim;
    this.#pause = pause;
    this.info = { engine: sim.disk.options.buffered ? "indexeddb" : "opfs", durability: "device" };
  }

  /**
   * One operation after the other. A crash comes before an operation, or when it is done and nobody has heard of that.
   * Only a write can be cut off in the middle.
   */
  #do<T>(work: () => T): Promise<T> {
    const done = this.#last.then(async () => {
      await this.#pause();
      const { trap } = this.#sim;
      const isDue = trap !== undefined && !this.isDead && --trap.left < 0;
      if (isDue) this.#sim.trap = undefined;
      if (isDue && !trap.isBehind) trap.spring();
      if (this.isDead) await new Promise<never>(() => undefined);
      const found = work();
      if (isDue && trap.isBehind) trap.spring();
      if (this.isDead) await new Promise<never>(() => undefined);
      return found;
    });
    this.#last = done.catch(() => undefined);
    return done;
  }

  /** A copy-on-write file system needs room for each write, not for slots alone. */
  #takeRoom(what: string): void {
    const sim = this.#sim;
    if (sim.refusesIn === undefined || --sim.refusesIn >= 0) return;
    sim.refused.push(what);
    throw new TidemarkError("QUOTA_EXCEEDED", `no room: ${what}`, { made: 0 });
  }

  get slotCount(): number {
    return this.#sim.disk.slotCount;
  }
  addSlots(count: number): Promise<void> {
    return this.#do(() => {
      this.#takeRoom("addSlots");
      for (let made = 0; made < count; made++)
        if (this.#sim.isFull || !this.#sim.disk.addSlot())
          throw new TidemarkError("QUOTA_EXCEEDED", "no room for another slot", { made });
    });
  }
  prepare(): Promise<void> {
    return this.#do(() => this.#takeRoom("prepare"));
  }
  write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    const inflight = { slot, position, bytes: bytes.slice() };
    this.inflight.add(inflight);
    return this.#do(() => {
      this.inflight.delete(inflight);
      this.#takeRoom("write");
      this.#sim.disk.write(slot, position, inflight.bytes);
    });
  }
  read(slot: number, position: number, target: Uint8Array): Promise<number> {
    return this.#do(() => this.#sim.disk.read(slot, position, target));
  }
  handOver(slots: readonly number[]): Promise<void> {
    return this.#do(() => {
      this.#takeRoom("handOver");
      slots.forEach((slot) => this.#sim.disk.handOver(slot));
    });
  }
  flush(slots: readonly number[]): Promise<void> {
    return this.#do(() => {
      this.#takeRoom("flush");
      slots.forEach((slot) => this.#sim.disk.flush(slot, false));
    });
  }
  async checkAttached(): Promise<boolean> {
    return true;
  }
  async close(): Promise<void> {}
}
