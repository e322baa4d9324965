/**
 * Sealed segments in object storage: one R2 object each, byte for byte the segment of docs/format.md, with indexes and footer.
 * Reading is the segmented store's own reader over a volume whose slots are R2 objects: index first (kept small in memory), then
 * one ranged GET of whole batches. So what checks a segment in a browser checks it here.
 *
 *   volume      slot n, position 4,096 + x   ──▶   object of that number, byte x
 *
 * An object that is missing is CORRUPT_RANGE over the whole segment, never a gap that nobody sees. Object storage that does not
 * answer is STORAGE_FAILED: ask again.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { nextOffsetOf } from "../../src/record/format.ts";
import { concat } from "../../src/store/bytes.ts";
import type { FetchedBatches } from "../../src/store/log-store.ts";
import { writeSections } from "../../src/store/sections.ts";
import { Segment } from "../../src/store/segment.ts";
import { corruptRange, SegmentReader } from "../../src/store/segment-reader.ts";
import { BODY_AT } from "../../src/store/slot.ts";
import type { Volume } from "../../src/store/volume.ts";
import type { ArchiveEntry } from "./archive-tables.ts";

/** Where an object's bytes come from: R2, or a cache before it. Undefined: there is no such object. */
export interface ObjectSource {
  range(key: string, offset: number, length: number): Promise<Uint8Array | undefined>;
}

/** Segments whose indexes stay in memory: some 20 KiB each. */
const LOADED_MAX = 32;

const refuse = (): never => {
  throw new TidemarkError("INTERNAL", "objects are immutable");
};

/** A read-only volume; slots are given out as segments are opened. */
class ObjectVolume implements Volume {
  readonly info = { engine: "memory", durability: "device" } as const;
  readonly slotBytes = Infinity;
  readonly objects = new Map<number, ArchiveEntry>();

  constructor(readonly source: ObjectSource | undefined) {}

  get slotCount(): number {
    return this.objects.size;
  }

  async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    const entry = this.objects.get(slot);
    // Retired meanwhile: whoever reads looks at that before it looks at the bytes.
    if (!entry) return target.length;
    const { key, baseOffset, sealed } = entry;
    if (!this.source) throw new TidemarkError("STORAGE_FAILED", "the bucket is not bound", { baseOffset });
    const { source } = this;
    const damaged = (reason: string) =>
      corruptRange({
        from: baseOffset,
        to: sealed.nextOffset,
        slot: undefined,
        position: 0,
        bytes: sealed.bytes,
        reason,
      });
    const bytes = await source.range(key, position - BODY_AT, target.length).catch(async (thrown: unknown) => {
      // A range behind the object's end is refused as well: that object is shorter than the one that was put.
      const answers = await source.range(key, 0, 1).catch(() => undefined);
      throw answers
        ? damaged("OTHER_OBJECT")
        : new TidemarkError("STORAGE_FAILED", "object storage did not answer", { baseOffset }, { cause: thrown });
    });
    if (!bytes) throw damaged("OBJECT_MISSING");
    if (bytes.length < target.length) throw damaged("OTHER_OBJECT");
    target.set(bytes.subarray(0, target.length));
    return target.length;
  }

  addSlots = refuse;
  write = refuse;
  handOver = refuse;
  flush = refuse;
  close = refuse;
}

let slots = 0;

/** Opens segments and reads in them. Segments may be shared between archives: they hold nothing but indexes. */
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

  /** No longer part of the log. A read that is under way finds out. */
  retire(segment: Segment): void {
    segment.retired = true;
    this.#reader.forget(segment);
    this.#volume.objects.delete(segment.slot);
  }

  /** As LogStore.read, within one segment; undefined when nothing of it stands at `from` or behind. */
  async read(
    segment: Segment,
    from: number,
    maxBytes: number,
    limit: number,
    verify = false,
  ): Promise<FetchedBatches | undefined> {
    await this.#reader.prepare(segment);
    if (verify && !segment.examined && !segment.retired) await this.#reader.examine(segment);
    return segment.retired ? undefined : this.#reader.read(segment, from, maxBytes, limit);
  }

  /** Base offset of the first batch behind `start` that reaches `timestamp`. */
  async offsetForTimestamp(segment: Segment, timestamp: number, start: number): Promise<number | undefined> {
    await this.#reader.prepare(segment);
    for await (const { header } of this.#reader.hops(segment, 0)) {
      if (header.maxTimestamp >= timestamp && nextOffsetOf(header) > start) return Math.max(header.baseOffset, start);
    }
    return undefined;
  }

  async *headers(segment: Segment) {
    await this.#reader.prepare(segment);
    for await (const { header } of this.#reader.hops(segment, 0)) yield header;
  }
}

export interface SegmentToWrite {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly epoch: number;
  readonly createdAt: number;
  readonly sealedAt: number;
  readonly compacted: boolean;
  readonly body: Uint8Array;
  readonly producers: Uint8Array;
  readonly previousFooterCrc: number;
}

/** A segment's whole bytes, and what has to be remembered of them. */
export async function encodeSegment(
  kernel: Kernel,
  key: string,
  wanted: SegmentToWrite,
): Promise<{ readonly bytes: Uint8Array; readonly entry: ArchiveEntry }> {
  const { baseOffset, nextOffset, epoch, createdAt, sealedAt, body, compacted, producers, previousFooterCrc } = wanted;
  const segment = new Segment({ slot: 0, baseOffset, epoch, createdAt, begun: 0 });
  segment.add(kernel, body);
  let sections = new Uint8Array(0);
  const keep = {
    write: async (_slot: number, _position: number, bytes: Uint8Array) => void (sections = bytes.slice()),
  };
  const sealed = await writeSections(keep as unknown as Volume, kernel, segment, {
    nextOffset,
    sealedAt: Math.trunc(sealedAt),
    compacted,
    bodyCrc: compacted ? kernel.crc32c(body) : 0,
    producers,
    previousFooterCrc,
    epoch,
    owner: key,
  });
  return { bytes: concat([body, sections]), entry: { key, slot: 0, baseOffset, epoch, createdAt, sealed } };
}
