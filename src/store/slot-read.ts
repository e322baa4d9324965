/** Reads what slot.ts writes: role and marks. A slot that this process began needs none of it. */
import type { Kernel } from "../kernel/types.ts";
import { getSafe64, viewOf } from "./bytes.ts";
import {
  BEGUN_AT,
  BODY_AT,
  FLAG_CLEAN,
  ID_BYTES_AT,
  LOG_NAME_BYTES_MAX,
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
  ROLE_VERSION_BARE,
  SECTOR,
} from "./slot-layout.ts";
import { type Mark, type Role, roleCrc, type Whose } from "./slot.ts";
import { readExactly, type Volume } from "./volume.ts";

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

/** What the slot says of itself. Undefined if it never began a segment, or its role is damaged. */
export async function readRole(kernel: Kernel, volume: Volume, slot: number): Promise<Role | undefined> {
  const bytes = await readExactly(volume, slot, 0, SECTOR);
  const view = viewOf(bytes);
  const version = view.getUint32(ROLE_VERSION_AT);
  const nameBytes = view.getUint32(NAME_BYTES_AT);
  if (view.getBigUint64(ROLE_MAGIC_AT) !== ROLE_MAGIC || nameBytes > LOG_NAME_BYTES_MAX) return undefined;
  if (version !== ROLE_VERSION && version !== ROLE_VERSION_BARE) return undefined;
  const nameAt = version === ROLE_VERSION ? NAME_AT : ROLE_HEAD_BYTES;
  const idBytes = version === ROLE_VERSION ? view.getUint32(ID_BYTES_AT) : 0;
  const idAt = nameAt + nameBytes;
  if (idAt + idBytes > SECTOR || roleCrc(kernel, bytes, idAt + idBytes) !== view.getUint32(ROLE_CRC_AT))
    return undefined;
  const decoder = new TextDecoder();
  return {
    tide: decoder.decode(bytes.subarray(idAt, idAt + idBytes)),
    log: decoder.decode(bytes.subarray(nameAt, idAt)),
    baseOffset: getSafe64(view, ROLE_BASE_AT),
    epoch: view.getInt32(ROLE_EPOCH_AT),
    begun: version === ROLE_VERSION ? getSafe64(view, BEGUN_AT) : 0,
  };
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

export function decodeMark(kernel: Kernel, bytes: Uint8Array): Mark | undefined {
  const view = viewOf(bytes);
  if (view.getUint32(MARK_MAGIC_AT) !== MARK_MAGIC) return undefined;
  if (kernel.crc32c(bytes.subarray(0, MARK_CRC_AT)) !== view.getUint32(MARK_CRC_AT)) return undefined;
  return {
    count: view.getUint32(MARK_COUNT_AT),
    baseOffset: getSafe64(view, MARK_BASE_AT),
    position: view.getUint32(MARK_POSITION_AT),
    nextOffset: getSafe64(view, MARK_NEXT_AT),
    epoch: view.getInt32(MARK_EPOCH_AT),
    clean: (view.getUint32(MARK_FLAGS_AT) & FLAG_CLEAN) !== 0,
  };
}
