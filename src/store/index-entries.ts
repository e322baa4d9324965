/**
 * Entries of a segment's two sparse indexes, the same on disk and in memory: big-endian, back to back. Both locate a
 * batch by its last offset, relative to the segment's base offset. The kernel makes the entries and searches them.
 *
 *   offset index, 8 bytes     i32 relative last offset │ i32 position in the body
 *   time index, 12 bytes      i64 timestamp            │ i32 relative last offset of the batch that has it
 *
 * There is at most one entry of each for every 4,096 bytes of batches. The indexes are advisory: they can be rebuilt
 * from the batches.
 */
import { INDEX_INTERVAL_BYTES, type Kernel, OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES } from "../kernel/types.ts";
import { viewOf } from "./bytes.ts";

export const POSITION_AT = 4;

export interface OffsetEntry {
  readonly relativeOffset: number;
  /** Start of the batch inside the body. */
  readonly position: number;
}

/** How many entries these bytes of an index hold. */
export const offsetEntriesIn = (bytes: number): number => bytes / OFFSET_ENTRY_BYTES;
export const timeEntriesIn = (bytes: number): number => bytes / TIME_ENTRY_BYTES;

/** The largest size of both indexes of a body of `bodyBytes`. */
export const indexBytesMax = (bodyBytes: number): number =>
  Math.ceil(bodyBytes / INDEX_INTERVAL_BYTES + 1) * (OFFSET_ENTRY_BYTES + TIME_ENTRY_BYTES);

export function offsetEntryAt(entries: Uint8Array, entry: number): OffsetEntry {
  const view = viewOf(entries);
  const at = entry * OFFSET_ENTRY_BYTES;
  return { relativeOffset: view.getInt32(at), position: view.getInt32(at + POSITION_AT) };
}

/**
 * The last indexed batch that ends at or before `relativeOffset`. Undefined if there is none: the search then begins at
 * the first batch.
 */
export function floorEntry(
  kernel: Kernel,
  entries: Uint8Array,
  relativeOffset: number,
  steps?: number[],
): OffsetEntry | undefined {
  const entry = kernel.searchIndex(entries, "offset", relativeOffset, steps);
  return entry < 0 ? undefined : offsetEntryAt(entries, entry);
}
