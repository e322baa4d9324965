/**
 * A device's disk, and the real storage of a synced topic over it. Every operation of its volume takes time, so that a
 * crash comes between any two of them.
 *
 *   TopicStorage, SyncedLog ─▶ SegmentStore ─▶ SimVolume ─(pause)─▶ Disk: cache ──flush──▶ durable
 *                                                                     │        power lost: what was not flushed is
 *                                                                     │        kept, dropped, torn or garbled
 *                                                                     └ process killed: the cache stays
 */
import { TidemarkError } from "../../../src/errors.ts";
import type { SegmentStore as Store } from "../../../src/store/segment-store.ts";
import { SegmentStore } from "../../../src/store/segment-store.ts";
import type { Volume, VolumeInfo } from "../../../src/store/volume.ts";
import { Log } from "../../../src/log/log.ts";
import { withDefaults } from "../../../src/log/limits.ts";
import { becomeSynced } from "../../../src/sync/become-synced.ts";
import { keptTopic, replicaName } from "../../../src/sync/log-names.ts";
import { isOwn } from "../../../src/sync/offer-again.ts";
import type { HealingSource } from "../../../src/sync/healing.ts";
import { renew } from "../../../src/sync/renewing.ts";
import { restart } from "../../../src/sync/stop-syncing.ts";
import { setAside } from "../../../src/sync/set-aside.ts";
import type { Range } from "../../../src/sync/topic-store.ts";
import { namesIn } from "./records.ts";
import { SyncedLog } from "../../../src/sync/synced-log.ts";
import { TopicStorage } from "../../../src/sync/topic-storage.ts";
import { readHeader } from "../../../src/record/format.ts";
import { splitBatches } from "../../../src/record/record-batch.ts";
import { kernel } from "../../unit/outbox-edge.ts";
import { concat } from "../../../src/record/bytes.ts";
import { Counters } from "../counters.ts";
import { Disk, type DiskOptions, type InflightWrite } from "../disk.ts";
import type { Random } from "../prng.ts";

// What the storage loads on demand is there from the start: loading takes time that is not the simulation's.
await Promise.all([
  import("../../../src/log/remembering.ts"),
  import("../../../src/sync/claim-look.ts"),
  import("../../../src/sync/claimer.ts"),
  import("../../../src/sync/offer-again.ts"),
  import("../../../src/sync/renewing.ts"),
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

/** A log writes offset and epoch into a batch's first bytes. */
const STAMPED_BYTES = 16;
const SLOT_BYTES = 16 * 1024;
const TOPIC = "t";
export const EDGE_URL = "http://edge";

/** How much of the outbox's batches the index holds; a small one makes histories where it does not hold all. */
export interface DeviceSettings {
  readonly indexMax: number;
  readonly outboxBytesMax: number;
}

/** What outlives a crash. */
export class SimDisk {
  readonly disk: Disk;
  /** A full disk has no room for another slot. */
  isFull = false;
  /** The process ends before the next operation but so many. */
  trap: { left: number; readonly spring: () => void } | undefined;
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

class SimVolume implements Volume {
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
   * One operation after the other. A crash comes before an operation, or not at all. Only a write can be cut off in the
   * middle.
   */
  #do<T>(work: () => T): Promise<T> {
    const done = this.#last.then(async () => {
      await this.#pause();
      const { trap } = this.#sim;
      if (trap && !this.isDead && --trap.left < 0) {
        this.#sim.trap = undefined;
        trap.spring();
      }
      if (this.isDead) await new Promise<never>(() => undefined);
      return work();
    });
    this.#last = done.catch(() => undefined);
    return done;
  }

  get slotCount(): number {
    return this.#sim.disk.slotCount;
  }
  addSlots(count: number): Promise<void> {
    return this.#do(() => {
      for (let made = 0; made < count; made++)
        if (this.#sim.isFull || !this.#sim.disk.addSlot())
          throw new TidemarkError("QUOTA_EXCEEDED", "no room for another slot", { made });
    });
  }
  prepare(): Promise<void> {
    return this.#do(() => undefined);
  }
  write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    const inflight = { slot, position, bytes: bytes.slice() };
    this.inflight.add(inflight);
    return this.#do(() => {
      this.inflight.delete(inflight);
      this.#sim.disk.write(slot, position, inflight.bytes);
    });
  }
  read(slot: number, position: number, target: Uint8Array): Promise<number> {
    return this.#do(() => this.#sim.disk.read(slot, position, target));
  }
  handOver(slots: readonly number[]): Promise<void> {
    return this.#do(() => slots.forEach((slot) => this.#sim.disk.handOver(slot)));
  }
  flush(slots: readonly number[]): Promise<void> {
    return this.#do(() => slots.forEach((slot) => this.#sim.disk.flush(slot, false)));
  }
  async checkAttached(): Promise<boolean> {
    return true;
  }
  async close(): Promise<void> {}
}

export interface OpenTopic {
  readonly newId: () => string;
  readonly pause: () => Promise<void> | undefined;
  readonly now: () => number;
  readonly settings: DeviceSettings;
}

type Made = Pick<Parameters<typeof Log.open>[0], "kernel" | "clock" | "breathe">;

/** A synced topic of one opening of a disk. */
export class OpenedTopic {
  readonly store: TopicStorage;
  readonly #log: SyncedLog;
  readonly #segments: Store;
  readonly #volume: SimVolume;
  readonly #disk: SimDisk;
  readonly #made: Made;
  #aside: Promise<Log> | undefined;

