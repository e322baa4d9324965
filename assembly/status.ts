/** The results of a check: the same numbers as `Status` in src/kernel/types.ts (a test compares them). */
export const OK: i32 = 0;
export const NEED_MORE: i32 = 1;
export const ZEROS: i32 = 2;
export const BAD_MAGIC: i32 = 3;
export const BAD_LENGTH: i32 = 4;
export const BAD_OFFSET: i32 = 5;
export const BAD_EPOCH: i32 = 6;
export const BAD_CRC: i32 = 7;
export const BAD_ATTRIBUTES: i32 = 8;
export const BAD_COUNT: i32 = 9;
export const BAD_RECORD: i32 = 10;
export const BAD_TIMESTAMP: i32 = 11;
export const TOO_LARGE: i32 = 12;
export const BAD_ARGUMENT: i32 = 13;
export const BAD_PRODUCER: i32 = 14;
