/**
 * More of the entries that index-entries.ts draws: what seeks by time, exports and checks need, and a log that is only
 * appended to and read does not.
 */
import { type Kernel, OFFSET_ENTRY_BYTES, TIME_ENTRY_BYTES } from "../kernel/types.ts";
import { viewOf } from "./bytes.ts";
import { type OffsetEntry, POSITION_AT } from "./index-entries.ts";

const TIME_OFFSET_AT = 8;

export interface TimeEntry {
  readonly timestamp: number;
  readonly relativeOffset: number;
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
