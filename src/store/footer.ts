/**
 * What sealing writes behind a segment's batches: the indexes, the producers' snapshot, and a footer that proves that
 * the segment is whole.
 *
 *   ┌──────────────────┬──────────────────┬─────────────────┬───────────────────┬─────────────┐
 *   │ batches          │ offset index     │ time index      │ producers         │ footer 104 B│
 *   │ (body, Kafka's   │ 8 B an entry     │ 12 B an entry   │ opaque: the log's │             │
 *   │ bytes)           │                  │                 │ snapshot as of    │             │
 *   │                  │ (index-entries.ts draws both)      │ the segment's end │             │
 *   └──────────────────┴──────────────────┴─────────────────┴───────────────────┴─────────────┘
 *
 *   footer  0 "TIDEFOOT" · 8 u32 version · 12 u32 flags (1 compacted) · 16 i64 base offset · 24 i64 next offset
 *           · 32 u32 body bytes · 36 u32 offset index bytes · 40 u32 time index bytes · 44 u32 producers bytes
 *           · 48 u32 batches · 52 u32 records · 56 i64 first timestamp · 64 i64 max timestamp · 72 i64 sealed at
 *           · 80 u32 CRC-32C of the body, when compacted · 84 u32 CRC-32C of the two indexes and the producers
 *           · 88 u32 footer CRC of the segment before (0: none known) · 92 i32 epoch · 96 u32 owner: CRC-32C
 *           of whose segment it is, so that no two have the same footer; 0 where no version knew
 *           · 100 u32 CRC-32C of 0 … 99
 *
 * Nothing in it names a slot or a volume: the same bytes may be in object storage or in another browser. The indexes
 * are advisory: if their checksum is bad they are rebuilt from the batches.
 */
import { assert } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { getSafe64, viewOf } from "./bytes.ts";
import { FOOTER_BYTES } from "./sections-room.ts";

const MAGIC = 0x54494445464f4f54n; // "TIDEFOOT"
const VERSION = 1;
const FLAG_COMPACTED = 1;
export const BODY_CRC_AT = 80;
export const SECTIONS_CRC_AT = 84;
const CRC_AT = FOOTER_BYTES - 4;
export { FOOTER_BYTES };

export interface Footer {
  readonly compacted: boolean;
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly bodyBytes: number;
  readonly offsetIndexBytes: number;
  readonly timeIndexBytes: number;
  readonly producersBytes: number;
  readonly batches: number;
  readonly records: number;
  readonly firstTimestamp: number;
  readonly maxTimestamp: number;
  readonly sealedAt: number;
  readonly bodyCrc: number;
  readonly sectionsCrc: number;
  readonly previousFooterCrc: number;
  readonly epoch: number;
  readonly owner: number;
}

/** The footer's bytes. Its own CRC is the last field; the catalog and the next footer identify the segment by it. */
export function encodeFooter(kernel: Kernel, footer: Footer): { readonly bytes: Uint8Array; readonly crc: number } {
  assert(isPossible(footer), "the footer to be written is valid");
  const bytes = new Uint8Array(FOOTER_BYTES);
  const view = viewOf(bytes);
  view.setBigUint64(0, MAGIC);
  view.setUint32(8, VERSION);
  view.setUint32(12, footer.compacted ? FLAG_COMPACTED : 0);
  view.setBigInt64(16, BigInt(footer.baseOffset));
  view.setBigInt64(24, BigInt(footer.nextOffset));
  view.setUint32(32, footer.bodyBytes);
  view.setUint32(36, footer.offsetIndexBytes);
  view.setUint32(40, footer.timeIndexBytes);
  view.setUint32(44, footer.producersBytes);
  view.setUint32(48, footer.batches);
  view.setUint32(52, footer.records);
  view.setBigInt64(56, BigInt(footer.firstTimestamp));
  view.setBigInt64(64, BigInt(footer.maxTimestamp));
  view.setBigInt64(72, BigInt(Math.trunc(footer.sealedAt)));
  view.setUint32(BODY_CRC_AT, footer.bodyCrc);
  view.setUint32(SECTIONS_CRC_AT, footer.sectionsCrc);
  view.setUint32(88, footer.previousFooterCrc);
  view.setInt32(92, footer.epoch);
  view.setUint32(96, footer.owner);
  const crc = kernel.crc32c(bytes.subarray(0, CRC_AT));
  view.setUint32(CRC_AT, crc);
  return { bytes, crc };
}

/** Offsets and times are safe integers and in order. Checked before a footer is written, and when one is read. */
const isPossible = ({ baseOffset, nextOffset, maxTimestamp, firstTimestamp }: Footer): boolean =>
  baseOffset >= 0 &&
  nextOffset >= baseOffset &&
  [baseOffset, nextOffset, maxTimestamp, firstTimestamp].every(Number.isSafeInteger);

/**
 * The footer in these 104 bytes. Undefined if they are no footer, or damaged. For readers that have a segment but no
 * catalog.
 */
export function decodeFooter(kernel: Kernel, bytes: Uint8Array): Footer | undefined {
  if (bytes.length !== FOOTER_BYTES) return undefined;
  const view = viewOf(bytes);
  if (view.getBigUint64(0) !== MAGIC || view.getUint32(8) !== VERSION) return undefined;
  if (kernel.crc32c(bytes.subarray(0, CRC_AT)) !== view.getUint32(CRC_AT)) return undefined;
  const footer = {
    compacted: (view.getUint32(12) & FLAG_COMPACTED) !== 0,
    baseOffset: getSafe64(view, 16),
    nextOffset: getSafe64(view, 24),
    bodyBytes: view.getUint32(32),
    offsetIndexBytes: view.getUint32(36),
    timeIndexBytes: view.getUint32(40),
    producersBytes: view.getUint32(44),
    batches: view.getUint32(48),
    records: view.getUint32(52),
    firstTimestamp: getSafe64(view, 56),
    maxTimestamp: getSafe64(view, 64),
    sealedAt: getSafe64(view, 72),
    bodyCrc: view.getUint32(BODY_CRC_AT),
    sectionsCrc: view.getUint32(SECTIONS_CRC_AT),
    previousFooterCrc: view.getUint32(88),
    epoch: view.getInt32(92),
    owner: view.getUint32(96),
  };
  return isPossible(footer) ? footer : undefined;
}
