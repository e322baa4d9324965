/**
 * The catalog: what each slot of the volume is. Its flush is the commit of every structural change (new log, roll,
 * trim, compaction, epoch). Two copies, slot 0 and slot 1, each:
 *
 *   0         8         12        16            24        28
 *   ┌─────────┬─────────┬─────────┬─────────────┬─────────┬──────────────────────────┐
 *   │"TIDECAT1│ version │ payload │ generation  │ CRC-32C │ payload: UTF-8 JSON,     │
 *   │"        │ u32     │ bytes   │ u64         │ u32     │ CatalogState             │
 *   └─────────┴─────────┴─────────┴─────────────┴─────────┴──────────────────────────┘
 *
 * The CRC covers bytes 0 … 23 and the payload. A commit writes generation g+1 over the older copy and flushes it; this
 * is the moment of the commit. Then it writes the same over the other copy and flushes that. So outside a commit both
 * copies are equal, and one damaged copy never means going back a generation; inside a commit one copy is always whole.
 * The first commit after an opening first flushes the copy that it keeps, because the process that wrote it may have
 * died before its flush.
 *
 * In the JSON a segment is an array, so that a slot holds the catalog of some 80,000 segments: [slot, baseOffset,
 * epoch, createdAt, begun] while active, and behind these [nextOffset, bytes, batches, records, maxTimestamp, sealedAt,
 * compacted (0 or 1), offsetIndexBytes, timeIndexBytes, producersBytes, footerCrc] when sealed. Times are in
 * milliseconds.
 *
 * Version 2 is the one above. Version 1 had no `begun` of a segment and no `end` and `appending` of a log
 * (CatalogState); its logs are read as ones that may have been appended to. Later
 * writers of version 1 added `id`, and a log's `born` and `settings`; these are absent where there are none. So is
 * `compacted`, which says how far a log is compacted: a writer that does not know it drops it, and the next pass begins
 * at the start.
 *
 * Version 3 is written while a log has a `note` (docs/sync.md) or another name than its slots say. A library that does
 * not know notes must not append to such a log.
 */
