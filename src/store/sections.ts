/** Writes and reads the sections behind a sealed segment's batches. footer.ts draws them. */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { concat, viewOf } from "./bytes.ts";
import type { SealedEntry } from "./catalog.ts";
import { BODY_CRC_AT, decodeFooter, encodeFooter, FOOTER_BYTES, SECTIONS_CRC_AT } from "./footer.ts";
import { leadsInside } from "./index-tools.ts";
import type { Indexes, Segment } from "./segment.ts";
import { BODY_AT } from "./slot-layout.ts";
import { readExactly, type Volume } from "./volume.ts";

export interface SealOptions {
  readonly nextOffset: number;
  readonly sealedAt: number;
  readonly compacted: boolean;
  /** The body's CRC if the segment is compacted, otherwise 0. */
  readonly bodyCrc: number;
  readonly producers: Uint8Array;
  readonly previousFooterCrc: number;
  readonly epoch: number;
  /**
   * A text that names this segment and no other: two segments of the same shape may be sealed in the same millisecond.
   */
  readonly owner: string;
}

/**
 * Writes the sections behind the segment's batches and returns what the catalog must say. Does not flush. Crash: the
 * segment is still active in the catalog, its walk ends at the first section, and sealing starts again.
 */
export async function writeSections(
  volume: Pick<Volume, "write">,
  kernel: Kernel,
  segment: Segment,
  options: SealOptions,
): Promise<SealedEntry> {
  const { baseOffset, bytes, batches, records, firstTimestamp, maxTimestamp, indexes } = segment;
  const { producers, previousFooterCrc, epoch, bodyCrc, owner: words, ...sealing } = options;
  const owner = kernel.crc32c(new TextEncoder().encode(words));
  const sections = concat([indexes.offset, indexes.time, producers]);
  const lengths = {
    offsetIndexBytes: indexes.offset.length,
    timeIndexBytes: indexes.time.length,
    producersBytes: producers.length,
  };
  const said = { ...sealing, ...lengths, batches, records, maxTimestamp };
  const sectionsCrc = kernel.crc32c(sections);
  const footer = encodeFooter(kernel, {
    ...said,
    baseOffset,
    bodyBytes: bytes,
    firstTimestamp,
    bodyCrc,
    sectionsCrc,
    previousFooterCrc,
    epoch,
    owner,
  });
  await volume.write(segment.slot, BODY_AT + bytes, concat([sections, footer.bytes]));
  return { ...said, bytes, footerCrc: footer.crc };
}

export interface Sections {
  /** For a compacted segment: the CRC-32C of the body as it was written. */
  readonly bodyCrc: number;
  readonly indexes: Indexes;
  readonly producers: Uint8Array;
}

/** The sections of a sealed segment. Undefined if they are not those that the catalog committed. */
export async function readSections(volume: Volume, kernel: Kernel, segment: Segment): Promise<Sections | undefined> {
  const sealed = segment.sealed;
  if (!sealed) return undefined;
  const { offsetIndexBytes, timeIndexBytes, producersBytes } = sealed;
  const length = offsetIndexBytes + timeIndexBytes + producersBytes;
  const bytes = await readExactly(volume, segment.slot, BODY_AT + sealed.bytes, length + FOOTER_BYTES);
  const view = viewOf(bytes);
  // The catalog holds the footer's checksum. A footer with that checksum is the one that was written.
  const footerCrc = kernel.crc32c(bytes.subarray(length, length + FOOTER_BYTES - 4));
  if (footerCrc !== sealed.footerCrc || footerCrc !== view.getUint32(length + FOOTER_BYTES - 4)) return undefined;
  if (kernel.crc32c(bytes.subarray(0, length)) !== view.getUint32(length + SECTIONS_CRC_AT)) return undefined;
  const offset = bytes.subarray(0, offsetIndexBytes);
  if (!leadsInside(offset, sealed.bytes)) return undefined;
  return {
    bodyCrc: view.getUint32(length + BODY_CRC_AT),
    indexes: { offset, time: bytes.subarray(offsetIndexBytes, offsetIndexBytes + timeIndexBytes) },
    producers: bytes.subarray(offsetIndexBytes + timeIndexBytes, length),
  };
}

/**
 * Whether the footer is the one that the catalog committed. "ours": it is. "other": it is whole but another segment's.
 * "unknown": it can't be read.
 */
export async function whoseFooter(
  volume: Volume,
  kernel: Kernel,
  segment: Segment,
): Promise<"ours" | "other" | "unknown"> {
  const { bytes, offsetIndexBytes, timeIndexBytes, producersBytes, footerCrc } = segment.sealed!;
  const footer = await readExactly(
    volume,
    segment.slot,
    BODY_AT + bytes + offsetIndexBytes + timeIndexBytes + producersBytes,
    FOOTER_BYTES,
  );
  if (!decodeFooter(kernel, footer)) return "unknown";
  return kernel.crc32c(footer.subarray(0, FOOTER_BYTES - 4)) === footerCrc ? "ours" : "other";
}

/** CRC-32C of a segment's whole body, read in windows of 1 MiB. */
export async function bodyCrc(volume: Volume, kernel: Kernel, segment: Segment): Promise<number> {
  const window = new Uint8Array(Math.min(1024 * 1024, segment.bytes));
  let crc = 0;
  for (let at = 0; at < segment.bytes; at += window.length) {
    const part = window.subarray(0, Math.min(window.length, segment.bytes - at));
    const count = await volume.read(segment.slot, BODY_AT + at, part);
    if (count !== part.length) throw new TidemarkError("STORAGE_FAILED", "short read", { slot: segment.slot });
    crc = kernel.crc32c(part, crc);
  }
  return crc;
}
