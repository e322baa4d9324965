/** Of a batch above this size a reader of few records gets a part (few-records.ts). */
export const LARGE_BATCH_BYTES = 65_536;
