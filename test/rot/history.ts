/**
 * Makes the log that rots: one seeded history whose volume has every kind of content that the format knows.
 *
 *   a first life fills segments that are trimmed away, so that slots are used again and hold stale batches
 *   a second life writes segments in which each key occurs twice, compacts them, and appends more. It leaves sealed
 *   segments with indexes, producers' snapshots and footers, some of them compacted, and an active segment with a
 *   durable mark in its middle
 *
 * The history ends in two ways. "killed": batches behind the mark were flushed and acknowledged, and the log was not
 * closed. "closed": the slot has the mark of a clean end. The earlier versions of each page are kept, so that pages can
 * be put back to an older state.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { Log } from "../../src/log/log.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../../src/record/record-batch.ts";
import { SegmentStore } from "../../src/store/segment-store.ts";
import { Random } from "../simulation/prng.ts";
import { type Image, PAGE, RotVolume } from "./rot-volume.ts";

export const NAME = "rot";
export const CLOCK = { now: () => 1_764_002_000_000 };
const RECORDS_PER_BATCH = 16;
const PRODUCERS = 3;

export interface TrueBatch {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly maxTimestamp: number;
  readonly records: readonly { readonly offset: number; readonly timestamp: number }[];
  readonly slot: number;
  /** Where the batch begins in its slot. */
  readonly position: number;
  readonly bytes: Uint8Array;
}

export interface Retry {
  readonly batch: Uint8Array;
  readonly baseOffset: number;
}

export interface RotLog {
  readonly ended: "killed" | "closed";
  readonly slotBytes: number;
  readonly image: Image;
  readonly start: number;
  readonly end: number;
  /** A durable mark says that everything below this offset was flushed. */
  readonly marked: number;
  readonly batches: readonly TrueBatch[];
  /** The newest batch of each producer. */
  readonly retries: readonly Retry[];
  /** Earlier contents of pages, by slot and page. */
  readonly versions: ReadonlyMap<string, readonly Uint8Array[]>;
}

export interface HistoryOptions {
  readonly slotBytes: number;
  /** Sealed segments of the second life, before compaction. */
  readonly segments: number;
  readonly seed: number;
}

class History {
  readonly volume: RotVolume;
  readonly versions = new Map<string, Uint8Array[]>();
  readonly retries = new Map<number, Retry>();
  log!: Log;
  #store!: SegmentStore;
  #now = 1_764_001_000_000;
  readonly #last = new Map<string, Uint8Array>();
  readonly #random: Random;
  readonly #sequences = new Map<number, number>();
  readonly #builder: BatchBuilder;
  #records = 0;

  constructor(
    readonly kernel: Kernel,
    { slotBytes, seed }: HistoryOptions,
  ) {
    this.volume = new RotVolume(slotBytes, []);
    this.volume.onFlush = (slot, bytes) => this.#keepVersions(slot, bytes);
    this.#random = new Random(seed);
    this.#builder = new BatchBuilder(kernel);
  }

