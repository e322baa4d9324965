/**
 * The volume of one life, over the disk. Its operations wait for the scheduler and fail when they are told to. It ends
 * with the life; operations without an answer never get one.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Volume, VolumeInfo } from "../../src/store/volume.ts";
import type { Counters } from "./counters.ts";
import type { Disk, InflightWrite } from "./disk.ts";
import type { Random } from "./prng.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Trace } from "./trace.ts";

export type FaultKind =
  "write-refused" | "write-short" | "write-quota" | "flush-failed" | "slots-refused" | "read-failed" | "read-stale";

export interface VolumeParts {
  readonly disk: Disk;
  readonly scheduler: Scheduler;
  readonly counters: Counters;
  readonly trace: Trace;
  readonly random: Random;
  /** With this switch a failed flush may forget its writes. */
  readonly flushForgets: boolean;
}

export class FaultyVolume implements Volume {
  readonly info: VolumeInfo;
  readonly slotBytes: number;
  readonly #parts: VolumeParts;
  /** Armed faults: how many operations of the kind still succeed before the fault strikes. */
  readonly #armed = new Map<FaultKind, number>();
  readonly #inflight = new Set<InflightWrite>();
  /** True once a write, flush or growth failed in this life: later answers may be errors. */
  failed = false;
  /** True once a read lied or failed in this life. */
  readFailed = false;
  /** True once a slot was refused in this life. */
  slotsRefused = false;
  closed = false;

  constructor(parts: VolumeParts) {
    this.#parts = parts;
    this.slotBytes = parts.disk.options.slotBytes;
    this.info = { engine: parts.disk.options.buffered ? "indexeddb" : "opfs", durability: "device" };
  }

  arm(kind: FaultKind, after: number): void {
    this.#armed.set(kind, after);
  }

  disarmReads(): void {
    this.#armed.delete("read-failed");
    this.#armed.delete("read-stale");
  }

  get slotCount(): number {
    return this.#parts.disk.slotCount;
  }

  get inflight(): readonly InflightWrite[] {
    return [...this.#inflight];
  }

  addSlots(count: number): Promise<void> {
    const { disk, scheduler, trace, random } = this.#parts;
    return scheduler.submit(-1, "grow", () => {
      const refused = this.#fires("slots-refused") ? random.int(count) : count;
      for (let made = 0; made < count; made++) {
        if (made >= refused || !disk.addSlot()) {
          trace.add("grow-refused", count, made);
          this.slotsRefused = true;
          throw new TidemarkError("QUOTA_EXCEEDED", "no room for another slot", { made });
        }
      }
      trace.add("grow", count);
    });
  }

  write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    const { disk, scheduler, trace, random } = this.#parts;
    if (!(slot >= 0 && slot < disk.slotCount && position >= 0 && position + bytes.length <= this.slotBytes)) {
      return Promise.reject(
        new TidemarkError("INTERNAL", "a write outside the volume", { slot, position, length: bytes.length }),
      );
    }
    const inflight = { slot, position, bytes };
    this.#inflight.add(inflight);
    return scheduler.submit(slot, "write", () => {
      this.#inflight.delete(inflight);
      trace.add("write", slot, position, bytes.length, bytes[0] ?? 0, bytes[bytes.length - 1] ?? 0);
      if (this.#fires("write-refused")) throw this.#fail(new TidemarkError("STORAGE_FAILED", "the write was refused"));
      if (this.#fires("write-quota")) {
        disk.write(slot, position, bytes.subarray(0, random.int(bytes.length)));
        throw this.#fail(new TidemarkError("QUOTA_EXCEEDED", "the disk is full inside a slot"));
      }
      if (this.#fires("write-short")) {
        disk.write(slot, position, bytes.subarray(0, random.int(bytes.length)));
        throw this.#fail(new TidemarkError("STORAGE_FAILED", "the write was short"));
      }
      disk.write(slot, position, bytes);
    });
  }

  read(slot: number, position: number, target: Uint8Array): Promise<number> {
    const { disk, scheduler, counters, trace, random } = this.#parts;
    if (!(slot >= 0 && slot < disk.slotCount && position >= 0)) {
      return Promise.reject(new TidemarkError("INTERNAL", "a read outside the volume", { slot, position }));
    }
    return scheduler.submit(undefined, "read", () => {
      trace.add("read", slot, position, target.length);
      if (this.#fires("read-failed")) {
        this.readFailed = true;
        throw new TidemarkError("STORAGE_FAILED", "the read failed");
      }
      const count = disk.read(slot, position, target);
      if (this.#due("read-stale") && disk.makeStale(slot, position, target.subarray(0, count), random)) {
        this.#armed.delete("read-stale");
        this.readFailed = true;
        counters.add("fault.read-stale");
        trace.add("stale");
      }
      return count;
    });
  }

  async prepare(): Promise<void> {}

  async checkAttached(): Promise<boolean> {
    return true;
  }

  async handOver(slots: readonly number[]): Promise<void> {
    const { disk, scheduler, trace } = this.#parts;
    await Promise.all(
      slots.map((slot) =>
        scheduler.submit(slot, "hand-over", () => {
          trace.add("hand-over", slot);
          disk.handOver(slot);
        }),
      ),
    );
  }

  async flush(slots: readonly number[]): Promise<void> {
    const { disk, scheduler, trace, random, flushForgets } = this.#parts;
    const flushed = slots.map((slot) =>
      scheduler.submit(slot, "flush", () => {
        trace.add("flush", slot);
        if (disk.hasPending(slot) && this.#fires("flush-failed")) {
          disk.failFlush(slot, random, flushForgets);
          throw this.#fail(new TidemarkError("STORAGE_FAILED", "the flush failed"));
        }
        disk.flush(slot, random.chance(0.3));
      }),
    );
    const results = await Promise.allSettled(flushed);
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  close(): Promise<void> {
    return this.#parts.scheduler.submit(-1, "close", () => {
      this.closed = true;
      this.#parts.trace.add("close");
    });
  }

  #due(kind: FaultKind): boolean {
    const left = this.#armed.get(kind);
    if (left === undefined) return false;
    if (left > 0) this.#armed.set(kind, left - 1);
    return left <= 0;
  }

  #fires(kind: FaultKind): boolean {
    if (!this.#due(kind)) return false;
    this.#armed.delete(kind);
    this.#parts.counters.add(`fault.${kind}`);
    this.#parts.trace.add(kind);
    if (kind !== "read-failed" && kind !== "slots-refused") this.failed = true;
    return true;
  }

  #fail(error: TidemarkError): TidemarkError {
    this.failed = true;
    return error;
  }
}
