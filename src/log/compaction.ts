/**
 * Key compaction: the newest record of each key stays, offsets never change, the active segment is never touched.
 *
 *   sealed, old enough                        | lagging | active
 *   ┌────────┬────────┬────────┬──────────────┐─────────┬───────
 *   │ clean: one record   │ dirty: written    │
 *   │ of each key         │ since             │
 *   │                     │ pass 1: newest offset of each key → map
 *   │ pass 2: rewrite what the map outdates   │   one swap for each output, each a commit of its own
 *   └─────────────────────────────────────────┘
 *
 * Pass 2 begins at the log's start. So when it comes to a tombstone that is the newest record of its key, no older
 * record of the key is left before it, and the tombstone may go once its delay has passed. Sealed segments are
 * immutable: reading them needs no turn of the log, only the swap does. If a trim between the passes removes the swap's
 * range, the pass ends, and the next one starts from what is there.
 *
 * A pass takes as many dirty bytes as there are clean ones, and at least 64 MiB. So no more work than that is lost with
 * it, and all passes together read a log only a few times, however large it is. A pass may be done in portions, and
 * another compactor may continue one that was lost: it maps the same dirty part again, and pass 2 continues after the
 * segments that were done. Between slices of the work the host's event loop gets a turn.
 */
import { TidemarkError } from "../errors.ts";
import { type Kernel, KERNEL_BATCH_BYTES_MAX, SEGMENT_OFFSETS_MAX, Status } from "../kernel/types.ts";
import { ATTRIBUTE_CONTROL, CODEC_GZIP, CODEC_MASK, nextOffsetOf, readHeader } from "../record/format.ts";
import { compressBatch, decompressBatch } from "../record/codec.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../record/record-batch.ts";
import { concat } from "../store/bytes.ts";
import type { LogStore, ReplacementSegment, SegmentInfo } from "../store/log-store.ts";
import { isOver, settledTimes } from "./age.ts";
import { saneCompaction, TOMBSTONE_RETENTION_MS } from "./limits.ts";
import { RECORD_COST_BYTES, Slices } from "./slices.ts";
import { NewestByKey } from "./newest-by-key.ts";
import type { CleanResult, LogSettings } from "./types.ts";

/**
 * Bytes of one read. Reading 1 MiB takes 2 to 3 ms in a browser's worker, and one request at the edge. Processing is
 * sliced finer.
 */
const READ_BYTES = 1024 * 1024;
/** A pass may always take this many dirty bytes: some seconds of reading. */
const PASS_BYTES_MIN = 64 * 1024 * 1024;
type Swap = (swap: () => Promise<void>) => Promise<void>;
type Compacted = CleanResult["compacted"];
type Totals = { -readonly [field in keyof Compacted]: number };

export interface CompactorOptions {
  readonly store: LogStore;
  readonly kernel: Kernel;
  readonly settings: LogSettings;
  /** The result of an earlier compactor of this log: below this offset each key has one record. Default 0. */
  readonly cleanTo?: number;
  /** When the first tombstone there may be removed. Default: never. */
  readonly nextDueMs?: number;
  /**
   * Remove a tombstone one pass later than the records that it deletes. Needed where readers may still see segments
   * that a swap has replaced.
   */
  readonly tombstonesLast?: boolean;
  /**
   * Called right before a swap that removes tombstones: below this offset some are gone then. A reader that was not at
   * this offset yet may never see them.
   */
  readonly forgetting?: ((tombstonesTo: number) => void) | undefined;
  /** An unfinished pass of an earlier compactor, as its `underWay` described it. */
  readonly resumed?: UnderWay | undefined;
  /** A turn of the host's event loop, taken after each slice of work. */
  readonly breathe?: (() => Promise<void>) | undefined;
  /** Default 64 MiB. */
  readonly passBytesMin?: number;
}

/** A pass whose second half has begun: how far its map reaches, and how much it has rewritten. */
export interface UnderWay {
  readonly mapTo: number;
  /** Segments that begin below this offset are done. */
  readonly at: number;
  /** When a tombstone in those segments may be removed. */
  readonly nextDueMs: number;
}

export class Compactor {
  readonly #store: LogStore;
  readonly #options: CompactorOptions;
  /** Everything below was compacted by the last pass, and no tombstone there may be removed before `#nextDueMs`. */
  #cleanTo: number;
  #nextDueMs: number;
  #passesDone = 0;
  #isBounded = false;
  #resumed: UnderWay | undefined;
  /** The pass that is under way, and its steps. */
  #pass: { readonly pass: Pass; readonly steps: AsyncGenerator<number>; readonly end: number } | undefined;

  constructor(options: CompactorOptions) {
    this.#store = options.store;
    this.#options = options;
    this.#cleanTo = options.cleanTo ?? 0;
    this.#nextDueMs = options.nextDueMs ?? Infinity;
    this.#resumed = options.resumed;
  }

