/**
 * Reads one segment: finds the batch by the sparse index, hops over batch headers, returns whole batches.
 *
 *   index entry ≤ from        batch that holds `from`          limit or maxBytes
 *        ▼                            ▼                              ▼
 *   ─────┬────────┬────────┬──────────┬─────────┬──────────┬─────────┬────
 *        │ hop    │ hop    │ hop      │ returned bytes                │
 *
 * A hop checks what no batch checksum covers (magic, length, continuity of offsets). If that fails, the whole segment
 * is walked once with checksums, and damaged ranges are quarantined.
 */
import { assert, TidemarkError } from "../errors.ts";
import { type Kernel, INDEX_INTERVAL_BYTES } from "../kernel/types.ts";
import { corruptRange, isPossible } from "../record/batch-walk.ts";
import { BATCH_HEADER_BYTES, type BatchHeader, nextOffsetOf, readHeader } from "../record/format.ts";
import { floorEntry } from "./index-entries.ts";
import type { FetchedBatches } from "./log-store.ts";
import { RecentMap } from "./recent-map.ts";
import type { Segment } from "./segment.ts";
import { BODY_AT } from "./slot-layout.ts";
import type { Whose } from "./slot.ts";
import { readExactly, type Volume } from "./volume.ts";

/** What must be where a read begins. No checksum covers a base offset, so the index or the batch before confirms it. */
interface Start {
  /** Body position. */
  readonly position: number;
  /** Base offset of the batch there; -1 if it is not known. */
  readonly expected: number;
  /** Last offset of the batch there; -1 if it is not known. */
  readonly last: number;
}

interface Sought {
  readonly from: number;
  readonly maxBytes: number;
  readonly limit: number;
  /** For the bytes, if they fit. */
  readonly memory?: Uint8Array | undefined;
}

interface Wanted extends Start, Sought {
  /** Body position of the segment's end. */
  readonly end: number;
}

export class SegmentReader {
  /** Sealed segments whose indexes are in memory. */
  readonly #loaded = new RecentMap<Segment, true>();

  constructor(
    readonly volume: Volume,
    readonly kernel: Kernel,
    /** How many sealed segments keep their indexes in memory. Those of an 8 MiB segment take at most 40 KiB. */
    readonly loadedMax = 256,
    /** Whose segment a slot holds, by what the slot says of itself. Objects in object storage say nothing. */
    readonly whoseSlot: (segment: Segment) => Promise<Whose> = async () => "unknown",
    /** Gives other work a turn after each 2 MiB of a segment that is examined. */
    readonly breathe?: (() => Promise<void>) | undefined,
  ) {}

  /** Makes a sealed segment's indexes ready. Rebuilds them if their section is damaged. */
  async prepare(segment: Segment): Promise<void> {
    if (!segment.sealed) return;
    if (segment.loaded) {
      this.#loaded.put(segment, true);
      return;
    }
    const { loadIndexes } = await import("./examine.ts");
    await loadIndexes(this, segment);
    this.#loaded.put(segment, true);
    this.#loaded.dropAbove(this.loadedMax, (_, oldest) => (oldest.loaded = undefined));
  }

  forget(segment: Segment): void {
    this.#loaded.delete(segment);
  }

  /**
   * Walks the segment's durable bytes with checksums. Replaces its list of damage and, if it is sealed, its indexes.
   */
  async examine(segment: Segment, durable?: { readonly bytes: number; readonly nextOffset: number }): Promise<void> {
    const { examine } = await import("./examine.ts");
    await examine(this, segment, durable);
  }

  /** Start of the last indexed batch that ends at or before `offset`; 0 if there is none. */
  floor(segment: Segment, offset: number, steps?: number[]): number {
    return this.#floor(segment, offset, steps).position;
  }

