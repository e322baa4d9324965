/**
 * What one opening of a device has of its disk: the real store, and the real storage of synced topics in it.
 *
 *   OpenedVolume ─┬─ OpenedTopic: TopicStorage, SyncedLog ─┐
 *                 └─ OpenedTopic                           ┴─▶ SegmentStore ─▶ SimVolume (storage.ts)
 */
import { kernel } from "../../unit/outbox-edge.ts";
import { Log } from "../../../src/log/log.ts";
import { withDefaults } from "../../../src/log/limits.ts";
import { concat } from "../../../src/record/bytes.ts";
import { readHeader } from "../../../src/record/format.ts";
import { splitBatches } from "../../../src/record/record-batch.ts";
import { SegmentStore } from "../../../src/store/segment-store.ts";
import { becomeSynced } from "../../../src/sync/become-synced.ts";
import type { HealingSource } from "../../../src/sync/healing.ts";
import { keptTopic, replicaName } from "../../../src/sync/log-names.ts";
import { isOwn } from "../../../src/sync/offer-again.ts";
import { renew } from "../../../src/sync/renewing.ts";
import { setAside } from "../../../src/sync/set-aside.ts";
import { restart } from "../../../src/sync/stop-syncing.ts";
import { SyncedLog } from "../../../src/sync/synced-log.ts";
import { TopicStorage } from "../../../src/sync/topic-storage.ts";
import type { Range } from "../../../src/sync/topic-store.ts";
import "../loaded-ahead.ts";
import type { Random } from "../prng.ts";
import { namesIn } from "./records.ts";
import { type SimDisk, SimVolume } from "./storage.ts";

export const EDGE_URL = "http://edge";

/** How much of the outbox's batches the index holds; a small one makes histories where it does not hold all. */
export interface DeviceSettings {
  readonly indexMax: number;
  readonly outboxBytesMax: number;
}

export interface OpenVolume {
  readonly newId: () => string;
  readonly pause: () => Promise<void> | undefined;
  readonly now: () => number;
}

type Made = Pick<Parameters<typeof Log.open>[0], "kernel" | "clock" | "breathe">;

export class OpenedVolume {
  readonly segments: SegmentStore;
  readonly made: Made;
  readonly newId: () => string;
  readonly #volume: SimVolume;
  readonly #disk: SimDisk;
  readonly #logs = new Map<string, Promise<Log>>();

  private constructor(disk: SimDisk, volume: SimVolume, segments: SegmentStore, made: Made, newId: () => string) {
    this.#disk = disk;
    this.#volume = volume;
    this.segments = segments;
    this.made = made;
    this.newId = newId;
  }

  static async open(disk: SimDisk, { newId, pause, now }: OpenVolume): Promise<OpenedVolume> {
    disk.disk.age(disk.disk.slotCount);
    const volume = new SimVolume(disk, pause);
    const breathe = (): Promise<void> => Promise.resolve();
    const segments = await SegmentStore.open({ volume, kernel, now, newId: () => "sim", breathe });
    return new OpenedVolume(disk, volume, segments, { kernel, clock: { now }, breathe }, newId);
  }

  get term(): number {
    return this.segments.epoch;
  }

  /** A log of the device's own, beside its topics. */
  log(name: string): Promise<Log> {
    let opening = this.#logs.get(name);
    if (!opening) this.#logs.set(name, (opening = this.#openLog(name)));
    return opening;
  }

  async #openLog(name: string): Promise<Log> {
    return Log.open({ store: await this.segments.log(name, {}), settings: withDefaults({}), ...this.made });
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

const READ_BYTES = 64 * 1024;
/** So often a reader that asks without a pause may be told to begin again. */
const RESETS_MAX = 3;

/** A synced topic of one opening of a disk. */
export class OpenedTopic {
  readonly topic: string;
  readonly store: TopicStorage;
  readonly #log: SyncedLog;
  readonly #volume: OpenedVolume;

  private constructor(topic: string, volume: OpenedVolume, store: TopicStorage, log: SyncedLog) {
    this.topic = topic;
    this.#volume = volume;
    this.store = store;
    this.#log = log;
  }

  static async open(topic: string, volume: OpenedVolume, settings: DeviceSettings): Promise<OpenedTopic> {
    const { segments, made, newId: newOutboxId } = volume;
    await becomeSynced({ topic, store: segments, url: EDGE_URL, path: topic, newOutboxId });
    const { indexMax, outboxBytesMax } = settings;
    const store = await TopicStorage.open({ topic, store: segments, newOutboxId, indexMax, ...made });
    const limits = withDefaults({});
    const log = new SyncedLog({ storage: store, settings: () => limits, outboxBytesMax, ...made });
    return new OpenedTopic(topic, volume, store, log);
  }

  get term(): number {
    return this.#volume.term;
  }

  /** Resolves with the position of its first record when the batch is flushed. */
  async append(batch: Uint8Array): Promise<number> {
    const { baseOffset } = await this.#log.append(batch, { fromZero: true });
    return baseOffset - 2 ** 52;
  }

  /** What a reader is shown: batches that are committed up to `end`, and own ones without a place as of that. */
  async shown(): Promise<{ readonly committed: Uint8Array; readonly end: number; readonly provisional: Uint8Array }> {
    const committed: Uint8Array[] = [];
    let resets = 0;
    for (let from = this.store.base ?? 0; ;) {
      const cut = await this.#log.changes(from, { provisional: 0 }, { maxBytes: Number.MAX_SAFE_INTEGER });
      const { bytes, committedBytes, nextOffset, reset } = cut;
      if (reset !== undefined) {
        if (++resets > RESETS_MAX) throw new Error(`readers begin again and again: at ${from}, and from ${reset} on`);
        committed.length = 0;
      }
      committed.push(bytes.subarray(0, committedBytes));
      if (nextOffset === from)
        return { committed: concat(committed), end: from, provisional: bytes.subarray(committedBytes) };
      from = nextOffset;
    }
  }

  /** What read() brings, which shows committed records only, up to `end`. */
  async read(end: number): Promise<Uint8Array> {
    const found: Uint8Array[] = [];
    for (let from = this.store.base ?? 0; from < end;) {
      const { bytes, nextOffset } = await this.#log.fetch(from, { maxBytes: READ_BYTES });
      found.push(bytes);
      if (nextOffset === from) break;
      from = nextOffset;
    }
    return concat(found);
  }

  /** The log beside the topic, where records are set aside. */
  aside(): Promise<Log> {
    return this.#volume.log(replicaName(`${this.topic}.aside`));
  }

  /** Names of the records that stand aside. */
  async namesAside(): Promise<string[]> {
    if (this.#volume.segments.bornOf(replicaName(`${this.topic}.aside`)) === undefined) return [];
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
    return this.#volume.segments.bornOf(replicaName(keptTopic(this.topic))) !== undefined;
  }

  /** Nothing of the topic is used any more; the device may open it again. */
  async close(): Promise<void> {
    await this.#log.close();
  }

  /**
   * It is closed before. Sync begins anew at the log that stands there now, and offers own records from `offerFrom` on
   * again.
   */
  async restart(offerFrom: number): Promise<void> {
    await restart(this.#volume.segments, this.store, offerFrom);
  }
  /** As a browser's host does (src/browser/sync/healer.ts). */
  async renew(source: HealingSource): Promise<void> {
    await renew({ kernel, store: this.#volume.segments, storage: this.store, source });
  }
}
