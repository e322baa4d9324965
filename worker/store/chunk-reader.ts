/**
 * Reads the rows of the chunk store, and knows which of them are damaged. When a row does not verify, its whole segment
 * is examined once. The result is remembered, for a sealed segment in the table as well.
 *
 * A row may also be missing. Rows of a segment follow each other; where compaction or an import has left holes, the
 * segment's row says how many bytes there are. What a reader finds between two rows is a hole or a loss by that.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { corruptRange } from "../../src/record/batch-walk.ts";
import { nextOffsetOf } from "../../src/record/format.ts";
import { concat } from "../../src/store/bytes.ts";
import type { FetchedBatches, QuarantinedRange } from "../../src/store/log-store.ts";
import { damageIn, hops, NOWHERE } from "./chunk-walk.ts";
import type { ChunkRow, ChunkTables, SegmentRow } from "./chunk-tables.ts";

const NOTHING = new Uint8Array(0);
const MISSING = "rows are missing";

/** The store's current list of segments. */
export interface SegmentsOf {
  readonly sealed: readonly SegmentRow[];
  readonly active: SegmentRow;
}

export class ChunkReader {
  readonly #tables: ChunkTables;
  readonly #kernel: Kernel;
  readonly #segments: () => SegmentsOf;
  #damage: QuarantinedRange[];
  /** Segments with holes that have all their bytes, and those that have not. */
  readonly #whole = new WeakMap<SegmentRow, boolean>();

  constructor(tables: ChunkTables, kernel: Kernel, segments: () => SegmentsOf) {
    this.#tables = tables;
    this.#kernel = kernel;
    this.#segments = segments;
    this.#damage = tables.damage();
  }

  get damage(): readonly QuarantinedRange[] {
    return this.#damage;
  }

  isDamaged(from: number, to: number): boolean {
    return this.#damage.some((range) => range.from < to && range.to > from);
  }

  /** Records below `offset` are gone, and their damage with them. */
  forgetBelow(offset: number): void {
    this.#damage = this.#damage.filter((range) => range.to > offset);
  }

  /** Offsets whose rows are gone, as the tables show when the log is opened. */
  lost(from: number, to: number): void {
    this.#note({ from, to, ...NOWHERE, reason: MISSING });
  }

  #note(range: QuarantinedRange): void {
    if (!this.#damage.some(({ from }) => from === range.from)) this.#damage.push(range);
  }

  /** CORRUPT_RANGE if what is missing in [from, to) was there: `from` is behind a row, `to` is the next one's. */
  checkHole(from: number, to: number): void {
    const lost = this.#lossIn(from, to);
    if (lost) throw corruptRange(lost);
  }

  #lossIn(
    from: number,
    to: number,
  ): { readonly from: number; readonly to: number; readonly reason: string } | undefined {
    const known = this.#damage.find((range) => range.from < to && range.to > from);
    if (known) return { from: Math.max(from, known.from), to: Math.min(to, known.to), reason: known.reason };
    const { sealed, active } = this.#segments();
    const segment = [...sealed, active].find(
      (each) => each.baseOffset < to && each.nextOffset > from && !(each.compacted && this.#isWhole(each)),
    );
    return (
      segment && { from: Math.max(from, segment.baseOffset), to: Math.min(to, segment.nextOffset), reason: MISSING }
    );
  }

  #isWhole(segment: SegmentRow): boolean {
    const known = this.#whole.get(segment);
    if (known !== undefined) return known;
    const isWhole = this.#tables.bytesOf(segment) === segment.bytes;
    this.#whole.set(segment, isWhole);
    return isWhole;
  }

  /** Verifies every byte of a row of the active segment. Returns the epochs of its good batches. */
  recover(row: ChunkRow, expected: number): number[] {
    if (row.baseOffset > expected) this.lost(expected, row.baseOffset);
    const found = damageIn(this.#kernel, row, false);
    for (const range of found) this.#note(range);
    return [...hops(row, false, found, Infinity)].map(({ header }) => header.leaderEpoch);
  }

  read(from: number, maxBytes: number, limit: number): FetchedBatches {
    const found: Uint8Array[] = [];
    let nextOffset = from;
    let expected = from;
    let room = maxBytes;
    for (const row of this.#tables.chunksAround(from)) {
      if (row.baseOffset >= limit) break;
      const lost = row.baseOffset > expected ? this.#lossIn(expected, row.baseOffset) : undefined;
      if (lost && found.length === 0) throw corruptRange(lost);
      if (lost) break;
      expected = row.nextOffset;
      const part = this.#part(row, from, room, limit, found.length === 0);
      if (part.bytes.length > 0) found.push(part.bytes);
      nextOffset = Math.max(nextOffset, part.nextOffset);
      room -= part.bytes.length;
      if (part.stopped) break;
    }
    return { bytes: found.length === 0 ? NOTHING : concat(found), nextOffset };
  }

  /**
   * The part of one row that goes into a read. Damage ends the read before it; if nothing is before it, the error is
   * the answer.
   */
  #part(row: ChunkRow, from: number, room: number, limit: number, isFirst: boolean) {
    let start = -1;
    let end = 0;
    let nextOffset = from;
    const answer = (stopped: boolean) => ({ bytes: row.bytes.subarray(Math.max(start, 0), end), nextOffset, stopped });
    try {
      for (const { header, position } of this.hops(row, from)) {
        const next = nextOffsetOf(header);
        if (next <= from) continue;
        if (header.baseOffset >= limit) return answer(true);
        const size = position + header.sizeBytes - Math.max(start, 0);
        const isOnly = start < 0 && isFirst;
        if (!isOnly && (start < 0 ? header.sizeBytes : size) > room) return answer(true);
        if (start < 0) start = position;
        end = position + header.sizeBytes;
        nextOffset = next;
      }
    } catch (thrown) {
      if (start < 0 && isFirst) throw thrown;
      return answer(true);
    }
    return answer(false);
  }

  /** A row's batches. Known damage that ends at or before `behind` is skipped; by default all known damage. */
  hops(row: ChunkRow, behind = Infinity) {
    const within = () => this.#damage.filter((range) => range.from < row.nextOffset && range.to > row.baseOffset);
    if (within().length === 0 && row.crc !== null && row.crc !== this.#kernel.crc32c(row.bytes))
      this.examine(row.baseOffset);
    return hops(row, this.#isCompacted(row.baseOffset), within(), behind);
  }

  #isCompacted(offset: number): boolean {
    return this.#segments().sealed.some(
      (segment) => segment.compacted && segment.baseOffset <= offset && offset < segment.nextOffset,
    );
  }

  /** Verifies every byte of the rows of the segment around `offset`, and remembers damage. */
  examine(offset: number): void {
    const { sealed, active } = this.#segments();
    const segment = sealed.find((each) => each.nextOffset > offset) ?? active;
    let expected = segment.baseOffset;
    for (const row of this.#tables.chunksOf(segment)) {
      const lost = row.baseOffset > expected && this.#lossIn(expected, row.baseOffset);
      expected = row.nextOffset;
      if (lost) this.lost(lost.from, lost.to);
      for (const range of damageIn(this.#kernel, row, segment.compacted)) {
        if (this.#damage.some(({ from, to }) => from === range.from && to === range.to)) continue;
        this.#damage.push(range);
        if (segment !== active) this.#tables.saveDamage(range);
      }
    }
    const lost = expected < segment.nextOffset && this.#lossIn(expected, segment.nextOffset);
    if (lost) this.lost(lost.from, lost.to);
  }
}