  #floor(segment: Segment, offset: number, steps?: number[]): Start {
    const entry = floorEntry(this.kernel, segment.indexes.offset, offset - segment.baseOffset, steps);
    if (!entry) return { position: 0, expected: segment.baseOffset, last: -1 };
    return { position: entry.position, expected: -1, last: segment.baseOffset + entry.relativeOffset };
  }

  /**
   * Whole batches from the one that contains `from`, or the first behind it in this segment. Undefined if there is none
   * before `limit`. CORRUPT_RANGE if `from` is damaged.
   */
  async read(segment: Segment, sought: Sought): Promise<FetchedBatches | undefined> {
    const { from, maxBytes, memory } = sought;
    // The active segment may grow during the read; this read ends where the segment ended at its start.
    const end = segment.bytes;
    const hint = segment.hint?.offset === from ? segment.hint.position : undefined;
    let start = hint === undefined ? this.#floor(segment, from) : { position: hint, expected: from, last: -1 };
    // At least one header must be read, however small maxBytes is: it says how large the batch is.
    let size = Math.max(maxBytes, BATCH_HEADER_BYTES) + (hint === undefined ? 2 * INDEX_INTERVAL_BYTES : 0);
    // Each turn of the loop gets nearer to `from`, or makes the window large enough for one more whole batch.
    while (start.position < end) {
      const { position } = start;
      throwIfDamaged(segment, from);
      const length = Math.min(size, end - position);
      const bytes = await readExactly(this.volume, segment.slot, BODY_AT + position, length, memory);
      if (segment.retired) return undefined;
      const slice = this.#slice(segment, bytes, { ...start, ...sought, end });
      if (slice === "damaged") {
        await this.reexamine(segment, from);
        start = this.#floor(segment, from);
        continue;
      }
      if (slice.end > slice.start) {
        segment.hint = { offset: slice.nextOffset, position: position + slice.end };
        return { bytes: bytes.subarray(slice.start, slice.end), nextOffset: slice.nextOffset };
      }
      if (slice.done) return undefined;
      assert(slice.end > 0 || slice.needs > size, "a read makes progress");
      start = { position: position + slice.end, expected: slice.expected, last: slice.end > 0 ? -1 : start.last };
      size = Math.max(size, slice.needs);
    }
    throwIfDamaged(segment, from);
    return undefined;
  }

  /** Which part of `bytes` to return. If nothing was found: how far to move on, and how much to read at least. */
  #slice(segment: Segment, bytes: Uint8Array, wanted: Wanted) {
    const { position, end, from, maxBytes, limit, last } = wanted;
    const dense = !segment.sealed?.compacted;
    let start = -1;
    let at = 0;
    let nextOffset = from;
    let { expected } = wanted;
    let needs = 0;
    let done = false;
    while (at < bytes.length) {
      // Checks the whole range, not only its start: an index may point into the middle of it.
      const damaged = segment.damage.find(
        (range) => position + at >= range.position && position + at < range.position + range.bytes,
      );
      if (damaged) {
        if (start >= 0) break;
        at = damaged.position + damaged.bytes - position;
        expected = damaged.to;
        continue;
      }
      needs = BATCH_HEADER_BYTES;
      if (position + at + needs > end) return "damaged" as const;
      if (at + BATCH_HEADER_BYTES > bytes.length) break;
      const header = readHeader(bytes, at);
      const next = nextOffsetOf(header);
      needs = header.sizeBytes;
      const isIndexed = at > 0 || last < 0 || next - 1 === last;
      if (!isIndexed || !plausible(segment, header, next, expected, dense) || position + at + needs > end)
        return "damaged" as const;
      if (header.baseOffset >= limit) {
        done = true;
        break;
      }
      // Of a batch before `from` only the header is read, however large the batch is.
      if (start < 0 && next <= from) needs = 0;
      else {
        if (at + header.sizeBytes > bytes.length) break;
        if (start < 0) start = at;
        else if (at + header.sizeBytes - start > maxBytes) break;
      }
      at += header.sizeBytes;
      expected = next;
      nextOffset = next;
    }
    return { start: start < 0 ? at : start, end: at, nextOffset, expected, needs, done };
  }

  /**
   * A hop failed, so the segment is examined for damage. If there is none, the bytes changed between two reads, and the
   * read fails.
   */
  async reexamine(segment: Segment, from: number): Promise<void> {
    const known = segment.examined ? segment.damage.length : -1;
    await this.examine(segment);
    throwIfDamaged(segment, from);
    if (segment.damage.length <= known) {
      throw new TidemarkError("STORAGE_FAILED", "reads of one place differ", { slot: segment.slot, from });
    }
  }
}

/** Whether a batch with this header may stand behind one that ends at `expected`; -1 if that is not known. */
export function plausible(
  segment: Segment,
  header: BatchHeader,
  next: number,
  expected: number,
  dense: boolean,
): boolean {
  return (
    isPossible(header, Infinity) &&
    header.baseOffset >= Math.max(segment.baseOffset, expected) &&
    next <= segment.nextOffset &&
    (!dense || expected < 0 || header.baseOffset === expected)
  );
}

/** Damage is an answer of its own: the reader learns the range and may continue behind it. */
export function throwIfDamaged(segment: Segment, offset: number): void {
  const range = segment.damage.find((damage) => offset >= damage.from && offset < damage.to);
  if (range) throw corruptRange(range);
}
