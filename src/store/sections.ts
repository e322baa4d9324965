/** Writing and reading the sections behind a sealed segment's batches; footer.ts draws them. */
import { TidemarkError } from "../errors.ts";
import { type Kernel, OFFSET_ENTRY_BYTES } from "../kernel/types.ts";
import { concat, viewOf } from "./bytes.ts";
import type { SealedEntry } from "./catalog.ts";
import { decodeFooter, encodeFooter, type Footer, FOOTER_BYTES } from "./footer.ts";
import type { Indexes, Segment } from "./segment.ts";
import { BODY_AT } from "./slot.ts";
import { readExactly, type Volume } from "./volume.ts";

/** Bytes that the sections of a body of `bodyBytes` may take: an entry of each index per 4,096 bytes, and the producers. */
export function sectionsBytesMax(bodyBytes: number, producersBytes: number): number {
  return Math.ceil(bodyBytes / 4096 + 1) * 20 + producersBytes + FOOTER_BYTES;
}

export interface SealOptions {
  readonly nextOffset: number;
  readonly sealedAt: number;
  readonly compacted: boolean;
  readonly producers: Uint8Array;
  readonly previousFooterCrc: number;
  readonly epoch: number;
}

/**
 * Writes the sections behind the segment's batches and returns what the catalog must say. Not flushed. Crash: the
 * segment is still active in the catalog, its walk ends at the first section, and sealing starts again.
 */
export async function writeSections(volume: Volume, kernel: Kernel, segment: Segment, options: SealOptions): Promise<SealedEntry> {
  const { offset, time } = segment.indexes;
  const sections = concat([offset, time, options.producers]);
  const footer = encodeFooter(kernel, {
    compacted: options.compacted,
    baseOffset: segment.baseOffset,
    nextOffset: options.nextOffset,
    bodyBytes: segment.bytes,
    offsetIndexBytes: offset.length,
    timeIndexBytes: time.length,
    producersBytes: options.producers.length,
    batches: segment.batches,
    records: segment.records,
    firstTimestamp: segment.firstTimestamp,
    maxTimestamp: segment.maxTimestamp,
    sealedAt: options.sealedAt,
    bodyCrc: segment.bodyCrc,
    sectionsCrc: kernel.crc32c(sections),
    previousFooterCrc: options.previousFooterCrc,
    epoch: options.epoch,
  });
  await volume.write(segment.slot, BODY_AT + segment.bytes, concat([sections, footer.bytes]));
  return {
    nextOffset: options.nextOffset,
    bytes: segment.bytes,
    batches: segment.batches,
    records: segment.records,
    maxTimestamp: segment.maxTimestamp,
    sealedAt: options.sealedAt,
    compacted: options.compacted,
    offsetIndexBytes: offset.length,
    timeIndexBytes: time.length,
    producersBytes: options.producers.length,
    footerCrc: footer.crc,
  };
}

export interface Sections {
  readonly footer: Footer;
  readonly indexes: Indexes;
  readonly producers: Uint8Array;
}

/** The sections of a sealed segment, or undefined where they are not those that the catalog committed. */
export async function readSections(volume: Volume, kernel: Kernel, segment: Segment): Promise<Sections | undefined> {
  const sealed = segment.sealed;
  if (!sealed) return undefined;
  const { offsetIndexBytes, timeIndexBytes, producersBytes } = sealed;
  const length = offsetIndexBytes + timeIndexBytes + producersBytes;
  const bytes = await readExactly(volume, segment.slot, BODY_AT + sealed.bytes, length + FOOTER_BYTES);
  const footer = decodeFooter(kernel, bytes.subarray(length));
  if (!footer || kernel.crc32c(bytes.subarray(length, length + FOOTER_BYTES - 4)) !== sealed.footerCrc) return undefined;
  if (kernel.crc32c(bytes.subarray(0, length)) !== footer.sectionsCrc) return undefined;
  // An index that leads out of the body is none, whoever wrote its checksum.
  const view = viewOf(bytes);
  for (let at = 4; at < offsetIndexBytes; at += OFFSET_ENTRY_BYTES) if (view.getUint32(at) >= sealed.bytes) return undefined;
  return {
    footer,
    indexes: {
      offset: bytes.subarray(0, offsetIndexBytes),
      time: bytes.subarray(offsetIndexBytes, offsetIndexBytes + timeIndexBytes),
    },
    producers: bytes.subarray(offsetIndexBytes + timeIndexBytes, length),
  };
}

/** CRC-32C of a segment's whole body, in windows of 1 MiB. */
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
