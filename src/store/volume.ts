/**
 * A volume: numbered slot files of one fixed size, and nothing else. Names never change, slots are never removed while
 * the volume is open, and creating one commits nothing: what a slot means is said by the catalog (catalog.ts) alone,
 * because no engine makes a file's *name* durable with its bytes (docs/format.md, "Why slots").
 *
 *   slot 0   catalog copy A          slot 2 …   segments, or free
 *   slot 1   catalog copy B
 *
 * Implementations: MemoryVolume, OpfsVolume, IdbVolume; TakenVolume over files that a hung leader keeps locked; one of
 * a single segment of R2 at the edge, for reading; those of simulation and tests. One writer per volume.
 */
import { TidemarkError } from "../errors.ts";

/** The first slots hold the catalog's copies; segments begin behind them. */
export const CATALOG_SLOTS = 2;
/**
 * A slot's number is below this one: more slots than a catalog can name. A file or an entry with a higher number is
 * none of ours.
 */
export const SLOTS_MAX = 2 ** 17;

export type Engine = "opfs" | "indexeddb" | "memory";

export interface VolumeInfo {
  readonly engine: Engine;
  /**
   * What a returned flush() is worth: "device" survives power loss as far as the engine's flush does; "process"
   * survives the tab and the browser, not the power; "none" ends with the process (memory, incognito).
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
   * Makes ready for a write to this slot all that has to be waited for (a file opened, a copy made): a write that
   * follows at once gives its bytes away in the same turn. Changes no byte of the slot. STORAGE_FAILED,
   * QUOTA_EXCEEDED.
   */
  prepare(slot: number): Promise<void>;

  /**
   * Hands bytes over for [position, position + bytes.length) of a slot. The buffer may be reused afterwards. Not
   * durable; readable at once by read(). Crash: any subset of the 512-byte sectors of any un-flushed write may be on
   * disk, in any order. Throws STORAGE_FAILED or QUOTA_EXCEEDED when refused or short; the range is then undefined.
   */
  write(slot: number, position: number, bytes: Uint8Array): Promise<void>;

  /** Reads into `target` from `position`; returns the bytes read (short only at the slot's end). Never-written is 0. */
  read(slot: number, position: number, target: Uint8Array): Promise<number>;

  /**
   * After it resolves all earlier writes to these slots have been given to the operating system: they survive the end
   * of this process. (OPFS: nothing to do. IndexedDB: a relaxed transaction.)
   */
  handOver(slots: readonly number[]): Promise<void>;

  /**
   * After it resolves all earlier writes to these slots survive what `info.durability` says. A failure leaves their
   * durability unknown and the caller must not retry in place. Crash: as for write().
   */
  flush(slots: readonly number[]): Promise<void>;

  /**
   * False when what is stored is no longer where it was: site data was cleared. Handles keep "succeeding" then, so
   * whoever acknowledges asks this before an ack's promise counts for long.
   */
  checkAttached(): Promise<boolean>;

  /** Releases handles. Does not flush. */
  close(): Promise<void>;
}

/** Reads [position, position + length) whole, or throws STORAGE_FAILED. */
export async function readExactly(volume: Volume, slot: number, position: number, length: number): Promise<Uint8Array> {
  const target = new Uint8Array(length);
  const count = await volume.read(slot, position, target);
  if (count !== length) {
    throw new TidemarkError("STORAGE_FAILED", "short read", { slot, position, length, count });
  }
  return target;
}
