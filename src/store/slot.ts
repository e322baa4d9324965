/**
 * A segment's slot: one header page, then the batches, then (once sealed) the sections of footer.ts.
 *
 *   0            512          1024                4096                                      slotBytes
 *   ┌────────────┬────────────┬──────────┬────────┬───────────────────┬────────────────────┬──────┐
 *   │ role       │ mark 0     │ mark 1   │ zero   │ batches →         │ sections and footer│ free │
 *   └────────────┴────────────┴──────────┴────────┴───────────────────┴────────────────────┴──────┘
 *
 *   role  0 "TIDESLOT" · 8 u32 version · 12 i32 epoch · 16 i64 base offset · 24 u32 name bytes · 28 u32 CRC-32C of
 *         0 … 27 and the name · 32 log name (UTF-8, at most 255 bytes)
 *   mark  0 "MARK" · 4 u32 count · 8 i64 base offset of the segment · 16 u32 position · 20 i64 next offset
 *         · 28 i32 epoch · 32 u32 flags (1 clean shutdown) · 36 u32 CRC-32C of 0 … 35
 *
 * A mark says: "batches up to `position` (ending before `next offset`) were flushed; what stands behind carries `epoch`".
 * It is written with the next batch and flushed with it, so it costs no sync, and it is true whether or not that batch
 * arrives. Marks alternate between two sectors: a torn one leaves the other. Behind the mark a bad batch is a torn
 * tail; before it, corruption. Equality of epochs behind the mark keeps out stale batches of the slot's earlier life,
 * since base offset and epoch stand outside a batch's own checksum.
 */
import type { Kernel } from "../kernel/types.ts";
import { getSafe64, viewOf } from "./bytes.ts";
import { readExactly, type Volume } from "./volume.ts";

/** Where batches begin. One page: the smallest unit that file systems write. */
export const BODY_AT = 4096;
const SECTOR = 512;
const ROLE_MAGIC = 0x54494445534c4f54n; // "TIDESLOT"
const ROLE_HEAD_BYTES = 32;
const ROLE_VERSION = 1;
export const LOG_NAME_BYTES_MAX = 255;
const MARK_MAGIC = 0x4d41524b; // "MARK"
const MARK_BYTES = 40;
const MARK_CRC_AT = 36;
const FLAG_CLEAN = 1;

export interface Mark {
  /** Rises with every mark of a segment; the larger valid one counts. */
  readonly count: number;
  /** Base offset of the segment it belongs to: a mark of the slot's earlier life names another one, or another epoch. */
  readonly baseOffset: number;
  /** Bytes of batches, from BODY_AT. */
  readonly position: number;
  readonly nextOffset: number;
  readonly epoch: number;
  readonly clean: boolean;
}

/** The whole header page of a slot that begins a segment; both marks say "nothing yet". The store has checked the name. */
export function encodeHeaderPage(kernel: Kernel, name: string, mark: Mark): Uint8Array {
  const page = new Uint8Array(BODY_AT);
  const nameBytes = new TextEncoder().encode(name);
  const view = viewOf(page);
  view.setBigUint64(0, ROLE_MAGIC);
  view.setUint32(8, ROLE_VERSION);
  view.setInt32(12, mark.epoch);
  view.setBigInt64(16, BigInt(mark.baseOffset));
  view.setUint32(24, nameBytes.length);
  page.set(nameBytes, ROLE_HEAD_BYTES);
  view.setUint32(28, kernel.crc32c(nameBytes, kernel.crc32c(page.subarray(0, 28))));
  page.set(encodeMark(kernel, mark), markPosition(mark));
  page.set(encodeMark(kernel, { ...mark, count: mark.count + 1 }), markPosition({ count: mark.count + 1 }));
  return page;
}

/** The role's log name, or undefined where the slot never began a segment (or its role is damaged). */
export async function readRole(kernel: Kernel, volume: Volume, slot: number): Promise<string | undefined> {
  const bytes = await readExactly(volume, slot, 0, SECTOR);
  const view = viewOf(bytes);
  const nameBytes = view.getUint32(24);
  if (view.getBigUint64(0) !== ROLE_MAGIC || nameBytes > LOG_NAME_BYTES_MAX) return undefined;
  const name = bytes.subarray(ROLE_HEAD_BYTES, ROLE_HEAD_BYTES + nameBytes);
  if (kernel.crc32c(name, kernel.crc32c(bytes.subarray(0, 28))) !== view.getUint32(28)) return undefined;
  return new TextDecoder().decode(name);
}

/** Sector of a mark: even counts in the first, odd ones in the second. */
export function markPosition(mark: Pick<Mark, "count">): number {
  return SECTOR * (1 + (mark.count & 1));
}

export function encodeMark(kernel: Kernel, mark: Mark): Uint8Array {
  const bytes = new Uint8Array(MARK_BYTES);
  const view = viewOf(bytes);
  view.setUint32(0, MARK_MAGIC);
  view.setUint32(4, mark.count);
  view.setBigInt64(8, BigInt(mark.baseOffset));
  view.setUint32(16, mark.position);
  view.setBigInt64(20, BigInt(mark.nextOffset));
  view.setInt32(28, mark.epoch);
  view.setUint32(32, mark.clean ? FLAG_CLEAN : 0);
  view.setUint32(MARK_CRC_AT, kernel.crc32c(bytes.subarray(0, MARK_CRC_AT)));
  return bytes;
}

/** The newest valid mark of the segment that begins at `baseOffset` with `epoch` or a later one; undefined if none. */
export async function readMark(
  kernel: Kernel,
  volume: Volume,
  segment: { readonly slot: number; readonly baseOffset: number; readonly epoch: number },
): Promise<Mark | undefined> {
  const page = await readExactly(volume, segment.slot, 0, BODY_AT);
  let newest: Mark | undefined;
  for (const at of [SECTOR, 2 * SECTOR]) {
    const mark = decodeMark(kernel, page.subarray(at, at + MARK_BYTES));
    if (!mark || mark.baseOffset !== segment.baseOffset || mark.epoch < segment.epoch) continue;
    if (mark.position > volume.slotBytes - BODY_AT || !(mark.nextOffset >= segment.baseOffset)) continue;
    if (!newest || mark.count > newest.count) newest = mark;
  }
  return newest;
}

function decodeMark(kernel: Kernel, bytes: Uint8Array): Mark | undefined {
  const view = viewOf(bytes);
  if (view.getUint32(0) !== MARK_MAGIC) return undefined;
  if (kernel.crc32c(bytes.subarray(0, MARK_CRC_AT)) !== view.getUint32(MARK_CRC_AT)) return undefined;
  return {
    count: view.getUint32(4),
    baseOffset: getSafe64(view, 8),
    position: view.getUint32(16),
    nextOffset: getSafe64(view, 20),
    epoch: view.getInt32(28),
    clean: (view.getUint32(32) & FLAG_CLEAN) !== 0,
  };
}
