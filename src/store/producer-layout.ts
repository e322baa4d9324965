/**
 * Where the fields of a producers' snapshot stand (take-snapshot.ts writes it, src/log/producer-snapshot.ts reads it).
 *
 *   head      0 "PRD2" · 4 u32 producers · 8 i64 forgotten
 *   producer  0 i64 id · 8 i16 epoch · 10 u16 batches (1 … 5), and behind it the batches
 *   batch     0 i32 base sequence · 4 i32 last sequence · 8 i64 base offset · 16 u32 CRC
 *   end       u32 CRC-32C of all before
 *
 * Nothing but numbers is here: each file of the package that uses them has them in its code (tools/package/build.mjs).
 */
export const SNAPSHOT_MAGIC = 0x50524432; // "PRD2"
export const SNAPSHOT_MAGIC_AT = 0;
export const SNAPSHOT_PRODUCERS_AT = SNAPSHOT_MAGIC_AT + 4;
export const SNAPSHOT_FORGOTTEN_AT = SNAPSHOT_PRODUCERS_AT + 4;
export const SNAPSHOT_HEAD_BYTES = SNAPSHOT_FORGOTTEN_AT + 8;

export const SNAPSHOT_ID_AT = 0;
export const SNAPSHOT_EPOCH_AT = SNAPSHOT_ID_AT + 8;
export const SNAPSHOT_BATCHES_AT = SNAPSHOT_EPOCH_AT + 2;
export const SNAPSHOT_PRODUCER_BYTES = SNAPSHOT_BATCHES_AT + 2;

export const SNAPSHOT_BASE_SEQUENCE_AT = 0;
export const SNAPSHOT_LAST_SEQUENCE_AT = SNAPSHOT_BASE_SEQUENCE_AT + 4;
export const SNAPSHOT_BASE_OFFSET_AT = SNAPSHOT_LAST_SEQUENCE_AT + 4;
export const SNAPSHOT_BATCH_CRC_AT = SNAPSHOT_BASE_OFFSET_AT + 8;
export const SNAPSHOT_BATCH_BYTES = SNAPSHOT_BATCH_CRC_AT + 4;
