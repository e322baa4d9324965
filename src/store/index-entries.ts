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

const POSITION_AT = 4;
const TIME_OFFSET_AT = 8;

export interface OffsetEntry {
  readonly relativeOffset: number;
  /** Start of the batch inside the body. */
  readonly position: number;
}

export interface TimeEntry {
  readonly timestamp: number;
  readonly relativeOffset: number;
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

export function timeEntryAt(entries: Uint8Array, entry: number): TimeEntry {
  const view = viewOf(entries);
  const at = entry * TIME_ENTRY_BYTES;
  return { timestamp: Number(view.getBigInt64(at)), relativeOffset: view.getInt32(at + TIME_OFFSET_AT) };
}

/** Writes an entry into a view of its 8 bytes. */
export function writeOffsetEntry(view: DataView, { relativeOffset, position }: OffsetEntry): void {
  view.setInt32(0, relativeOffset);
  view.setInt32(POSITION_AT, position);
}

/** Writes an entry into a view of its 12 bytes. */
export function writeTimeEntry(view: DataView, { timestamp, relativeOffset }: TimeEntry): void {
  view.setBigInt64(0, BigInt(timestamp));
  view.setInt32(TIME_OFFSET_AT, relativeOffset);
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

/**
 * Number of the last entry that is older than `timestamp`; every batch up to its offset is older as well. -1 if there
 * is none.
 */
export const lastBefore = (kernel: Kernel, entries: Uint8Array, timestamp: number, steps?: number[]): number =>
  kernel.searchIndex(entries, "time", timestamp - 1, steps);

/** True if every entry points into the body. An index that points outside is wrong, even with a good checksum. */
export function leadsInside(offsetEntries: Uint8Array, bodyBytes: number): boolean {
  const view = viewOf(offsetEntries);
  for (let at = POSITION_AT; at < offsetEntries.length; at += OFFSET_ENTRY_BYTES)
    if (view.getUint32(at) >= bodyBytes) return false;
  return true;
}
