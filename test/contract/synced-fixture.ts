/** A synced topic over a volume, and an edge's log beside it that is only a list: for contract cases and power cuts. */
import type { Kernel } from "../../src/kernel/types.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { concat } from "../../src/record/bytes.ts";
import { nextOffsetOf, readHeader, stampBaseOffset } from "../../src/record/format.ts";
import { decodeBatch, splitBatches } from "../../src/record/record-batch.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import type { Volume } from "../../src/store/volume.ts";
import { becomeSynced } from "../../src/sync/become-synced.ts";
import { PROVISIONAL_FROM } from "../../src/log/provisional-layout.ts";
import { SyncedLog } from "../../src/sync/synced-log.ts";
import { TopicStorage } from "../../src/sync/topic-storage.ts";
import { withDefaults } from "../../src/log/limits.ts";
import type { ClaimLook } from "../../src/sync/topic-store.ts";

export const MOST = { bytes: 1 << 20, batches: 1000, records: 65_536 };
export const TOPIC = "orders";
export const EDGE = { url: "https://edge", path: "orders" };
const SETTINGS = withDefaults({});
export const clock = { now: () => 1_764_000_000_000 };

/** A batch whose records are named; `producer` and `sequence` are its identity. */
export function batchOf(kernel: Kernel, names: readonly string[], producer: number, sequence: number): Uint8Array {
  const builder = new BatchBuilder(kernel);
  names.forEach((name, i) =>
    builder.tryAppend({
      key: new TextEncoder().encode(name),
      value: new TextEncoder().encode(name),
      timestamp: 1000 + i,
    }),
  );
  return builder.build({ producerId: producer, producerEpoch: 0, baseSequence: sequence });
}

export function namesIn(kernel: Kernel, bytes: Uint8Array): string[] {
  return splitBatches(bytes).flatMap((each) => {
    const batch = decodeBatch(kernel, each);
    if (batch instanceof Promise) throw new Error("compressed");
    return batch.isControl
      ? []
      : Array.from({ length: batch.count }, (_, i) => new TextDecoder().decode(batch.valueAt(i)!));
  });
}

/** What the edge has: batches in order of offsets, some taken by compaction, some trimmed. */
export class ListedEdge {
  batches: { readonly from: number; readonly to: number; bytes: Uint8Array | undefined }[] = [];
  start = 0;

  constructor(readonly kernel: Kernel) {}

  get end(): number {
    return this.batches.at(-1)?.to ?? this.start;
  }

  append(batch: Uint8Array): number {
    const bytes = batch.slice();
    const from = this.end;
    stampBaseOffset(bytes, from);
    this.batches.push({ from, to: nextOffsetOf(readHeader(bytes)), bytes });
    return from;
  }

  /** Compaction takes the whole batch at this offset, or keeps these of its records. */
  compact(offset: number, keep: readonly number[] = []): void {
    const found = this.batches.find(({ from }) => from === offset)!;
    const mask = new Uint8Array(16);
    for (const i of keep) mask[i >> 3]! |= 1 << (i & 7);
    found.bytes = keep.length === 0 ? undefined : this.kernel.filterBatch(found.bytes!, mask).bytes.slice();
    if (found.bytes) stampBaseOffset(found.bytes, offset);
  }

  frame(from: number, to = this.end): { bytes: Uint8Array; from: number; nextOffset: number } {
    const bytes = this.batches.flatMap((each) =>
      each.bytes && each.to > from && each.from < to && each.from >= this.start ? [each.bytes] : [],
    );
    return { bytes: concat(bytes).slice(), from, nextOffset: to };
  }

  headers(from: number, to: number): Uint8Array[] {
    return splitBatches(this.frame(from, to).bytes);
  }
}

export interface SyncedHost {
  readonly kernel: Kernel;
  newVolume(slotBytes: number): Promise<Volume>;
  reopen(volume: Volume): Promise<Volume>;
}

