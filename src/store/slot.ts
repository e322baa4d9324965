/**
 * A segment's slot: one header page, then the batches, then (once sealed) the sections of footer.ts. slot-layout.ts
 * draws it.
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
import { textEncoder, viewOf } from "./bytes.ts";
import {
  BEGUN_AT,
  BODY_AT,
  FLAG_CLEAN,
  ID_BYTES_AT,
  MARK_BASE_AT,
  MARK_BYTES,
  MARK_COUNT_AT,
  MARK_CRC_AT,
  MARK_EPOCH_AT,
  MARK_FLAGS_AT,
  MARK_MAGIC,
  MARK_MAGIC_AT,
  MARK_NEXT_AT,
  MARK_POSITION_AT,
  NAME_AT,
  NAME_BYTES_AT,
  ROLE_BASE_AT,
  ROLE_CRC_AT,
  ROLE_EPOCH_AT,
  ROLE_HEAD_BYTES,
  ROLE_MAGIC,
  ROLE_MAGIC_AT,
  ROLE_VERSION,
  ROLE_VERSION_AT,
  SECTOR,
} from "./slot-layout.ts";

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
  const nameBytes = textEncoder.encode(role.log);
  const view = viewOf(page);
  view.setBigUint64(ROLE_MAGIC_AT, ROLE_MAGIC);
  view.setUint32(ROLE_VERSION_AT, ROLE_VERSION);
  view.setInt32(ROLE_EPOCH_AT, role.epoch);
  view.setBigInt64(ROLE_BASE_AT, BigInt(role.baseOffset));
  view.setUint32(NAME_BYTES_AT, nameBytes.length);
  const idBytes = textEncoder.encode(role.tide);
  view.setBigInt64(BEGUN_AT, BigInt(role.begun));
  view.setUint32(ID_BYTES_AT, idBytes.length);
  page.set(nameBytes, NAME_AT);
  page.set(idBytes, NAME_AT + nameBytes.length);
  view.setUint32(ROLE_CRC_AT, roleCrc(kernel, page, NAME_AT + nameBytes.length + idBytes.length));
  page.set(encodeMark(kernel, mark), markPosition(mark));
  page.set(encodeMark(kernel, { ...mark, count: mark.count + 1 }), markPosition({ count: mark.count + 1 }));
  return page;
}

export const roleCrc = (kernel: Kernel, page: Uint8Array, end: number): number =>
  kernel.crc32c(page.subarray(ROLE_HEAD_BYTES, end), kernel.crc32c(page.subarray(0, ROLE_CRC_AT)));

/** The sector of a mark: even counts in the first, odd ones in the second. */
export function markPosition(mark: Pick<Mark, "count">): number {
  return SECTOR * (1 + (mark.count & 1));
}

export function encodeMark(kernel: Kernel, mark: Mark): Uint8Array {
  const bytes = new Uint8Array(MARK_BYTES);
  const view = viewOf(bytes);
  view.setUint32(MARK_MAGIC_AT, MARK_MAGIC);
  view.setUint32(MARK_COUNT_AT, mark.count);
  view.setBigInt64(MARK_BASE_AT, BigInt(mark.baseOffset));
  view.setUint32(MARK_POSITION_AT, mark.position);
  view.setBigInt64(MARK_NEXT_AT, BigInt(mark.nextOffset));
  view.setInt32(MARK_EPOCH_AT, mark.epoch);
  view.setUint32(MARK_FLAGS_AT, mark.clean ? FLAG_CLEAN : 0);
  view.setUint32(MARK_CRC_AT, kernel.crc32c(bytes.subarray(0, MARK_CRC_AT)));
  return bytes;
}
