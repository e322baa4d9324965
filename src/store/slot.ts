/**
 * A segment's slot: one header page, then the batches, then (once sealed) the sections of footer.ts.
 *
 *   0            512          1024                4096                                      slotBytes
 *   ┌────────────┬────────────┬──────────┬────────┬───────────────────┬────────────────────┬──────┐
 *   │ role       │ mark 0     │ mark 1   │ zero   │ batches →         │ sections and footer│ free │
 *   └────────────┴────────────┴──────────┴────────┴───────────────────┴────────────────────┴──────┘
 *
 *   role  0 "TIDESLOT" · 8 u32 version · 12 i32 epoch · 16 i64 base offset · 24 u32 name bytes · 28 u32 CRC-32C of
 *         0 … 27 and of 32 to the end of what follows · 32 u64 begun · 40 u32 id bytes · 44 log name (UTF-8, at most
 *         255 bytes) and behind it the tide's id (UTF-8); version 1 had neither begun nor id, and its name at 32
 *   mark  0 "MARK" · 4 u32 count · 8 i64 base offset of the segment · 16 u32 position · 20 i64 next offset
 *         · 28 i32 epoch · 32 u32 flags (1 clean shutdown) · 36 u32 CRC-32C of 0 … 35
 *
 * A mark says: "batches up to `position` (ending before `next offset`) were flushed; batches behind it have `epoch`".
 * It is written with the next batch and flushed with it, so it costs no flush of its own, and it is true whether or not
 * that batch arrives. Marks alternate between two sectors, so a torn one leaves the other. Behind the mark a bad batch
 * is a torn tail; before it, corruption. Batches behind the mark must have its epoch: this excludes stale batches of
 * the slot's earlier use, since a batch's own checksum covers neither base offset nor epoch.
 *
 * The role tells which segment this file holds: tide, log, base offset, epoch and `begun`, the generation of the
 * catalog that was to name it first. A file that was exchanged for another, or is left from the slot's earlier use, has
 * another role.
 */
import type { Kernel } from "../kernel/types.ts";
import { viewOf } from "./bytes.ts";

/** Where batches begin: after one page, the smallest unit that file systems write. */
export const BODY_AT = 4096;
export const SECTOR = 512;
export const ROLE_MAGIC = 0x54494445534c4f54n; // "TIDESLOT"
export const ROLE_HEAD_BYTES = 32;
export const BEGUN_AT = ROLE_HEAD_BYTES;
export const ID_BYTES_AT = BEGUN_AT + 8;
export const NAME_AT = ID_BYTES_AT + 4;
/** As UTF-8 an id of this length fits the role's sector behind the longest name, whatever its characters are. */
export const ID_CHARS_MAX = 64;
/** Version 1 had no identity: its name is where `begun` is now. */
export const ROLE_VERSION_BARE = 1;
export const ROLE_VERSION = 2;
export const LOG_NAME_BYTES_MAX = 255;
export const MARK_MAGIC = 0x4d41524b; // "MARK"
export const MARK_BYTES = 40;
export const MARK_CRC_AT = 36;
export const FLAG_CLEAN = 1;

export interface Mark {
  /** Rises with every mark of a segment. The valid mark with the larger count is the newest. */
  readonly count: number;
  /**
   * Base offset of the segment that the mark belongs to. A mark of the slot's earlier use has another base offset or
   * another epoch.
   */
  readonly baseOffset: number;
  /** Bytes of batches, from BODY_AT. */
  readonly position: number;
  readonly nextOffset: number;
  readonly epoch: number;
  readonly clean: boolean;
}

/** What a slot says of itself. */
export interface Role {
  /** Id of the tide. "" if the tide has none, or if a version without ids began the slot. */
  readonly tide: string;
  readonly log: string;
  readonly baseOffset: number;
  readonly epoch: number;
  /**
   * Generation of the catalog that was to name the segment first. 0 if a version that did not record it began the slot.
   */
  readonly begun: number;
}

/** What the slot of this segment says of itself, if it is the right file. */
export function roleOf(tide: string, log: string, { baseOffset, epoch, begun }: Omit<Role, "tide" | "log">): Role {
  return { tide, log, baseOffset, epoch, begun };
}

/**
 * "ours": certainly. "alike": as far as the slot can tell. "other": another segment's file. "unknown": the role can't
 * be read.
 */
export type Whose = "ours" | "alike" | "other" | "unknown";

/**
 * The whole header page of a slot that begins a segment. Both marks say "nothing yet". The store has checked the name's
 * length.
 */
export function encodeHeaderPage(kernel: Kernel, role: Role, mark: Mark): Uint8Array {
  const page = new Uint8Array(BODY_AT);
  const nameBytes = new TextEncoder().encode(role.log);
  const view = viewOf(page);
  view.setBigUint64(0, ROLE_MAGIC);
  view.setUint32(8, ROLE_VERSION);
  view.setInt32(12, role.epoch);
  view.setBigInt64(16, BigInt(role.baseOffset));
  view.setUint32(24, nameBytes.length);
  const idBytes = new TextEncoder().encode(role.tide);
  view.setBigInt64(BEGUN_AT, BigInt(role.begun));
  view.setUint32(ID_BYTES_AT, idBytes.length);
  page.set(nameBytes, NAME_AT);
  page.set(idBytes, NAME_AT + nameBytes.length);
  view.setUint32(28, roleCrc(kernel, page, NAME_AT + nameBytes.length + idBytes.length));
  page.set(encodeMark(kernel, mark), markPosition(mark));
  page.set(encodeMark(kernel, { ...mark, count: mark.count + 1 }), markPosition({ count: mark.count + 1 }));
  return page;
}

export const roleCrc = (kernel: Kernel, page: Uint8Array, end: number): number =>
  kernel.crc32c(page.subarray(ROLE_HEAD_BYTES, end), kernel.crc32c(page.subarray(0, 28)));

/** The sector of a mark: even counts in the first, odd ones in the second. */
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