  get cleanTo(): number {
    return this.#cleanTo;
  }
  get nextDueMs(): number {
    return this.#nextDueMs;
  }
  /** What another compactor needs to continue, should this one be lost. Undefined if there is nothing to continue. */
  get underWay(): UnderWay | undefined {
    const pass = this.#pass?.pass;
    return pass && pass.rewrittenTo > 0
      ? { mapTo: pass.mapTo, at: pass.rewrittenTo, nextDueMs: pass.nextDueMs }
      : undefined;
  }
  get passesDone(): number {
    return this.#passesDone;
  }
  /** True if the last pass ended at its limit of bytes, so that dirty records are left. */
  get isBounded(): boolean {
    return this.#isBounded;
  }
  /** True if the pass has not ended yet. */
  get isUnderWay(): boolean {
    return this.#pass !== undefined;
  }

  /** Runs a whole pass, or the part of it that reads about `bytesMax`. */
  async run(nowMs: number, highWatermark: number, swap: Swap, bytesMax = Infinity): Promise<Compacted> {
    const result: Totals = { segments: 0, bytesBefore: 0, bytesAfter: 0, recordsRemoved: 0 };
    const current = this.#pass ?? this.#begin(nowMs, highWatermark);
    this.#pass = undefined;
    if (!current) return result;
    const { pass, steps, end } = current;
    this.#isBounded = false;
    Object.assign(pass, { swap, result });
    try {
      for (let bytes = 0; bytes < bytesMax;) {
        const { done, value } = await steps.next();
        if (done) {
          this.#cleanTo = Math.max(this.#cleanTo, pass.mapTo);
          this.#nextDueMs = pass.nextDueMs;
          this.#passesDone++;
          this.#isBounded = pass.isBounded;
          return result;
        }
        bytes += value;
      }
    } catch (thrown) {
      if (!(thrown instanceof TidemarkError)) throw thrown;
      // A trim removed segments of this pass meanwhile.
      if (["INVALID_ARGUMENT", "OFFSET_OUT_OF_RANGE"].includes(thrown.code)) return result;
      if (thrown.code !== "CORRUPT_RANGE") throw thrown;
      // Damage. A read with checksums quarantines it, and the next pass ends before it.
      await this.#store.read(Math.max(pass.at, this.#store.logStartOffset), 1, end, true).catch(() => undefined);
      return result;
    }
    this.#pass = current;
    return result;
  }