  private constructor(
    disk: SimDisk,
    volume: SimVolume,
    segments: Store,
    store: TopicStorage,
    log: SyncedLog,
    made: Made,
  ) {
    this.#made = made;
    this.#disk = disk;
    this.#volume = volume;
    this.#segments = segments;
    this.store = store;
    this.#log = log;
  }

  static async open(disk: SimDisk, { newId, pause, now, settings }: OpenTopic): Promise<OpenedTopic> {
    disk.disk.age(disk.disk.slotCount);
    const volume = new SimVolume(disk, pause);
    const breathe = (): Promise<void> => Promise.resolve();
    const clock = { now };
    const segments = await SegmentStore.open({ volume, kernel, now, newId: () => "sim", breathe });
    await becomeSynced({ topic: TOPIC, store: segments, url: EDGE_URL, path: TOPIC, newOutboxId: newId });
    const { indexMax, outboxBytesMax } = settings;
    const store = await TopicStorage.open({
      topic: TOPIC,
      store: segments,
      kernel,
      clock,
      newOutboxId: newId,
      breathe,
      indexMax,
    });
    const limits = withDefaults({});
    const log = new SyncedLog({ storage: store, kernel, clock, settings: () => limits, breathe, outboxBytesMax });
    return new OpenedTopic(disk, volume, segments, store, log, { kernel, clock, breathe });
  }

  get term(): number {
    return this.#segments.epoch;
  }

  /** Resolves with the position of its first record when the batch is flushed. */
  async append(batch: Uint8Array): Promise<number> {
    const { baseOffset } = await this.#log.append(batch, { fromZero: true });
    return baseOffset - 2 ** 52;
  }

  /** What a reader is shown: batches that are committed up to `end`, and own ones without a place as of that. */
  async shown(): Promise<{ readonly committed: Uint8Array; readonly end: number; readonly provisional: Uint8Array }> {
    const committed: Uint8Array[] = [];
    for (let from = this.store.base ?? 0; ;) {
      const cut = await this.#log.changes(from, { provisional: 0 }, { maxBytes: Number.MAX_SAFE_INTEGER });
      const { bytes, committedBytes, nextOffset } = cut;
      committed.push(bytes.subarray(0, committedBytes));
      if (nextOffset === from)
        return { committed: concat(committed), end: from, provisional: bytes.subarray(committedBytes) };
      from = nextOffset;
    }
  }

  /** The log beside the topic, where records are set aside. */
  aside(): Promise<Log> {
    this.#aside ??= (async () => {
      const { kernel, clock, breathe } = this.#made;
      const settings = withDefaults({});
      const store = await this.#segments.log(replicaName(`${TOPIC}.aside`), {});
      return Log.open({ store, kernel, clock, breathe, settings });
    })();
    return this.#aside;
  }

  /** Names of the records that stand aside. */
  async namesAside(): Promise<string[]> {
    if (this.#segments.bornOf(replicaName(`${TOPIC}.aside`)) === undefined) return [];
    const log = await this.aside();
    const found: string[] = [];
    for (let from = log.logStartOffset; from < log.highWatermark;) {
      const { bytes, nextOffset } = await log.fetch(from, {});
      found.push(...namesIn(bytes).map(([, name]) => name));
      from = nextOffset;
    }
    return found;
  }

  async setAside(runs: readonly Range[], reason: { readonly code: string; readonly message: string }): Promise<void> {
    await setAside({ storage: this.store, kernel, log: await this.aside(), reason }, runs);
    for (const [from, to] of runs) await this.store.retract(from, to, "aside");
  }

  /** Names of the records that had a place at the edge, below `offerFrom` and above, and of those that an offer has. */
  async keptNames(offerFrom: number): Promise<Readonly<Record<"below" | "kept" | "offered", string[]>>> {
    const { outboxNote, replica, watermark } = this.store;
    const [below, kept, offered]: [string[], string[], string[]] = [[], [], []];
    for (let from = replica?.log.logStartOffset ?? 0; replica && from < watermark;) {
      const { bytes, nextOffset } = await replica.log.read(from, 1, watermark);
      for (const batch of splitBatches(bytes))
        for (const [offset, name] of namesIn(batch)) {
          (offset < offerFrom ? below : kept).push(name);
          if (offset >= offerFrom && isOwn(outboxNote, readHeader(batch))) offered.push(name);
        }
      from = nextOffset;
    }
    return { below, kept, offered };
  }

  /** True if another copy of the topic is kept already. */
  get hasKept(): boolean {
    return this.#segments.bornOf(replicaName(keptTopic(TOPIC))) !== undefined;
  }

  /** Sync begins anew at the log that stands there now, and offers own records from `offerFrom` on again. */
  async restart(offerFrom: number): Promise<void> {
    await this.store.close();
    await restart(this.#segments, this.store, offerFrom);
  }

  /** As a browser's host does (src/browser/sync/healer.ts). */
  async renew(source: HealingSource): Promise<void> {
    await renew({ kernel, store: this.#segments, storage: this.store, source });
  }

  /** The process ends: nothing reaches the disk any more, and nothing is answered. */
  kill(random: Random, how: "process" | "power"): void {
    this.stop();
    const inflight = [...this.#volume.inflight];
    if (how === "process") this.#disk.disk.kill(random, inflight);
    else this.#disk.disk.powerCut(random, inflight);
  }

  /** Nothing reaches the disk any more. */
  stop(): void {
    this.#volume.isDead = true;
  }
}
