/**
 * A record's row of `RecordColumns.ints`, as the kernel writes it:
 *
 *   key position, key length │ value position, value length │ headers position, headers count │ offset delta │ record
 */

/**
 * Width of a row of `RecordColumns.ints`, and the meaning of each column. Positions count from the given bytes' start.
 */
export const COLUMNS = 8;
export const KEY_POSITION = 0;
/** -1 is a null key. */
export const KEY_LENGTH = 1;
export const VALUE_POSITION = 2;
/** -1 is a null value (a tombstone). */
export const VALUE_LENGTH = 3;
/** Position of the first header, behind the header count. */
export const HEADERS_POSITION = 4;
export const HEADERS_COUNT = 5;
export const OFFSET_DELTA = 6;
/** Position of the record's first byte (its length varint). */
export const RECORD_POSITION = 7;
