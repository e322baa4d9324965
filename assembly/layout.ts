/**
 * The kernel's whole memory. It never grows and nothing is ever allocated: every region has its place here, each
 * address derives from the one before it, and a guard of unused bytes stands behind each region (a test fills the
 * guards with a pattern and looks for footprints).
 *
 *   0       1,024                                                             each region is followed by its guard
 *   ┌───────┬────────┬───────┬────────┬────────┬────────────────┬──────────────┐
 *   │ never │ RESULT │ STEPS │ KEEP   │ TABLE  │ OFFSET_ENTRIES │ TIME_ENTRIES │
 *   │ used  │ 16 f64 │ 32 i32│ 8 KiB: │ 16 KiB │ 513 × 8 bytes  │ 513 × 12     │
 *   │       │        │       │ a bit a│ CRC-32C│                │ bytes        │
 *   │       │        │       │ record │        │                │              │
 *   ├───────┴──────┬─┴───────┴─┬──────┴────────┼────────────────┼──────────────┤ 7 MiB = memoryBase       113 pages
 *   │ ROWS         │ STAMPS    │ IN            │ OUT            │ FOLD 67 KiB  │ data of the debug build │
 *   │ 2 MiB: 8 i32 │ 512 KiB:  │ 2 MiB + slack │ 2 MiB + slack  │ (crc32c.ts), │                         │
 *   │ a record     │ f64 each  │               │                │ then unused  │                         │
 *   └──────────────┴───────────┴───────────────┴────────────────┴──────────────┴─────────────────────────┘
 *                                                                              END
 *
 * Regions are plain addresses, not `memory.data`, so that the file holds no zeros. `memoryBase` in asconfig.json puts
 * the compiler's own data behind END; the release build has none.
 */

/** Largest record batch, header included (src/kernel/types.ts names the reason). */
export const BATCH_BYTES_MAX: i32 = 2 * 1024 * 1024;
export const RECORDS_MAX: i32 = 65_536;
/** int32 columns of a record's row. */
export const COLUMNS: i32 = 8;
export const INDEX_INTERVAL_BYTES: i32 = 4096;
export const OFFSET_ENTRY_BYTES: i32 = 8;
export const TIME_ENTRY_BYTES: i32 = 12;
/** Between two entries lie more than INDEX_INTERVAL_BYTES; the first may come at once. */
export const INDEX_ENTRIES_MAX: i32 = BATCH_BYTES_MAX / INDEX_INTERVAL_BYTES + 1;

/** Unused bytes behind each region. */
export const GUARD: i32 = 64;
/** Short copies move whole 8-byte words. Inside IN and OUT they may read and write this many bytes past their end. */
export const SLACK: i32 = 8;

export const RESULT: usize = 1024;
export const RESULT_BYTES: i32 = 16 * 8;
export const STEPS: usize = RESULT + RESULT_BYTES + GUARD;
export const STEPS_BYTES: i32 = 32 * 4;
export const KEEP: usize = STEPS + STEPS_BYTES + GUARD;
export const KEEP_BYTES: i32 = RECORDS_MAX / 8;
export const TABLE: usize = KEEP + KEEP_BYTES + GUARD;
export const TABLE_BYTES: i32 = 16 * 256 * 4;
export const OFFSET_ENTRIES: usize = TABLE + TABLE_BYTES + GUARD;
export const OFFSET_ENTRIES_BYTES: i32 = INDEX_ENTRIES_MAX * OFFSET_ENTRY_BYTES;
export const TIME_ENTRIES: usize = OFFSET_ENTRIES + OFFSET_ENTRIES_BYTES + GUARD;
/** Rounded up, so that the wider regions behind it start on 8 bytes. */
export const TIME_ENTRIES_BYTES: i32 = (INDEX_ENTRIES_MAX * TIME_ENTRY_BYTES + 7) & ~7;
export const ROWS: usize = TIME_ENTRIES + TIME_ENTRIES_BYTES + GUARD;
export const ROWS_BYTES: i32 = RECORDS_MAX * COLUMNS * 4;
export const STAMPS: usize = ROWS + ROWS_BYTES + GUARD;
export const STAMPS_BYTES: i32 = RECORDS_MAX * 8;
export const IN: usize = STAMPS + STAMPS_BYTES + GUARD;
export const IN_BYTES: i32 = BATCH_BYTES_MAX + SLACK;
export const OUT: usize = IN + IN_BYTES + GUARD;
export const OUT_BYTES: i32 = BATCH_BYTES_MAX + SLACK;
/** Bytes that the CRC folds at once. */
export const VECTOR: usize = 16;
/** Bytes that are left of a folded block. */
export const FOLD_LEFT: usize = 209 * VECTOR;
/** Bytes folded at a time: block and notes stay in the processor's nearer caches. */
export const FOLD_BLOCK: usize = 64 * 1024;
export const FOLD: usize = OUT + OUT_BYTES + GUARD;
export const FOLD_BYTES: usize = FOLD_LEFT + FOLD_BLOCK;
/** First address behind the last guard; `memoryBase` of asconfig.json must not be below it (a test compares). */
export const END: usize = FOLD + FOLD_BYTES + GUARD;
/** Which build this is: the host reports it, tests run on both. */
export const RELEASE: i32 = ASC_NO_ASSERT ? 1 : 0;
