/**
 * Where the fields of a segment's slot stand (slot.ts writes, slot-read.ts reads, docs/format.md prints them).
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
 * Each position is made from the one before it. Nothing but numbers is here: each file of the package that uses them
 * has them in its code (tools/package/build.mjs).
 */

/** Where batches begin: after one page, the smallest unit that file systems write. */
export const BODY_AT = 4096;
export const SECTOR = 512;

/** Version 1 had no identity: its name is where `begun` is now. */
export const ROLE_VERSION_BARE = 1;
export const ROLE_VERSION = 2;
export const ROLE_MAGIC = 0x54494445534c4f54n; // "TIDESLOT"
export const ROLE_MAGIC_AT = 0;
export const ROLE_VERSION_AT = ROLE_MAGIC_AT + 8;
export const ROLE_EPOCH_AT = ROLE_VERSION_AT + 4;
export const ROLE_BASE_AT = ROLE_EPOCH_AT + 4;
export const NAME_BYTES_AT = ROLE_BASE_AT + 8;
export const ROLE_CRC_AT = NAME_BYTES_AT + 4;
export const ROLE_HEAD_BYTES = ROLE_CRC_AT + 4;
export const BEGUN_AT = ROLE_HEAD_BYTES;
export const ID_BYTES_AT = BEGUN_AT + 8;
export const NAME_AT = ID_BYTES_AT + 4;
/** As UTF-8 an id of this length fits the role's sector behind the longest name, whatever its characters are. */
export const ID_CHARS_MAX = 64;
export const LOG_NAME_BYTES_MAX = 255;

export const MARK_MAGIC = 0x4d41524b; // "MARK"
export const MARK_MAGIC_AT = 0;
export const MARK_COUNT_AT = MARK_MAGIC_AT + 4;
export const MARK_BASE_AT = MARK_COUNT_AT + 4;
export const MARK_POSITION_AT = MARK_BASE_AT + 8;
export const MARK_NEXT_AT = MARK_POSITION_AT + 4;
export const MARK_EPOCH_AT = MARK_NEXT_AT + 8;
export const MARK_FLAGS_AT = MARK_EPOCH_AT + 4;
export const MARK_CRC_AT = MARK_FLAGS_AT + 4;
export const MARK_BYTES = MARK_CRC_AT + 4;
export const FLAG_CLEAN = 1;
