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
import { getSafe64, viewOf } from "./bytes.ts";
import { readExactly, type Volume } from "./volume.ts";

/** Where batches begin: after one page, the smallest unit that file systems write. */
export const BODY_AT = 4096;
const SECTOR = 512;
const ROLE_MAGIC = 0x54494445534c4f54n; // "TIDESLOT"
const ROLE_HEAD_BYTES = 32;
const BEGUN_AT = ROLE_HEAD_BYTES;
const ID_BYTES_AT = BEGUN_AT + 8;
const NAME_AT = ID_BYTES_AT + 4;
/** As UTF-8 an id of this length fits the role's sector behind the longest name, whatever its characters are. */
export const ID_CHARS_MAX = 64;
/** Version 1 had no identity: its name is where `begun` is now. */
const ROLE_VERSION_BARE = 1;
const ROLE_VERSION = 2;
export const LOG_NAME_BYTES_MAX = 255;
const MARK_MAGIC = 0x4d41524b; // "MARK"
const MARK_BYTES = 40;
const MARK_CRC_AT = 36;
const FLAG_CLEAN = 1;

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

/**
 * "ours": certainly. "alike": as far as the slot can tell. "other": another segment's file. "unknown": the role can't
 * be read.
 */
export type Whose = "ours" | "alike" | "other" | "unknown";

/** Whether a slot with this role holds that segment. */
export function whose(role: Role | undefined, wanted: Role): Whose {
  if (!role) return "unknown";
  const same =
    role.log === wanted.log &&
    role.baseOffset === wanted.baseOffset &&
    role.epoch === wanted.epoch &&
    role.begun === wanted.begun;
  if (!same || (role.tide !== "" && role.tide !== wanted.tide)) return "other";
  return role.tide === "" ? "alike" : "ours";
}

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

const roleCrc = (kernel: Kernel, page: Uint8Array, end: number): number =>
  kernel.crc32c(page.subarray(ROLE_HEAD_BYTES, end), kernel.crc32c(page.subarray(0, 28)));

/** What the slot says of itself. Undefined if it never began a segment, or its role is damaged. */
export async function readRole(kernel: Kernel, volume: Volume, slot: number): Promise<Role | undefined> {
  const bytes = await readExactly(volume, slot, 0, SECTOR);
  const view = viewOf(bytes);
  const version = view.getUint32(8);
  const nameBytes = view.getUint32(24);
  if (view.getBigUint64(0) !== ROLE_MAGIC || nameBytes > LOG_NAME_BYTES_MAX) return undefined;
  if (version !== ROLE_VERSION && version !== ROLE_VERSION_BARE) return undefined;
  const nameAt = version === ROLE_VERSION ? NAME_AT : ROLE_HEAD_BYTES;
  const idBytes = version === ROLE_VERSION ? view.getUint32(ID_BYTES_AT) : 0;
  const idAt = nameAt + nameBytes;
  if (idAt + idBytes > SECTOR || roleCrc(kernel, bytes, idAt + idBytes) !== view.getUint32(28)) return undefined;
  const decoder = new TextDecoder();
  return {
    tide: decoder.decode(bytes.subarray(idAt, idAt + idBytes)),
    log: decoder.decode(bytes.subarray(nameAt, idAt)),
    baseOffset: getSafe64(view, 16),
    epoch: view.getInt32(12),
    begun: version === ROLE_VERSION ? getSafe64(view, BEGUN_AT) : 0,
  };
}

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

/** The newest valid mark of the segment that begins at `baseOffset` with `epoch` or a later one. Undefined if none. */
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
