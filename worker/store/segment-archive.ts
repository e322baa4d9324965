/**
 * Reads sealed segments in object storage (segment-object.ts writes them). It uses the segmented store's own reader
 * over a volume whose slots are objects (object-volume.ts): first the index, which is kept in memory and is small, then
 * one ranged GET of whole batches. So a segment is verified here by the same code as in a browser.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { nextOffsetOf } from "../../src/record/format.ts";
import type { FetchedBatches } from "../../src/store/log-store.ts";
import { Segment } from "../../src/store/segment.ts";
import { segmentHops } from "../../src/store/hops.ts";
import { SegmentReader } from "../../src/store/segment-reader.ts";
import type { ArchiveEntry } from "./archive-tables.ts";
import { type ObjectSource, ObjectVolume } from "./object-volume.ts";

/** Segments whose indexes are kept in memory; each takes about 20 KiB. */
const LOADED_MAX = 32;

let slots = 0;

/** Opens segments and reads in them. Archives may share segments, which hold nothing but indexes. */
export class Archive {
  readonly #volume: ObjectVolume;
  readonly #reader: SegmentReader;

  constructor(source: ObjectSource | undefined, kernel: Kernel, loadedMax = LOADED_MAX) {
    this.#volume = new ObjectVolume(source);
    this.#reader = new SegmentReader(this.#volume, kernel, loadedMax);
  }

  open(entry: ArchiveEntry): Segment {
    const segment = new Segment({ ...entry, slot: ++slots, begun: 0 });
    this.attach(segment, entry);
    return segment;
  }

  attach(segment: Segment, entry: ArchiveEntry): void {
    this.#volume.objects.set(segment.slot, entry);
  }

  entryOf(segment: Segment): ArchiveEntry | undefined {
    return this.#volume.objects.get(segment.slot);
  }

  /** The segment is no longer part of the log. A read that is under way notices this. */
  retire(segment: Segment): void {
    segment.retired = true;
    this.#reader.forget(segment);
    this.#volume.objects.delete(segment.slot);
  }

  /** As LogStore.read, within one segment. Undefined if it has nothing at `from` or behind it. */
  async read(
    segment: Segment,
    from: number,
    maxBytes: number,
    limit: number,
    verify = false,
  ): Promise<FetchedBatches | undefined> {
    await this.#reader.prepare(segment);
    if (verify && !segment.examined && !segment.retired) await this.#reader.examine(segment);
    return segment.retired ? undefined : this.#reader.read(segment, { from, maxBytes, limit });
  }

  /** Base offset of the first batch behind `start` that has a timestamp of at least `timestamp`. */
  async offsetForTimestamp(segment: Segment, timestamp: number, start: number): Promise<number | undefined> {
    await this.#reader.prepare(segment);
    for await (const { header } of segmentHops(this.#reader, segment, 0)) {
      if (header.maxTimestamp >= timestamp && nextOffsetOf(header) > start) return Math.max(header.baseOffset, start);
    }
    return undefined;
  }

  async *headers(segment: Segment) {
    await this.#reader.prepare(segment);
    for await (const { header } of segmentHops(this.#reader, segment, 0)) yield header;
  }
}
