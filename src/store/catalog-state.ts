/**
 * What the catalog says of a tide and its logs (catalog.ts), and the form in which its JSON has it: a segment is an
 * array there. Also which of these can be true.
 */
import type { CompactedTo, QuarantinedRange } from "./log-store.ts";
import { ID_CHARS_MAX } from "./slot-layout.ts";
import { CATALOG_SLOTS, SLOTS_MAX } from "./volume.ts";

/** A segment as the catalog describes it. The last segment of a log is active, all others are sealed. */
export interface SegmentEntry {
  readonly slot: number;
  readonly baseOffset: number;
  /** Epoch of the first batch; the slot's role and marks carry it too. */
  readonly epoch: number;
  readonly createdAt: number;
  /**
   * Generation of the catalog that was to name it first; the slot's role has the same number. 0: begun by a version
   * that did not record it.
   */
  readonly begun: number;
  /** Absent while the segment is active: its batches tell the same. */
  readonly sealed?: SealedEntry;
}

export interface SealedEntry {
  readonly nextOffset: number;
  readonly bytes: number;
  readonly batches: number;
  readonly records: number;
  readonly maxTimestamp: number;
  readonly sealedAt: number;
  readonly compacted: boolean;
  readonly offsetIndexBytes: number;
  readonly timeIndexBytes: number;
  readonly producersBytes: number;
  readonly footerCrc: number;
}

/** Settings that a log stores: plain data that only the log interprets. */
export type StoredSettings = Readonly<Record<string, unknown>>;

export interface LogEntry {
  readonly name: string;
  /**
   * The volume's epoch when the log was made. It is higher than that of an earlier log of this name. Absent for a log
   * of an earlier version.
   */
  readonly born?: number | undefined;
  readonly settings?: StoredSettings | undefined;
  /** What another part keeps with the log, in the same commits; the store does not look into it. */
  readonly note?: StoredSettings | undefined;
  /** The name that the log had when it was made: its slots go on to say it. Absent where that is `name`. */
  readonly madeAs?: string | undefined;
  readonly compacted?: CompactedTo | undefined;
  readonly logStartOffset: number;
  readonly segments: readonly SegmentEntry[];
  readonly quarantined: readonly QuarantinedRange[];
  /**
   * How much of the active segment was flushed as of this commit. A slot that holds less is damaged, or is another
   * file.
   */
  readonly end: { readonly nextOffset: number; readonly position: number };
  /**
   * Leader epoch of batches that may have been appended behind `end` since. 0: there can be none, the log ends there,
   * and an opening reads none of its slots. -1: only the slot's marks tell, because the version that wrote this did
   * not.
   */
  readonly appending: number;
}

export interface CatalogState {
  /**
   * Drawn when the volume was formatted: an opener that expects another id had a volume that is gone. Each slot's role
   * repeats it, so that no file of another tide is mistaken for one of this tide.
   */
  readonly id?: string | undefined;
  /** Leader epoch of the whole volume. It rises with every open, and whenever a used slot is taken again. */
  readonly epoch: number;
  /** Slots below this number were used at some time, so they may hold stale batches. */
  readonly usedSlots: number;
  readonly logs: readonly LogEntry[];
}

export type PackedSegment = readonly number[];
export interface PackedState extends Omit<CatalogState, "logs"> {
  readonly logs: readonly PackedLog[];
}
export interface PackedLog extends Omit<LogEntry, "segments" | "end" | "appending"> {
  readonly segments: readonly PackedSegment[];
  readonly end: readonly [nextOffset: number, position: number];
  readonly appending?: number;
}

export const ACTIVE_FIELDS = [
  "slot",
  "baseOffset",
  "epoch",
  "createdAt",
  "begun",
] as const satisfies readonly (keyof SegmentEntry)[];
export const SEALED_FIELDS = [
  "nextOffset",
  "bytes",
  "batches",
  "records",
  "maxTimestamp",
  "sealedAt",
  "compacted",
  "offsetIndexBytes",
  "timeIndexBytes",
  "producersBytes",
  "footerCrc",
] as const satisfies readonly (keyof SealedEntry)[];

function packSegment(entry: SegmentEntry): PackedSegment {
  const sealed = entry.sealed ? SEALED_FIELDS.map((field) => Number(entry.sealed![field])) : [];
  return [...ACTIVE_FIELDS.map((field) => entry[field]), ...sealed];
}

export function packLog({ segments, end, appending, ...log }: LogEntry): PackedLog {
  return {
    ...log,
    segments: segments.map(packSegment),
    end: [end.nextOffset, end.position],
    ...(appending !== 0 && { appending }),
  };
}

const NOT_COMPACTED: CompactedTo = { to: 0, dueAt: null, tombstoneRetentionMs: 0 };
const isMark = ({ to, dueAt, tombstoneRetentionMs, mapTo = 0, at = 0, passDueAt = null }: CompactedTo): boolean =>
  areCounts(to, mapTo, at) &&
  [dueAt, passDueAt].every((due) => due === null || Number.isFinite(due)) &&
  Number.isFinite(tombstoneRetentionMs);
const areCounts = (...values: unknown[]): boolean =>
  values.every((value) => Number.isSafeInteger(value) && (value as number) >= 0);

/**
 * The checksum proves that the bytes are as written, not that they make sense. A number that can't be true could cause
 * a read beyond the slot, or slots without end. Throws if a field has another shape.
 */
export function isPossibleState({ id = "", epoch, usedSlots, logs }: PackedState, slotBytes: number): boolean {
  const isSegment = (packed: PackedSegment, at: number, all: readonly PackedSegment[]): boolean => {
    const [slot, base, epoch, , begun, next, bytes, batches, records, maxTimestamp, , , ...sizes] =
      packed as readonly number[];
    const active = at === all.length - 1;
    return (
      packed.length === ACTIVE_FIELDS.length + (active ? 0 : SEALED_FIELDS.length) &&
      packed.every((value) => Number.isFinite(value)) &&
      areCounts(slot, base, epoch, begun) &&
      slot! >= CATALOG_SLOTS &&
      slot! < SLOTS_MAX &&
      epoch! < 2 ** 31 - 1 &&
      (active ||
        (areCounts(next, bytes, batches, records, ...sizes) &&
          Number.isSafeInteger(maxTimestamp) &&
          next! >= base! &&
          all[at + 1]![1]! >= next! &&
          bytes! + sizes[0]! + sizes[1]! + sizes[2]! < slotBytes))
    );
  };
  return (
    typeof id === "string" &&
    id.length <= ID_CHARS_MAX &&
    areCounts(epoch, usedSlots) &&
    epoch < 2 ** 31 - 1 &&
    usedSlots <= SLOTS_MAX &&
    logs.every(
      ({
        name,
        born = 0,
        settings = {},
        note = {},
        compacted = NOT_COMPACTED,
        logStartOffset,
        segments,
        quarantined,
        end,
        appending = 0,
      }) =>
        typeof name === "string" &&
        areCounts(born, logStartOffset) &&
        born <= epoch &&
        [settings, note].every((each) => each?.constructor === Object) &&
        isMark(compacted) &&
        segments.length > 0 &&
        segments.every(isSegment) &&
        areCounts(...end, appending + 1) &&
        end.length === 2 &&
        end[0] >= segments.at(-1)![1]! &&
        end[1] < slotBytes &&
        quarantined.every(
          ({ from, to, position, bytes }) =>
            areCounts(from, to - from, position, bytes) && position + bytes <= slotBytes,
        ),
    )
  );
}