  #begin(nowMs: number, highWatermark: number) {
    const inputs = this.eligible(nowMs, highWatermark);
    const end = inputs.at(-1)?.nextOffset ?? 0;
    if (end === 0 || (end <= this.#cleanTo && nowMs < this.#nextDueMs)) return undefined;
    const pass = new Pass(this.#options, nowMs, this.#cleanTo, this.#resumed);
    this.#resumed = undefined;
    return { pass, steps: pass.steps(inputs), end };
  }

  /** The segments from the front that may be rewritten. Damage ends the run: a pass does not read around it. */
  eligible(nowMs: number, highWatermark: number): SegmentInfo[] {
    const { minLagMs = 0 } = saneCompaction(this.#options.settings.compaction ?? {});
    const eligible: SegmentInfo[] = [];
    const segments = this.#store.segments();
    const settled = settledTimes(segments, nowMs);
    for (const [i, segment] of segments.entries()) {
      const young = segment.sealedAt === undefined || !isOver(settled[i], nowMs, minLagMs);
      const damaged = this.#store.quarantined.some(
        (range) => range.from < segment.nextOffset && range.to > segment.baseOffset,
      );
      if (young || damaged || segment.nextOffset > highWatermark) break;
      eligible.push(segment);
    }
    return eligible;
  }
}

/**
 * Groups neighbours that fit one segment together even if no record is removed, so that small segments left by earlier
 * passes are joined.
 */
function groupsOf(inputs: readonly SegmentInfo[]): SegmentInfo[][] {
  const bytesMax = Math.max(...inputs.map((segment) => segment.bytes));
  const groups: SegmentInfo[][] = [];
  let bytes = Infinity;
  for (const segment of inputs) {
    // Offsets bound a group as well, even if few records are left.
    if (bytes + segment.bytes > bytesMax || segment.nextOffset - groups.at(-1)![0]!.baseOffset > SEGMENT_OFFSETS_MAX) {
      groups.push([]);
      bytes = 0;
    }
    groups.at(-1)!.push(segment);
    bytes += segment.bytes;
  }
  return groups;
}

/**
 * A key counts as one unit, and one more for each full 64 bytes of it: this bounds the map's memory for keys of any
 * length.
 */
const KEY_UNIT_BYTES = 64;

class Pass {
  readonly #newest: NewestByKey;
  #units = 0;
  /** The map, together with the clean part, covers all offsets below this one. */
  mapTo = 0;
  nextDueMs: number;
  /** Segments that begin below this are rewritten; 0 while the pass still maps. */
  rewrittenTo: number;
  /** A resumed pass must not map beyond the end at which its map ended before. */
  readonly #mapEnd: number;
  /** Base offset of the segment that is being read. */
  at = 0;
  isBounded = false;
  readonly #slices: Slices;
  swap!: Swap;
  result!: Totals;
  readonly #tombstoneRetentionMs: number;
  /** One past the last tombstone that this pass removes. */
  #tombstonesTo = 0;
  readonly #segments: readonly SegmentInfo[];
  /** For each segment, since when its records are there, as of the pass's start. */
  readonly #settled: readonly (number | undefined)[];

  constructor(
    readonly options: CompactorOptions,
    readonly nowMs: number,
    readonly cleanTo: number,
    readonly resumed: UnderWay | undefined,
  ) {
    this.nextDueMs = resumed?.nextDueMs ?? Infinity;
    this.#mapEnd = resumed?.mapTo ?? Infinity;
    this.rewrittenTo = resumed?.at ?? 0;
    this.#tombstoneRetentionMs =
      saneCompaction(options.settings.compaction ?? {}).tombstoneRetentionMs ?? TOMBSTONE_RETENTION_MS;
    this.#newest = new NewestByKey(nowMs);
    this.#slices = new Slices(options.breathe);
    this.#segments = options.store.segments();
    this.#settled = settledTimes(this.#segments, nowMs);
  }

  /** Both passes in steps. Each step yields the bytes of the segments that it worked on. */
  async *steps(inputs: readonly SegmentInfo[]): AsyncGenerator<number> {
    this.mapTo = this.cleanTo;
    const clean = inputs
      .filter(({ nextOffset }) => nextOffset <= this.cleanTo)
      .reduce((sum, { bytes }) => sum + bytes, 0);
    let left = Math.max(this.options.passBytesMin ?? PASS_BYTES_MIN, clean);
    for (const segment of inputs) {
      if (segment.nextOffset <= this.cleanTo) continue;
      this.isBounded = this.resumed ? segment.baseOffset >= this.#mapEnd : left <= 0;
      if (this.isBounded || !(await this.#map(segment))) break;
      left -= segment.bytes;
      yield segment.bytes;
    }
    const todo = inputs.filter(({ baseOffset }) => baseOffset >= this.rewrittenTo);
    for (const group of todo.length > 0 ? groupsOf(todo) : []) {
      // The map does not reach these segments, so they stay as they are.
      if (group[0]!.baseOffset >= this.mapTo) break;
      await this.#rewrite(group);
      this.rewrittenTo = group.at(-1)!.nextOffset;
      yield group.reduce((sum, segment) => sum + segment.bytes, 0);
    }
  }

  /** Adds a segment's records to the map. False when the map is full. */
  async #map(segment: SegmentInfo): Promise<boolean> {
    const { compactionKeysMax } = this.options.settings;
    for await (const bytes of this.#batches(segment)) {
      const batch = await this.#decode(bytes);
      for (let i = 0; i < (batch?.count ?? 0); i++) {
        if (batch!.offsetAt(i) >= this.#mapEnd) return false;
        const key = keyOf(batch!, i);
        if (key === undefined || batch!.offsetAt(i) < this.cleanTo) continue;
        if (this.#newest.get(key) === undefined) {
          const units = 1 + Math.floor(key.length / KEY_UNIT_BYTES);
          if (this.#units > 0 && this.#units + units > compactionKeysMax) return false;
          this.#units += units;
        }
        this.#newest.set(key, batch!.offsetAt(i));
        this.mapTo = batch!.offsetAt(i) + 1;
      }
      this.mapTo = Math.min(this.#mapEnd, Math.max(this.mapTo, nextOffsetOf(readHeader(bytes))));
    }
    this.mapTo = Math.min(this.#mapEnd, segment.nextOffset);
    return true;
  }

  /** Rewrites a group of neighbours into one segment, if a record is removed or the group has more than one segment. */
  async #rewrite(group: readonly SegmentInfo[]): Promise<void> {
    const { result } = this;
    const kept: Uint8Array[] = [];
    let removed = 0;
    for (const segment of group) {
      const settledAt = this.#settled[this.#segments.findIndex(({ baseOffset }) => baseOffset === segment.baseOffset)];
      const tombstonesDue = isOver(settledAt, this.nowMs, this.#tombstoneRetentionMs);
      for await (const bytes of this.#batches(segment)) {
        const filtered = await this.#filter(bytes, tombstonesDue, settledAt);
        removed += filtered.removed;
        if (filtered.bytes) kept.push(filtered.bytes);
      }
    }
    if (removed === 0 && group.length === 1) return;
    // Gives the event loop a turn first, so that the swap has a slice of its own.
    await this.#slices.turn();
    const bytes = concat(kept);
    const from = group[0]!.baseOffset;
    const to = group.at(-1)!.nextOffset;
    const sealedAt = Math.max(...group.map((segment) => segment.sealedAt!));
    const outputs: ReplacementSegment[] =
      bytes.length > 0 ? [{ baseOffset: from, nextOffset: to, bytes, sealedAt }] : [];
    await this.swap(() => {
      if (this.#tombstonesTo > 0) this.options.forgetting?.(this.#tombstonesTo);
      return this.options.store.replace(from, to, outputs);
    });
    result.segments += group.length;
    result.bytesBefore += group.reduce((sum, segment) => sum + segment.bytes, 0);
    result.bytesAfter += bytes.length;
    result.recordsRemoved += removed;
  }

  /** The batch without outdated records; no bytes if none is left. */
  async #filter(
    bytes: Uint8Array,
    tombstonesDue: boolean,
    settledAt: number | undefined,
  ): Promise<{ removed: number; bytes: Uint8Array | undefined }> {
    const batch = await this.#decode(bytes);
    if (!batch) return { removed: 0, bytes };
    const keep = new Uint8Array((batch.count + 7) >> 3);
    let removed = 0;
    for (let i = 0; i < batch.count; i++) {
      if (this.#stays(batch, i, tombstonesDue, settledAt)) keep[i >> 3]! |= 1 << (i & 7);
      else removed++;
    }
    if (removed === 0 && batch.count > 0) return { removed, bytes };
    if (removed === batch.count) return { removed, bytes: undefined };
    const gzip = (batch.header.attributes & CODEC_MASK) === CODEC_GZIP;
    const plain = gzip
      ? await decompressBatch(this.options.kernel, bytes, this.options.settings.decompressedBytesMax)
      : bytes;
    // A batch that only fits the kernel compressed stays whole. That breaks nothing: offsets and newest records are
    // still right.
    if (plain.length > KERNEL_BATCH_BYTES_MAX) return { removed: 0, bytes };
    const filtered = this.options.kernel.filterBatch(plain, keep);
    if (filtered.status !== Status.OK)
      throw new TidemarkError("INTERNAL", "a decoded batch can't be filtered", { status: filtered.status });
    return { removed, bytes: gzip ? await compressBatch(this.options.kernel, filtered.bytes) : filtered.bytes };
  }

  #stays(batch: RecordBatch, i: number, isOld: boolean, settledAt: number | undefined): boolean {
    const key = keyOf(batch, i);
    const offset = batch.offsetAt(i);
    const tombstonesDue = isOld && (!this.options.tombstonesLast || offset < this.cleanTo);
    if (key === undefined || offset >= this.mapTo) return true;
    // A record of the clean part whose key is not in the map has no newer one.
    if ((this.#newest.get(key) ?? offset) !== offset) return false;
    if (batch.valueAt(i) !== null) return true;
    if (tombstonesDue) this.#tombstonesTo = Math.max(this.#tombstonesTo, offset + 1);
    else this.nextDueMs = Math.min(this.nextDueMs, (settledAt ?? Infinity) + this.#tombstoneRetentionMs);
    return !tombstonesDue;
  }

  /**
   * The decoded batch. Undefined for a batch that is whole as its producer sent it but can't be decoded (the log
   * accepts gzip without unpacking it). Such a batch stays.
   */
  async #decode(bytes: Uint8Array): Promise<RecordBatch | undefined> {
    try {
      return await decodeBatch(this.options.kernel, bytes, {
        decompressedBytesMax: this.options.settings.decompressedBytesMax,
      });
    } catch (thrown) {
      if (this.options.kernel.validateBatch(bytes) === Status.OK) return undefined;
      throw thrown;
    }
  }

  async *#batches(segment: SegmentInfo): AsyncGenerator<Uint8Array> {
    this.at = segment.baseOffset;
    let offset = Math.max(segment.baseOffset, this.options.store.logStartOffset);
    while (offset < segment.nextOffset) {
      const { bytes, nextOffset } = await this.options.store.read(offset, READ_BYTES, segment.nextOffset);
      if (bytes.length === 0) return;
      for (const batch of splitBatches(bytes)) {
        yield batch;
        await this.#slices.spent(batch.length + Math.max(0, readHeader(batch).recordCount) * RECORD_COST_BYTES);
      }
      offset = nextOffset;
    }
  }
}

/** The record's key, for the map. Undefined for a record without a key and for a control record; both always stay. */
function keyOf(batch: RecordBatch, i: number): Uint8Array | undefined {
  return (batch.header.attributes & ATTRIBUTE_CONTROL ? null : batch.keyAt(i)) ?? undefined;
}
