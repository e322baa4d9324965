/**
 * Reads the rows of the chunk store, and knows which of them are damaged. When a row does not verify, its whole segment
 * is examined once. The result is remembered, for a sealed segment in the table as well.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { nextOffsetOf } from "../../src/record/format.ts";
import { concat } from "../../src/store/bytes.ts";
import type { FetchedBatches, QuarantinedRange } from "../../src/store/log-store.ts";
import { damageIn, hops } from "./chunk-walk.ts";
import type { ChunkRow, ChunkTables, SegmentRow } from "./chunk-tables.ts";

const NOTHING = new Uint8Array(0);

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

  /** Verifies every byte of a row of the active segment. Returns the epochs of its good batches. */
  recover(row: ChunkRow): number[] {
    const found = damageIn(this.#kernel, row, false);
    for (const range of found) if (!this.#damage.some(({ from }) => from === range.from)) this.#damage.push(range);
    return [...hops(row, false, found, Infinity)].map(({ header }) => header.leaderEpoch);
  }

  read(from: number, maxBytes: number, limit: number): FetchedBatches {
    const found: Uint8Array[] = [];
    let nextOffset = from;
    let room = maxBytes;
    for (const row of this.#tables.chunksAround(from)) {
      if (row.baseOffset >= limit) break;
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
    for (const row of this.#tables.chunksOf(segment)) {
      for (const range of damageIn(this.#kernel, row, segment.compacted)) {
        if (this.#damage.some(({ from, to }) => from === range.from && to === range.to)) continue;
        this.#damage.push(range);
        if (segment !== active) this.#tables.saveDamage(range);
      }
    }
  }
}
