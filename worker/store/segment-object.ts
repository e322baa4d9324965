/**
 * Encodes a sealed segment for object storage as one object: byte for byte the segment of docs/format.md, with indexes
 * and footer.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { concat } from "../../src/store/bytes.ts";
import { writeSections } from "../../src/store/sections.ts";
import { Segment } from "../../src/store/segment.ts";
import type { ArchiveEntry } from "./archive-tables.ts";

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

/** A segment's whole bytes, and its entry for the table. */
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
  const sealed = await writeSections(keep, kernel, segment, {
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
