/** If a batch has more bytes than this, a reader of few records gets a part of it (few-records.ts). */
export const LARGE_BATCH_BYTES = 65_536;
