/**
 * The sealed segments of one log that are in object storage, by base offset: where their records are read, and what
 * Workers are told of them. The log's own list of sealed segments is the truth; this only says who has the bytes.
 */
import type { QuarantinedRange } from "../../src/store/log-store.ts";
import type { Segment } from "../../src/store/segment.ts";
import type { ArchiveEntry } from "./archive-tables.ts";
import type { SegmentRow } from "./chunk-tables.ts";
import type { Archive } from "./segment-archive.ts";

export class MovedSegments {
  readonly #archive: Archive;
  readonly #segments = new Map<number, Segment>();

  constructor(archive: Archive, kept: readonly ArchiveEntry[]) {
    this.#archive = archive;
    for (const entry of kept) this.add(entry);
  }

  add(entry: ArchiveEntry): void {
    this.#segments.set(entry.baseOffset, this.#archive.open(entry));
  }

  at(baseOffset: number): Segment | undefined {
    return this.#segments.get(baseOffset);
  }

  get damage(): QuarantinedRange[] {
    return [...this.#segments.values()].flatMap(({ damage }) => damage);
  }

  /** Offsets of segments that are there, and that the log's own list does not have, or not as they are. */
  strays(sealed: readonly SegmentRow[]): [from: number, to: number][] {
    return [...this.#segments.values()].flatMap(({ baseOffset, nextOffset }) => {
      const row = sealed.find((each) => each.baseOffset === baseOffset);
      return row?.nextOffset === nextOffset ? [] : [[baseOffset, nextOffset]];
    });
  }

  /** Segments that begin in [from, to) are no longer part of the log. Their rows are doomed already. */
  retire(from: number, to: number): void {
    for (const [baseOffset, segment] of this.#segments) {
      if (baseOffset < from || baseOffset >= to) continue;
      this.#archive.retire(segment);
      this.#segments.delete(baseOffset);
    }
  }

  /** Who has the records at `at`: a segment in object storage, or the rows up to the next such segment. */
  place(
    sealed: readonly SegmentRow[],
    at: number,
    limit: number,
  ): { readonly moved: Segment | undefined; readonly end: number } {
    const index = sealed.findIndex(({ nextOffset }) => nextOffset > at);
    const first = sealed[index];
    const moved = first && this.at(first.baseOffset);
    if (moved) return { moved, end: Math.min(limit, first.nextOffset) };
    const next = first && sealed.slice(index).find(({ baseOffset }) => this.#segments.has(baseOffset));
    return { moved, end: Math.min(limit, next?.baseOffset ?? limit) };
  }

  /**
   * What a reader needs to know of the segments here, from the one that contains `offset` on, as far as they follow
   * each other without a gap.
   */
  entriesFrom(sealed: readonly SegmentRow[], offset: number, limit: number): ArchiveEntry[] {
    const found: ArchiveEntry[] = [];
    for (const { baseOffset, nextOffset } of sealed) {
      if (nextOffset <= offset) continue;
      const moved = this.at(baseOffset);
      const entry = moved && this.#archive.entryOf(moved);
      if (!entry || moved.damage.length > 0 || found.length >= limit || (found.length === 0 && baseOffset > offset))
        break;
      found.push(entry);
    }
    return found;
  }
}
