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
 * The CRC covers bytes 0 … 23 and the payload. A commit writes generation g+1 over the copy that is older, flushes
 * (this is the commit), then writes the same over the other copy and flushes. So outside a commit both copies are
 * equal, and one rotten copy never means going back a generation; inside a commit one copy is always whole. The first
 * commit behind an opening flushes the copy that it keeps, because the process that wrote it may have died before it
 * did.
 *
 * In the JSON a segment is an array, so that a slot holds the catalog of some 80,000 segments: [slot, baseOffset,
 * epoch, createdAt, begun] while active, and behind these [nextOffset, bytes, batches, records, maxTimestamp, sealedAt,
 * compacted (0 or 1), offsetIndexBytes, timeIndexBytes, producersBytes, footerCrc] when sealed. Times are in
 * milliseconds.
 *
 * Version 1 knew neither `begun`, `end` nor `appending`: its logs are read as ones that may have been appended to. Its
 * later writers knew `id`, and a log's `born` and `settings`, which are left out where there are none. So is
 * `compacted`, which says how far a log is compacted; who does not know it drops it, and the next pass begins at the
 * start.
 */
import { assert, TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import { viewOf } from "./bytes.ts";
import type { CompactedTo, QuarantinedRange } from "./log-store.ts";
import { ID_CHARS_MAX } from "./slot.ts";
import { CATALOG_SLOTS, readExactly, SLOTS_MAX, type Volume } from "./volume.ts";

const MAGIC = 0x5449444543415431n; // "TIDECAT1"
const VERSION_AT = 8;
export const PAYLOAD_BYTES_AT = VERSION_AT + 4;
const GENERATION_AT = PAYLOAD_BYTES_AT + 4;
const CRC_AT = GENERATION_AT + 8;
export const PAYLOAD_AT = CRC_AT + 4;
export const CATALOG_VERSION = 2;
const VERSION_BARE = 1;

/** A segment as the catalog knows it. The last one of a log is active, all before it are sealed. */
export interface SegmentEntry {
  readonly slot: number;
  readonly baseOffset: number;
  /** Epoch of the first batch; the slot's role and marks carry it too. */
  readonly epoch: number;
  readonly createdAt: number;
  /**
   * Generation of the catalog that was to name it first; the slot's role says it too. 0: begun by a version that knew
   * none.
   */
  readonly begun: number;
  /** Absent while active: the batches say it. */
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

/** Settings that a log keeps: plain data, whose meaning is the log's own. */
export type StoredSettings = Readonly<Record<string, unknown>>;

export interface LogEntry {
  readonly name: string;
  /**
   * The volume's epoch when it was made, higher than that of a log of this name before it. Absent: a log of an earlier
   * version.
   */
  readonly born?: number | undefined;
  readonly settings?: StoredSettings | undefined;
  readonly compacted?: CompactedTo | undefined;
  readonly logStartOffset: number;
  readonly segments: readonly SegmentEntry[];
  readonly quarantined: readonly QuarantinedRange[];
  /** What was flushed of the active segment, as of this commit: a slot that holds less is damaged, or another file. */
  readonly end: { readonly nextOffset: number; readonly position: number };
  /**
   * Leader epoch of batches that may have been appended behind `end` since. 0: none may, the log ends there, and an
   * opening looks at none of its slots. -1: as the slot's marks say, because the version that wrote this did not.
   */
  readonly appending: number;
}

export interface CatalogState {
  /**
   * Drawn when the volume was formatted: who knows another one had a volume that is gone. Each slot's role repeats it,
   * so that no file of another tide is taken for one of this.
   */
  readonly id?: string | undefined;
  /** Volume-wide leader epoch; rises with every open and whenever a used slot is taken again. */
  readonly epoch: number;
  /** Slots below this number have been used at some time: what they hold may be stale batches. */
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
  const fields = (names: readonly string[], from: number) =>
    Object.fromEntries(names.map((name, i) => [name, packed[from + i]!]));
  const active = fields(ACTIVE_FIELDS, 0) as unknown as SegmentEntry;
  if (packed.length === ACTIVE_FIELDS.length) return active;
  const sealed = fields(SEALED_FIELDS, ACTIVE_FIELDS.length) as unknown as SealedEntry;
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

/** A payload of the version that knew no identity, as one of today's. */
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
 * The checksum vouches for the bytes, not for who wrote them: a number that can't be true would become a read beyond
 * the slot, or slots without end. Throws where a field is of another shape.
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
        settings?.constructor === Object &&
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
  /** The copy to be overwritten next. */
  #older = 0;
  /** The other copy may lie in the system's cache alone: a process that died had written it, and not flushed it. */
  #isCached = false;
  readonly #volume: Volume;
  readonly #kernel: Kernel;

  private constructor(volume: Volume, kernel: Kernel) {
    this.#volume = volume;
    this.#kernel = kernel;
  }

  /**
   * The newest valid copy, or undefined for a volume that was never formatted. CORRUPT_CATALOG: neither copy is whole.
   */
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
      // One of the files came from another tide, whose generation means nothing here.
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
    // A format that was cut short leaves one torn copy beside one never written, and no data anywhere.
    if (copies.includes("blank")) return { catalog, state: undefined, copies: 0 };
    throw new TidemarkError("CORRUPT_CATALOG", "neither copy of the catalog is valid", {
      a: String(copies[0]),
      b: String(copies[1]),
    });
  }

  get generation(): number {
    return this.#generation;
  }

  /** Writes `state` as the next generation. Crash: the state before or this one, never a mixture. */
  async commit(state: CatalogState): Promise<void> {
    const bytes = this.#encode(state, this.#generation + 1);
    const first = this.#older;
    if (this.#isCached) {
      // Else a power cut while the older copy is overwritten could take both.
      await this.#volume.flush([1 - first]);
      this.#isCached = false;
    }
    for (const slot of [first, 1 - first]) {
      await this.#volume.write(slot, 0, bytes);
      await this.#volume.flush([slot]);
      // Committed once the first copy is flushed; after a failure of the second the store is poisoned all the same.
      if (slot === first) {
        this.#generation++;
        this.#older = 1 - first;
      }
    }
  }

  #encode(state: CatalogState, generation: number): Uint8Array {
    const packed: PackedState = { ...state, logs: state.logs.map(packLog) };
    // What would be taken for damage when it is read must not be committed.
    assert(isPossible(packed, this.#volume.slotBytes), "a catalog says what can be true");
    const payload = new TextEncoder().encode(JSON.stringify(packed));
    if (PAYLOAD_AT + payload.length > this.#volume.slotBytes) {
      throw new TidemarkError("LIMIT_EXCEEDED", "the catalog outgrew its slot", { bytes: payload.length });
    }
    const bytes = new Uint8Array(PAYLOAD_AT + payload.length);
    const view = viewOf(bytes);
    view.setBigUint64(0, MAGIC);
    view.setUint32(VERSION_AT, CATALOG_VERSION);
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
    if (version !== CATALOG_VERSION && version !== VERSION_BARE) {
      throw new TidemarkError(
        "UNSUPPORTED_FORMAT",
        `the catalog is of format version ${version}; this library reads ${VERSION_BARE} and ${CATALOG_VERSION}`,
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
