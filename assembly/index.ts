/**
 * The kernel's ABI is this list; arguments and results are numbers only. Its caller is `src/kernel/wasm-kernel.ts`. A
 * browser downloads no more than this; edge.ts has one call more.
 */
export {
  BATCH_BYTES_MAX,
  COLUMNS,
  END,
  FOLD,
  IN,
  INDEX_ENTRIES_MAX,
  INDEX_INTERVAL_BYTES,
  KEEP,
  OFFSET_ENTRIES,
  OUT,
  RECORDS_MAX,
  RELEASE,
  RESULT,
  ROWS,
  STAMPS,
  STEPS,
  TABLE,
  TIME_ENTRIES,
} from "./layout";
export { crc32c } from "./crc32c";
export { decode, decodeRecords, validate } from "./decode";
export { encode } from "./encode";
export { filter } from "./filter";
export { scan } from "./scan";
export { search, searchSteps } from "./search";
