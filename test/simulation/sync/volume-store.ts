/**
 * The real storage of a synced topic, over a volume in memory whose every operation takes time, so that a crash comes
 * between any two of them. What is on the image outlives it; a copy is the image at one moment.
 */
import { SegmentStore } from "../../../src/store/segment-store.ts";
import type { Volume, VolumeInfo } from "../../../src/store/volume.ts";
import { withDefaults } from "../../../src/log/limits.ts";
import { becomeSynced } from "../../../src/sync/become-synced.ts";
import { SyncedLog } from "../../../src/sync/synced-log.ts";
import { TopicStorage } from "../../../src/sync/topic-storage.ts";
import { kernel } from "../../unit/outbox-edge.ts";
import type { OpenTopic, SimDisk, SimStore } from "./storages.ts";

// What the storage loads on demand is there from the start: loading takes time that is not the simulation's.
await Promise.all([
  import("../../../src/log/remembering.ts"),
  import("../../../src/log/upkeep.ts"),
  import("../../../src/store/check-catalog.ts"),
  import("../../../src/store/examine.ts"),
  import("../../../src/store/hops.ts"),
  import("../../../src/store/recover-log.ts"),
  import("../../../src/store/roll.ts"),
  import("../../../src/store/sections.ts"),
  import("../../../src/store/slot-read.ts"),
  import("../../../src/store/trim-and-replace.ts"),
  import("../../../src/store/whose-catalog.ts"),
]);

const SLOT_BYTES = 64 * 1024;
const TOPIC = "t";

class SlowVolume implements Volume {
  readonly info: VolumeInfo = { engine: "memory", durability: "none" };
  readonly slotBytes = SLOT_BYTES;
  isDead = false;

  constructor(
    readonly slots: Uint8Array[],
    readonly pause: () => Promise<void>,
  ) {}

  /** A crash comes before an operation, or not at all. */
  async #do<T>(work: () => T): Promise<T> {
    await this.pause();
    if (this.isDead) await new Promise<never>(() => undefined);
    return work();
  }

  get slotCount(): number {
    return this.slots.length;
  }
  addSlots(count: number): Promise<void> {
    return this.#do(() => {
      for (let i = 0; i < count; i++) this.slots.push(new Uint8Array(SLOT_BYTES));
    });
  }
  prepare(): Promise<void> {
    return this.#do(() => undefined);
  }
  write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    const copy = bytes.slice();
    return this.#do(() => this.slots[slot]!.set(copy, position));
  }
  read(slot: number, position: number, target: Uint8Array): Promise<number> {
    return this.#do(() => {
      const count = Math.min(target.length, SLOT_BYTES - position);
      target.set(this.slots[slot]!.subarray(position, position + count));
      return count;
    });
  }
  handOver(): Promise<void> {
    return this.#do(() => undefined);
  }
  flush(): Promise<void> {
    return this.#do(() => undefined);
  }
  async checkAttached(): Promise<boolean> {
    return true;
  }
  async close(): Promise<void> {}
}

export class VolumeDisk implements SimDisk {
  constructor(readonly slots: Uint8Array[] = []) {}

  copy(): VolumeDisk {
    return new VolumeDisk(this.slots.map((slot) => slot.slice()));
  }

  async open({ newId, pause, now }: OpenTopic): Promise<SimStore> {
    const volume = new SlowVolume(this.slots, pause);
    const breathe = (): Promise<void> => Promise.resolve();
    const clock = { now };
    const store = await SegmentStore.open({ volume, kernel, now, newId: () => "sim", breathe });
    await becomeSynced({ topic: TOPIC, store, url: "http://edge", path: TOPIC, newOutboxId: newId });
    const topic = await TopicStorage.open({ topic: TOPIC, store, kernel, clock, newOutboxId: newId, breathe });
    const log = new SyncedLog({ storage: topic, kernel, clock, settings: () => withDefaults({}), breathe });
    return {
      store: topic,
      term: store.epoch,
      append: async (batch) => void (await log.append(batch, { fromZero: true })),
      async shown() {
        const { bytes, committedBytes } = await log.changes({
          committed: topic.base ?? 0,
          provisional: 0,
          maxBytes: Number.MAX_SAFE_INTEGER,
        });
        return { committed: bytes.subarray(0, committedBytes), provisional: bytes.subarray(committedBytes) };
      },
      kill: () => (volume.isDead = true),
    };
  }
}