import { assert, TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { viewOf } from "./bytes.ts";
import type { CompactedTo, QuarantinedRange } from "./log-store.ts";
import { ID_CHARS_MAX } from "./slot-layout.ts";
import { CATALOG_SLOTS, readExactly, SLOTS_MAX, type Volume } from "./volume.ts";

const MAGIC = 0x5449444543415431n; // "TIDECAT1"
const VERSION_AT = 8;
export const PAYLOAD_BYTES_AT = VERSION_AT + 4;
const GENERATION_AT = PAYLOAD_BYTES_AT + 4;
const CRC_AT = GENERATION_AT + 8;
export const PAYLOAD_AT = CRC_AT + 4;
export const CATALOG_VERSION = 2;
const VERSION_BARE = 1;
const VERSION_NOTED = 3;

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

type PackedSegment = readonly number[];
export interface PackedState extends Omit<CatalogState, "logs"> {
  readonly logs: readonly PackedLog[];
}
interface PackedLog extends Omit<LogEntry, "segments" | "end" | "appending"> {
  readonly segments: readonly PackedSegment[];
  readonly end: readonly [nextOffset: number, position: number];
  readonly appending?: number;
}

const ACTIVE_FIELDS = [
  "slot",
  "baseOffset",
  "epoch",
  "createdAt",
  "begun",
] as const satisfies readonly (keyof SegmentEntry)[];
const SEALED_FIELDS = [
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

function unpackSegment(packed: PackedSegment): SegmentEntry {
  const fields = <Name extends string>(names: readonly Name[], from: number) =>
    Object.fromEntries(names.map((name, i) => [name, packed[from + i]!])) as Record<Name, number>;
  const active = fields(ACTIVE_FIELDS, 0);
  if (packed.length === ACTIVE_FIELDS.length) return active;
  const sealed = fields(SEALED_FIELDS, ACTIVE_FIELDS.length);
  return { ...active, sealed: { ...sealed, compacted: Boolean(sealed.compacted) } };
}

function packLog({ segments, end, appending, ...log }: LogEntry): PackedLog {
  return {
    ...log,
    segments: segments.map(packSegment),
    end: [end.nextOffset, end.position],
    ...(appending !== 0 && { appending }),
  };
}

function unpackLog({ segments, end: [nextOffset, position], appending = 0, ...log }: PackedLog): LogEntry {
  return { ...log, segments: segments.map(unpackSegment), end: { nextOffset, position }, appending };
}

/** A payload of version 1, which had no identity, in today's form. */
function fromBare(bare: PackedState): PackedState {
  const withBegun = (segment: PackedSegment): PackedSegment => [...segment.slice(0, 4), 0, ...segment.slice(4)];
  const logs = bare.logs.map((log) => ({
    ...log,
    segments: log.segments.map(withBegun),
    end: [log.segments.at(-1)![1]!, 0] as const,
    appending: -1,
  }));
  return { ...bare, logs };
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
function isPossible({ id = "", epoch, usedSlots, logs }: PackedState, slotBytes: number): boolean {
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

export class Catalog {
  #generation = 0;
  /** The copy that the next commit overwrites first. */
  #older = 0;
  /**
   * True until the other copy was flushed by this process. The process that wrote it may have died before its flush, so
   * that it may only be in the system's cache.
   */
  #isCached = false;
  readonly #volume: Volume;
  readonly #kernel: Kernel;

  private constructor(volume: Volume, kernel: Kernel) {
    this.#volume = volume;
    this.#kernel = kernel;
  }

  /** The newest valid copy, or undefined if the volume was never formatted. CORRUPT_CATALOG: neither copy is whole. */
  static async read(
    volume: Volume,
    kernel: Kernel,
  ): Promise<{ catalog: Catalog; state: CatalogState | undefined; copies: number }> {
    const catalog = new Catalog(volume, kernel);
    const copies = [await catalog.#readCopy(0), await catalog.#readCopy(1)] as const;
    const generations = copies.map((copy) => (typeof copy === "object" ? copy.generation : -1)) as [number, number];
    let newest = generations[1] > generations[0] ? 1 : 0;
    const ids = copies.map((copy) => (typeof copy === "object" ? copy.state.id : undefined));
    if (ids[0] !== ids[1] && ids[0] !== undefined && ids[1] !== undefined) {
      // One of the two files came from another tide, so their generations can't be compared.
      const { tideOfSlots } = await import("./whose-catalog.ts");
      newest = ids.indexOf(await tideOfSlots(volume, kernel, ids as string[]));
    }
    const found = copies[newest];
    if (typeof found === "object") {
      catalog.#generation = found.generation;
      catalog.#older = 1 - newest;
      catalog.#isCached = true;
      return { catalog, state: found.state, copies: generations[0] === generations[1] ? 2 : 1 };
    }
    // A format that was interrupted leaves one torn copy and one that was never written, and no data anywhere.
    if (copies.includes("blank")) return { catalog, state: undefined, copies: 0 };
    throw new TidemarkError("CORRUPT_CATALOG", "neither copy of the catalog is valid", {
      a: String(copies[0]),
      b: String(copies[1]),
    });
  }

  get generation(): number {
    return this.#generation;
  }

  /** Writes `state` as the next generation. Crash: the earlier state or this one, never a mixture. */
  async commit(state: CatalogState): Promise<void> {
    const bytes = this.#encode(state, this.#generation + 1);
    const first = this.#older;
    if (this.#isCached) {
      // Otherwise a power cut while the older copy is overwritten could destroy both.
      await this.#volume.flush([1 - first]);
      this.#isCached = false;
    }
    for (const slot of [first, 1 - first]) {
      await this.#volume.write(slot, 0, bytes);
      await this.#volume.flush([slot]);
      // The commit is done once the first copy is flushed. If the second fails the store is poisoned all the same.
      if (slot === first) {
        this.#generation++;
        this.#older = 1 - first;
      }
    }
  }

  #encode(state: CatalogState, generation: number): Uint8Array {
    const packed: PackedState = { ...state, logs: state.logs.map(packLog) };
    // A state that a reader would take for damage must not be committed.
    assert(isPossible(packed, this.#volume.slotBytes), "the catalog to be written is valid");
    const payload = new TextEncoder().encode(JSON.stringify(packed));
    if (PAYLOAD_AT + payload.length > this.#volume.slotBytes) {
      throw new TidemarkError("LIMIT_EXCEEDED", "the catalog is too large for its slot: delete topics, or trim logs", {
        bytes: payload.length,
      });
    }
    const bytes = new Uint8Array(PAYLOAD_AT + payload.length);
    const view = viewOf(bytes);
    view.setBigUint64(0, MAGIC);
    view.setUint32(VERSION_AT, state.logs.some(({ note, madeAs }) => note ?? madeAs) ? VERSION_NOTED : CATALOG_VERSION);
    view.setUint32(PAYLOAD_BYTES_AT, payload.length);
    view.setBigUint64(GENERATION_AT, BigInt(generation));
    bytes.set(payload, PAYLOAD_AT);
    view.setUint32(CRC_AT, this.#crc(bytes));
    return bytes;
  }

  #crc(bytes: Uint8Array): number {
    return this.#kernel.crc32c(bytes.subarray(PAYLOAD_AT), this.#kernel.crc32c(bytes.subarray(0, CRC_AT)));
  }

  async #readCopy(slot: number): Promise<{ generation: number; state: CatalogState } | "blank" | "damaged"> {
    const head = await readExactly(this.#volume, slot, 0, PAYLOAD_AT);
    const view = viewOf(head);
    const length = view.getUint32(PAYLOAD_BYTES_AT);
    if (view.getBigUint64(0) !== MAGIC || length > this.#volume.slotBytes - PAYLOAD_AT) {
      return head.every((byte) => byte === 0) ? "blank" : "damaged";
    }
    const bytes = await readExactly(this.#volume, slot, 0, PAYLOAD_AT + length);
    if (this.#crc(bytes) !== view.getUint32(CRC_AT)) return "damaged";
    const version = view.getUint32(VERSION_AT);
    if (version < VERSION_BARE || version > VERSION_NOTED) {
      throw new TidemarkError(
        "UNSUPPORTED_FORMAT",
        `the catalog is of format version ${version}; this library reads ${VERSION_BARE} to ${VERSION_NOTED}`,
        { version },
      );
    }
    try {
      const read = JSON.parse(new TextDecoder().decode(bytes.subarray(PAYLOAD_AT))) as PackedState;
      const packed = version === VERSION_BARE ? fromBare(read) : read;
      const generation = Number(view.getBigUint64(GENERATION_AT));
      if (!Number.isSafeInteger(generation) || !isPossible(packed, this.#volume.slotBytes)) return "damaged";
      return { generation, state: { ...packed, logs: packed.logs.map(unpackLog) } };
    } catch {
      return "damaged";
    }
  }
}
