/**
 * A volume: numbered slot files of one fixed size, and nothing else. Names never change, and slots are never removed
 * while the volume is open. Creating a slot commits nothing: only the catalog (catalog.ts) says what a slot means,
 * because no engine makes a file's *name* durable with its bytes (docs/format.md, "Why slots").
 *
 *   slot 0   catalog copy A          slot 2 …   segments, or free
 *   slot 1   catalog copy B
 *
 * Implementations: MemoryVolume, OpfsVolume, IdbVolume; FileVolume in Node; CopyingVolume over files that a hung leader
 * keeps locked; two of the command line over files that it only reads; at the edge one over segments in R2, for
 * reading; those of the simulation and of tests. Each volume has one writer.
 */
import { TidemarkError } from "../errors.ts";

/** The first slots hold the catalog's copies. Segments use the slots behind them. */
export const CATALOG_SLOTS = 2;
/**
 * Slot numbers are below this, which is more slots than a catalog can name. A file or an entry with a higher number is
 * ignored.
 */
export const SLOTS_MAX = 2 ** 17;

/** Where a browser stores a tide. */
export type Engine = "opfs" | "indexeddb" | "memory";

export interface VolumeInfo {
  /** "files": a folder, in Node. */
  readonly engine: Engine | "files";
  /**
   * What a returned flush() guarantees. "device": the bytes survive power loss, as far as the engine's flush does.
   * "process": they survive the end of the tab and the browser, but not power loss. "none": they end with the process
   * (memory, incognito).
   */
  readonly durability: "device" | "process" | "none";
}

export interface Volume {
  readonly info: VolumeInfo;
  /** Slots that exist: numbers 0 … slotCount - 1. */
  readonly slotCount: number;
  /** Size of every slot in bytes, fixed for the life of the volume. */
  readonly slotBytes: number;

  /**
   * Creates slots at the end, each with its whole size reserved, so that a later write inside a slot cannot meet a full
   * disk. QUOTA_EXCEEDED: none or some were made, `slotCount` says how many; nothing written before is touched.
   * Crash: some may exist; they are free.
   */
  addSlots(count: number): Promise<void>;

  /**
   * Does everything for a write to this slot that has to be awaited (opens a file, makes a copy), so that a write right
   * after it passes on its bytes in the same turn. Changes no byte of the slot. STORAGE_FAILED, QUOTA_EXCEEDED.
   */
  prepare(slot: number): Promise<void>;

  /**
   * Hands bytes over for [position, position + bytes.length) of a slot. The buffer may be reused afterwards. Not
   * durable; readable at once by read(). Crash: any subset of the 512-byte sectors of any un-flushed write may be on
   * disk, in any order. Throws STORAGE_FAILED or QUOTA_EXCEEDED when refused or short; the range is then undefined.
   */
  write(slot: number, position: number, bytes: Uint8Array): Promise<void>;

  /**
   * Reads into `target` from `position`. Returns the number of bytes, which is smaller only at the slot's end. Bytes
   * that were never written are 0.
   */
  read(slot: number, position: number, target: Uint8Array): Promise<number>;

  /**
   * Once it resolves, all earlier writes to these slots have been given to the operating system: they survive the end
   * of this process. (OPFS: nothing to do. IndexedDB: a relaxed transaction.)
   */
  handOver(slots: readonly number[]): Promise<void>;

  /**
   * Once it resolves, all earlier writes to these slots survive what `info.durability` says. After a failure their
   * durability is unknown, and the caller must not retry in place. Crash: as for write().
   */
  flush(slots: readonly number[]): Promise<void>;

  /**
   * False if the files are no longer where they were, because site data was cleared. Writes to open handles still seem
   * to succeed then, so the leader calls this regularly while it acknowledges appends.
   */
  checkAttached(): Promise<boolean>;

  /** Releases handles. Does not flush. */
  close(): Promise<void>;
}

/** Reads all of [position, position + length), or throws STORAGE_FAILED. Uses `memory` if the bytes fit. */
export async function readExactly(
  volume: Volume,
  slot: number,
  position: number,
  length: number,
  memory?: Uint8Array,
): Promise<Uint8Array> {
  const target = memory && memory.length >= length ? memory.subarray(0, length) : new Uint8Array(length);
  const count = await volume.read(slot, position, target);
  if (count !== length) {
    throw new TidemarkError("STORAGE_FAILED", "short read", { slot, position, length, count });
  }
  return target;
}