  async open(): Promise<void> {
    const clock = { now: () => this.#now };
    this.#store = await SegmentStore.open({ volume: this.volume, kernel: this.kernel, now: clock.now });
    // The clock moves on: only segments that were sealed at least a second ago are compacted.
    this.log = await Log.open({
      store: await this.#store.log(NAME),
      kernel: this.kernel,
      clock,
      settings: { compaction: { minLagMs: 1000 } },
    });
  }

  async append(keys: number): Promise<void> {
    const random = this.#random;
    const producerId = random.int(PRODUCERS);
    const baseSequence = this.#sequences.get(producerId) ?? 0;
    const text = new TextEncoder();
    const part = this.volume.slotBytes < 32 * 1024 ? 2 : 1;
    this.#builder.reset();
    for (let i = 0; i < RECORDS_PER_BATCH / part; i++) {
      const value = new Uint8Array(random.between(70, 130));
      random.fill(value);
      const headers = random.chance(0.1) ? ([["trace", text.encode("rot")]] as const) : undefined;
      // Timestamps do not only rise, so that the time index and seeks by time are tested.
      this.#builder.tryAppend({
        key: text.encode(`key ${random.int(keys)} ${keys > 100 ? this.#records : ""}`),
        value,
        timestamp: 1_000_000 + this.#records * 10 + random.int(40),
        ...(headers && { headers }),
      });
      this.#records++;
    }
    const batch = this.#builder.build({ producerId, producerEpoch: 0, baseSequence });
    this.#sequences.set(producerId, baseSequence + RECORDS_PER_BATCH / part);
    const retry = batch.slice();
    const { baseOffset } = await this.log.append(batch);
    this.retries.set(producerId, { batch: retry, baseOffset });
  }

  /** Appends until the log has `sealed` sealed segments and the active one is filled to the fraction `part`. */
  async fill(sealed: number, part: number, keys: number): Promise<void> {
    for (;;) {
      const segments = this.log.segments();
      if (segments.length > sealed && segments.at(-1)!.bytes >= this.volume.slotBytes * part) return;
      await this.append(keys);
    }
  }

  async close(): Promise<void> {
    await this.log.close();
    await this.#store.close();
  }

  async trimAll(): Promise<void> {
    await this.log.roll();
    await this.log.trim(this.log.highWatermark);
  }

  async compact(): Promise<void> {
    this.#now += 2000;
    const { compacted } = await this.log.clean();
    if (compacted.recordsRemoved === 0) throw new Error("compaction removed no record from this history");
    this.#now += 10;
  }

  #keepVersions(slot: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += PAGE) {
      const key = `${slot}.${at / PAGE}`;
      const page = bytes.subarray(at, at + PAGE);
      const last = this.#last.get(key) ?? new Uint8Array(PAGE);
      if (Buffer.compare(last, page) === 0) continue;
      this.versions.set(key, [...(this.versions.get(key) ?? []), last]);
      this.#last.set(key, page.slice());
    }
  }

  async result(ended: RotLog["ended"], marked: number): Promise<RotLog> {
    const { volume, log, versions, retries } = this;
    const batches: TrueBatch[] = [];
    for (const segment of log.segments()) {
      let position = segment.bodyPosition!;
      const slot = segment.slot!;
      const body = volume.image()[slot]!.subarray(position, position + segment.bytes);
      for (const bytes of splitBatches(body)) {
        const batch = (await decodeBatch(this.kernel, bytes)) as RecordBatch;
        const { baseOffset, nextOffset, header } = batch;
        const records = Array.from({ length: batch.count }, (_, i) => ({
          offset: batch.offsetAt(i),
          timestamp: batch.timestampAt(i),
        }));
        batches.push({
          baseOffset,
          nextOffset,
          maxTimestamp: header.maxTimestamp,
          records,
          slot,
          position,
          bytes: bytes.slice(),
        });
        position += bytes.length;
      }
    }
    const { slotBytes } = volume;
    const kept = new Map([...versions].map(([key, pages]) => [key, pages.slice()]));
    return {
      ended,
      slotBytes,
      image: volume.image(),
      start: log.logStartOffset,
      end: log.logEndOffset,
      marked,
      batches,
      retries: [...retries.values()],
      versions: kept,
    };
  }
}

export async function makeRotLogs(
  kernel: Kernel,
  options: HistoryOptions,
): Promise<{ readonly killed: RotLog; readonly closed: RotLog }> {
  const history = new History(kernel, options);
  await history.open();
  await history.fill(2, 0.3, 100_000);
  await history.trimAll();
  await history.close();
  await history.open();
  // First segments in which keys repeat, which are compacted. Then segments in which they do not.
  const twice = Math.max(2, options.segments >> 2);
  await history.fill(twice, 0, 60);
  await history.compact();
  await history.fill(options.segments, options.slotBytes < 32 * 1024 ? 0.3 : 0.4, 100_000);
  // Another life continues the same segment. The mark moves to the end, and a few more batches come behind it.
  await history.close();
  await history.open();
  await history.append(100_000);
  await history.log.clean();
  const marked = history.log.logEndOffset;
  for (let i = 0; i < 3; i++) await history.append(100_000);
  const killed = await history.result("killed", marked);
  await history.close();
  return { killed, closed: await history.result("closed", history.log.logEndOffset) };
}