export interface SyncedOptions {
  readonly indexMax?: number | undefined;
  readonly outboxBytesMax?: number | undefined;
}

export class Synced {
  volume!: Volume;
  store!: SegmentStore;
  storage!: TopicStorage;
  log!: SyncedLog;
  readonly #options: SyncedOptions;
  #sequence = 0;
  #ids = 0;

  private constructor(
    readonly host: SyncedHost,
    options: SyncedOptions,
  ) {
    this.#options = options;
  }

  /** A topic that was never used, synced. */
  static async make(host: SyncedHost, options: SyncedOptions = {}, slotBytes = 64 * 1024): Promise<Synced> {
    const synced = new Synced(host, options);
    synced.volume = await host.newVolume(slotBytes);
    await synced.#openStore();
    await synced.become();
    await synced.open();
    return synced;
  }

  /** On a volume that is there. */
  static async on(host: SyncedHost, volume: Volume, options: SyncedOptions = {}): Promise<Synced> {
    const synced = new Synced(host, options);
    synced.volume = volume;
    await synced.#openStore();
    return synced;
  }

  readonly newOutboxId = (): string => (0xa0 + ++this.#ids).toString(16).padStart(16, "0");

  async #openStore(): Promise<void> {
    this.store = await SegmentStore.open({ volume: this.volume, kernel: this.host.kernel, now: clock.now });
  }

  become(topic = TOPIC): Promise<void> {
    return becomeSynced({ topic, store: this.store, ...EDGE, newOutboxId: this.newOutboxId });
  }

  async open(): Promise<void> {
    const { store, newOutboxId } = this;
    const { kernel } = this.host;
    const { indexMax, outboxBytesMax } = this.#options;
    this.storage = await TopicStorage.open({ topic: TOPIC, store, kernel, clock, newOutboxId, indexMax });
    this.log = new SyncedLog({ storage: this.storage, kernel, clock, settings: () => SETTINGS, outboxBytesMax });
  }

  /** Opened again, after a close or as a killed process leaves it. */
  async reopen(isClean = false): Promise<void> {
    if (isClean) await this.log.close();
    if (isClean) await this.store.close();
    else await this.volume.close();
    this.volume = await this.host.reopen(this.volume);
    await this.#openStore();
    await this.open();
  }

  /** An own batch, with a position. */
  async append(...names: string[]): Promise<{ readonly batch: Uint8Array; readonly at: number }> {
    const batch = batchOf(this.host.kernel, names, 77, this.#sequence);
    const { baseOffset } = await this.log.append(batch.slice());
    this.#sequence += names.length;
    return { batch, at: baseOffset - PROVISIONAL_FROM };
  }

  /** Joined at an edge's log, with a replica from its start. */
  async join(from = 0): Promise<void> {
    await this.storage.createReplica(from);
    await this.storage.joined({ owner: "me", stream: "s1", isFine: true });
    await this.storage.beginLife("00000000000000b1");
  }

  /** What a reader is shown: committed names, then own provisional ones. */
  async shown(): Promise<{ readonly committed: string[]; readonly provisional: string[] }> {
    const { kernel } = this.host;
    const committed: string[] = [];
    const { log } = this;
    for (let from = log.logStartOffset; from < log.highWatermark;) {
      const found = await log.fetch(from);
      committed.push(...namesIn(kernel, found.bytes));
      from = found.nextOffset;
    }
    const provisional: string[] = [];
    for (let from = PROVISIONAL_FROM + this.storage.start; ;) {
      const found = await log.fetch(from);
      if (found.nextOffset === from) break;
      provisional.push(...namesIn(kernel, found.bytes));
      from = found.nextOffset;
    }
    return { committed, provisional };
  }

  look(edge: ListedEdge, more: Partial<ClaimLook> = {}): ClaimLook {
    return { since: 0, logStartOffset: edge.start, fetched: [], again: [], ...more };
  }
}
