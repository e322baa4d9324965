/**
 * A segment in memory: what the catalog says of it and, for the active one, its indexes as they grow. The batches are
 * only in the slot.
 */
import { INDEX_STATE_EMPTY, type IndexState, type Kernel, KERNEL_BATCH_BYTES_MAX, Status } from "../kernel/types.ts";
import { readHeader } from "../record/format.ts";
import { assert } from "../errors.ts";
import { GrowingBytes } from "./bytes.ts";
import type { SealedEntry, SegmentEntry } from "./catalog.ts";
import { offsetEntriesIn, timeEntriesIn } from "./index-entries.ts";
import type { QuarantinedRange, SegmentInfo } from "./log-store.ts";
import { BODY_AT } from "./slot-layout.ts";

/** The two sparse indexes, packed as on disk. */
export interface Indexes {
  readonly offset: Uint8Array;
  readonly time: Uint8Array;
}

export class Segment {
  nextOffset: number;
  bytes = 0;
  batches = 0;
  records = 0;
  maxTimestamp = -1;
  firstTimestamp = -1;
  sealed: SealedEntry | undefined;
  /** Damage inside this segment. Positions count from the body's start. */
  damage: QuarantinedRange[] = [];
  /**
   * True if the segment was walked with checksums since the store was opened. A failed hop without damage is then a
   * fault of ours.
   */
  examined = false;
  /**
   * True once the segment is no longer part of the log. Its slot may be overwritten, so bytes that were read before
   * this was checked must not be used.
   */
  retired = false;
  /** Where the next sequential read will begin. Saves a search in the index. */
  hint: { readonly offset: number; readonly position: number } | undefined;

  readonly #offsetEntries = new GrowingBytes();
  readonly #timeEntries = new GrowingBytes();
  #indexState: IndexState = INDEX_STATE_EMPTY;
  /** Loaded from a sealed segment's sections, or rebuilt. */
  loaded: Indexes | undefined;

  readonly slot: number;
  readonly baseOffset: number;
  readonly epoch: number;
  readonly createdAt: number;
  readonly begun: number;
  /** Name of the log that the segment belongs to. */
  readonly log: string;

  constructor(entry: SegmentEntry, log = "") {
    this.log = log;
    this.begun = entry.begun;
    this.slot = entry.slot;
    this.baseOffset = entry.baseOffset;
    this.epoch = entry.epoch;
    this.createdAt = entry.createdAt;
    this.nextOffset = entry.baseOffset;
    if (entry.sealed) this.becomeSealed(entry.sealed);
  }

  becomeSealed(sealed: SealedEntry): void {
    this.sealed = sealed;
    this.nextOffset = sealed.nextOffset;
    this.bytes = sealed.bytes;
    this.batches = sealed.batches;
    this.records = sealed.records;
    this.maxTimestamp = sealed.maxTimestamp;
  }

  get indexes(): Indexes {
    return this.loaded ?? { offset: this.#offsetEntries.bytes, time: this.#timeEntries.bytes };
  }

  /** Counts whole batches that continue the segment. */
  add(kernel: Kernel, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length;) {
      const part = bytes.subarray(at, at + KERNEL_BATCH_BYTES_MAX);
      const scan = kernel.scan(part, {
        expectedOffset: this.nextOffset,
        allowGaps: true,
        minEpoch: 0,
        maxEpoch: 0x7fffffff,
        checkCrc: false,
        position: this.bytes,
        segmentBaseOffset: this.baseOffset,
        index: this.#indexState,
      });
      assert(
        scan.validBytes > 0 && (scan.status === Status.OK || scan.status === Status.NEED_MORE),
        `batches tile: ${scan.status}`,
      );
      if (this.firstTimestamp < 0 && this.batches === 0) this.firstTimestamp = readHeader(part).baseTimestamp;
      this.#offsetEntries.add(scan.offsetEntries);
      this.#timeEntries.add(scan.timeEntries);
      this.#indexState = scan.index;
      this.nextOffset = scan.nextOffset;
      this.bytes += scan.validBytes;
      this.batches += scan.batches;
      this.records += scan.records;
      this.maxTimestamp = Math.max(this.maxTimestamp, scan.index.maxTimestamp);
      at += scan.validBytes;
    }
  }

  /** Skips damaged bytes: what follows continues at `nextOffset` and `position`. */
  skipDamage(range: QuarantinedRange): void {
    this.damage.push(range);
    this.nextOffset = range.to;
    this.bytes = range.position + range.bytes;
  }

  entry(): SegmentEntry {
    const { slot, baseOffset, epoch, createdAt, begun } = this;
    return { slot, baseOffset, epoch, createdAt, begun, ...(this.sealed && { sealed: this.sealed }) };
  }

  info(): SegmentInfo {
    return {
      baseOffset: this.baseOffset,
      nextOffset: this.nextOffset,
      state: this.sealed ? "sealed" : "active",
      bytes: this.bytes,
      batches: this.batches,
      records: this.records,
      maxTimestamp: this.maxTimestamp,
      offsetEntries: offsetEntriesIn(this.sealed?.offsetIndexBytes ?? this.#offsetEntries.length),
      timeEntries: timeEntriesIn(this.sealed?.timeIndexBytes ?? this.#timeEntries.length),
      compacted: this.sealed?.compacted ?? false,
      createdAt: this.createdAt,
      sealedAt: this.sealed?.sealedAt,
      slot: this.slot,
      bodyPosition: BODY_AT,
    };
  }
}
