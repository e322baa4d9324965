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
// Each position follows from the one before it, so that the drawing and the numbers cannot differ.
const MAGIC_AT = 0;
const VERSION_AT = MAGIC_AT + 8;
const FLAGS_AT = VERSION_AT + 4;
const BASE_OFFSET_AT = FLAGS_AT + 4;
const NEXT_OFFSET_AT = BASE_OFFSET_AT + 8;
const BODY_BYTES_AT = NEXT_OFFSET_AT + 8;
const OFFSET_INDEX_BYTES_AT = BODY_BYTES_AT + 4;
const TIME_INDEX_BYTES_AT = OFFSET_INDEX_BYTES_AT + 4;
const PRODUCERS_BYTES_AT = TIME_INDEX_BYTES_AT + 4;
const BATCHES_AT = PRODUCERS_BYTES_AT + 4;
const RECORDS_AT = BATCHES_AT + 4;
const FIRST_TIMESTAMP_AT = RECORDS_AT + 4;
const MAX_TIMESTAMP_AT = FIRST_TIMESTAMP_AT + 8;
const SEALED_TIME_AT = MAX_TIMESTAMP_AT + 8;
export const BODY_CRC_AT = SEALED_TIME_AT + 8;
export const SECTIONS_CRC_AT = BODY_CRC_AT + 4;
const PREVIOUS_CRC_AT = SECTIONS_CRC_AT + 4;
const EPOCH_AT = PREVIOUS_CRC_AT + 4;
const OWNER_AT = EPOCH_AT + 4;
const CRC_AT = OWNER_AT + 4;
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
  view.setBigUint64(MAGIC_AT, MAGIC);
  view.setUint32(VERSION_AT, VERSION);
  view.setUint32(FLAGS_AT, footer.compacted ? FLAG_COMPACTED : 0);
  view.setBigInt64(BASE_OFFSET_AT, BigInt(footer.baseOffset));
  view.setBigInt64(NEXT_OFFSET_AT, BigInt(footer.nextOffset));
  view.setUint32(BODY_BYTES_AT, footer.bodyBytes);
  view.setUint32(OFFSET_INDEX_BYTES_AT, footer.offsetIndexBytes);
  view.setUint32(TIME_INDEX_BYTES_AT, footer.timeIndexBytes);
  view.setUint32(PRODUCERS_BYTES_AT, footer.producersBytes);
  view.setUint32(BATCHES_AT, footer.batches);
  view.setUint32(RECORDS_AT, footer.records);
  view.setBigInt64(FIRST_TIMESTAMP_AT, BigInt(footer.firstTimestamp));
  view.setBigInt64(MAX_TIMESTAMP_AT, BigInt(footer.maxTimestamp));
  view.setBigInt64(SEALED_TIME_AT, BigInt(Math.trunc(footer.sealedAt)));
  view.setUint32(BODY_CRC_AT, footer.bodyCrc);
  view.setUint32(SECTIONS_CRC_AT, footer.sectionsCrc);
  view.setUint32(PREVIOUS_CRC_AT, footer.previousFooterCrc);
  view.setInt32(EPOCH_AT, footer.epoch);
  view.setUint32(OWNER_AT, footer.owner);
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
  if (view.getBigUint64(MAGIC_AT) !== MAGIC || view.getUint32(VERSION_AT) !== VERSION) return undefined;
  if (kernel.crc32c(bytes.subarray(0, CRC_AT)) !== view.getUint32(CRC_AT)) return undefined;
  const footer = {
    compacted: (view.getUint32(FLAGS_AT) & FLAG_COMPACTED) !== 0,
    baseOffset: getSafe64(view, BASE_OFFSET_AT),
    nextOffset: getSafe64(view, NEXT_OFFSET_AT),
    bodyBytes: view.getUint32(BODY_BYTES_AT),
    offsetIndexBytes: view.getUint32(OFFSET_INDEX_BYTES_AT),
    timeIndexBytes: view.getUint32(TIME_INDEX_BYTES_AT),
    producersBytes: view.getUint32(PRODUCERS_BYTES_AT),
    batches: view.getUint32(BATCHES_AT),
    records: view.getUint32(RECORDS_AT),
    firstTimestamp: getSafe64(view, FIRST_TIMESTAMP_AT),
    maxTimestamp: getSafe64(view, MAX_TIMESTAMP_AT),
    sealedAt: getSafe64(view, SEALED_TIME_AT),
    bodyCrc: view.getUint32(BODY_CRC_AT),
    sectionsCrc: view.getUint32(SECTIONS_CRC_AT),
    previousFooterCrc: view.getUint32(PREVIOUS_CRC_AT),
    epoch: view.getInt32(EPOCH_AT),
    owner: view.getUint32(OWNER_AT),
  };
  return isPossible(footer) ? footer : undefined;
}
