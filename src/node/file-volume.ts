/**
 * A volume in a folder of a file system, for Node.
 *
 *   FOLDER/lock        held as long as the volume is open (folder-lock.ts)
 *         /slot-0000   catalog A
 *         /slot-0001   catalog B
 *         /slot-0002 … segments, or free; every file is slotBytes long
 *
 * Reads and writes are calls into the system's page cache, made at once; a write that has returned survives the end of
 * this process. flush() is fdatasync, beside this thread.
 *
 * A new slot is written with zeros under another name, so that its room is reserved, then synced, then renamed, and
 * then the folder is synced. So the name of a slot that the catalog speaks of survives power loss like its bytes. A
 * crash in between leaves a file `slot-NNNN.new`, which the next addSlots writes again.
 */
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fsync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  write,
  writeSync,
} from "node:fs";
import path from "node:path";
import { promisify } from "node:util";
import { TidemarkError } from "../errors.ts";
import { RecentMap } from "../store/recent-map.ts";
import { refused } from "../topic/check.ts";
import { SLOTS_MAX, type Volume, type VolumeInfo } from "../store/volume.ts";
import { type FolderLock, isSameFile, lockFolder } from "./folder-lock.ts";

export interface FileVolumeOptions {
  readonly folder: string;
  /** Used for a new volume. An existing one keeps its own. */
  readonly slotBytes: number;
  /** The folder must hold a tide. NO_STORAGE if it does not; nothing is made then. */
  readonly mustExist?: boolean | undefined;
  /** Most files that are open at a time, at least 2. Default 128: macOS gives a process 256. */
  readonly filesMax?: number | undefined;
}

const FILES_MAX = 128;
/** A write looks whether the lock is still the folder's, unless one has within this time. */
const LOCK_CHECK_MS = 1;
const ZEROS_BYTES = 1024 * 1024;
const PAGE_BYTES = 4096;
const written = promisify(write);
const synced = promisify(fsync);
const dataSynced = promisify(fdatasync);

export const slotFile = (slot: number): string => `slot-${String(slot).padStart(4, "0")}`;
const isSize = (bytes: number): boolean => bytes >= PAGE_BYTES && Number.isInteger(Math.log2(bytes));

interface OpenFile {
  readonly fd: number;
  /** True if it was written to since the last flush began. */
  isDirty: boolean;
  /** Flushes under way. A later flush waits for them too, and the file can't be closed meanwhile. */
  readonly flushes: Set<Promise<void>>;
}

/** A failed call of the file system, as the store knows it. */
export function fileError(thrown: unknown): TidemarkError {
  const full = ["ENOSPC", "EDQUOT", "EFBIG"].includes((thrown as NodeJS.ErrnoException | null)?.code ?? "");
  return full
    ? new TidemarkError("QUOTA_EXCEEDED", `${String(thrown)}: free disk space, or trim topics`, {}, { cause: thrown })
    : TidemarkError.from(thrown, "STORAGE_FAILED");
}

/** Makes the names in a folder durable. Windows has no such call, and needs none. */
async function syncFolder(folder: string): Promise<void> {
  if (process.platform === "win32") return;
  const fd = openSync(folder, "r");
  try {
    await synced(fd);
  } finally {
    closeSync(fd);
  }
}

/** Makes the folder, and each folder above it that is missing, so that power loss does not take its name. */
async function makeFolder(folder: string): Promise<void> {
  let first: string | undefined;
  try {
    first = mkdirSync(folder, { recursive: true });
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== "EEXIST") throw thrown;
    throw refused("folder", folder, "a folder");
  }
  if (first === undefined) return;
  for (let made = folder; ; made = path.dirname(made)) {
    await syncFolder(path.dirname(made));
    if (made === first || path.dirname(made) === made) return;
  }
}

/** Numbers of the slots that are in the folder. */
export function slotsIn(folder: string): number[] {
  return readdirSync(folder)
    .map((name) => /^slot-(\d{4,6})$/.exec(name)?.[1])
    .filter((number) => number !== undefined)
    .map(Number)
    .filter((slot) => slot < SLOTS_MAX)
    .sort((a, b) => a - b);
}

/** The size of this folder's slots: that of the first file that has a possible one. Undefined if none has. */
export const slotBytesIn = (folder: string, slots: readonly number[]): number | undefined =>
  slots.map((slot) => statSync(path.join(folder, slotFile(slot))).size).find(isSize);

/** NO_STORAGE. */
export const noTide = (folder: string): TidemarkError =>
  new TidemarkError("NO_STORAGE", `there is no tide in ${folder}: name a folder that open() has made`, { folder });

export class FileVolume implements Volume {
  readonly info: VolumeInfo = { engine: "files", durability: "device" };
  readonly #folder: string;
  readonly #lock: FolderLock;
  /** When the lock was looked at last. */
  #lockedAt = -Infinity;
  readonly #filesMax: number;
  #slotBytes: number;
  #slotCount = 0;
  /** Open files, those unused for longest first. */
  readonly #open = new RecentMap<number, OpenFile>();
  /** Slots are made one after the other. */
  #adding: Promise<unknown> = Promise.resolve();
  #failed: TidemarkError | undefined;
  #closed = false;

  private constructor({ folder, slotBytes, filesMax = FILES_MAX }: FileVolumeOptions, lock: FolderLock) {
    this.#folder = folder;
    this.#slotBytes = slotBytes;
    this.#filesMax = filesMax;
    this.#lock = lock;
  }

  /** ALREADY_OPEN, NO_STORAGE (see mustExist), STORAGE_FAILED. */
  static async open(options: FileVolumeOptions): Promise<FileVolume> {
    const folder = path.resolve(options.folder);
    try {
      if (!options.mustExist) await makeFolder(folder);
      else if (!isThere(folder)) throw noTide(folder);
      const lock = await lockFolder(folder);
      const volume = new FileVolume({ ...options, folder }, lock);
      try {
        volume.#adopt();
        return volume;
      } catch (thrown) {
        await volume.close();
        throw thrown;
      }
    } catch (thrown) {
      throw fileError(thrown);
    }
  }

  get slotCount(): number {
    return this.#slotCount;
  }
  get slotBytes(): number {
    return this.#slotBytes;
  }
  /** What keeps other processes away. */
  get lockedBy(): FolderLock["means"] {
    return this.#lock.means;
  }

  /** Takes the size of slots from the first file that has a possible one. */
  #adopt(): void {
    const slots = slotsIn(this.#folder);
    this.#slotBytes = slotBytesIn(this.#folder, slots) ?? this.#slotBytes;
    this.#slotCount = (slots.at(-1) ?? -1) + 1;
  }

  #path(slot: number): string {
    return path.join(this.#folder, slotFile(slot));
  }

  addSlots(count: number): Promise<void> {
    const run = this.#adding.then(() => this.#addSlots(count));
    this.#adding = run.catch(() => undefined);
    return run;
  }

  async #addSlots(count: number): Promise<void> {
    this.#check();
    for (let made = 0; made < count; made++) {
      try {
        await this.#make(this.#slotCount);
      } catch (thrown) {
        throw fileError(thrown).with({ slots: this.#slotCount, made });
      }
      this.#slotCount++;
    }
  }

  /** Makes a slot's file, whole and durable with its name. */
  async #make(slot: number): Promise<void> {
    const made = `${this.#path(slot)}.new`;
    const fd = openSync(made, "w");
    try {
      const zeros = new Uint8Array(Math.min(ZEROS_BYTES, this.#slotBytes));
      for (let at = 0; at < this.#slotBytes;) {
        const { bytesWritten } = await written(fd, zeros, 0, Math.min(zeros.length, this.#slotBytes - at), at);
        at += bytesWritten;
      }
      await synced(fd);
      closeSync(fd);
    } catch (thrown) {
      closeSync(fd);
      rmSync(made, { force: true });
      throw thrown;
    }
    renameSync(made, this.#path(slot));
    await syncFolder(this.#folder);
  }

  async prepare(slot: number): Promise<void> {
    this.#checkRange(slot, 0, 0);
    this.#file(slot);
  }

  async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.#checkRange(slot, position, bytes.length);
    const file = this.#file(slot);
    this.#checkLock();
    if (this.#failed) throw this.#failed;
    file.isDirty = true;
    try {
      for (let done = 0; done < bytes.length;)
        done += writeSync(file.fd, bytes, done, bytes.length - done, position + done);
    } catch (thrown) {
      throw fileError(thrown);
    }
  }

  async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    this.#checkRange(slot, position, 0);
    const { fd } = this.#file(slot);
    const wanted = Math.min(target.length, this.#slotBytes - position);
    try {
      for (let done = 0; done < wanted;) {
        const count = readSync(fd, target, done, wanted - done, position + done);
        // A file that something has cut reads as zeros, which no checksum takes for data.
        if (count === 0) target.fill(0, done, wanted);
        done = count === 0 ? wanted : done + count;
      }
    } catch (thrown) {
      throw fileError(thrown);
    }
    return wanted;
  }

  /** Nothing to do: a write is a system call already. */
  async handOver(): Promise<void> {
    this.#check();
  }

  async flush(slots: readonly number[]): Promise<void> {
    this.#check();
    if (this.#failed) throw this.#failed;
    const flushes = slots.flatMap((slot) => {
      const file = this.#open.get(slot);
      if (file?.isDirty) this.#flush(file);
      return [...(file?.flushes ?? [])];
    });
    await Promise.all(flushes);
  }

  #flush(file: OpenFile): void {
    // A write that comes meanwhile makes it dirty again.
    file.isDirty = false;
    const flush = dataSynced(file.fd)
      .catch((thrown: unknown) => {
        // Systems report a failed sync only once: a second one that "succeeds" would prove nothing.
        throw (this.#failed ??= fileError(thrown));
      })
      .finally(() => file.flushes.delete(flush));
    file.flushes.add(flush);
    flush.catch(() => undefined);
  }

  async checkAttached(): Promise<boolean> {
    if (this.#slotCount === 0) return true;
    try {
      return isSameFile(this.#path(0), this.#file(0).fd);
    } catch (thrown) {
      throw fileError(thrown);
    }
  }

  async close(): Promise<void> {
    this.#closed = true;
    await this.#adding;
    try {
      for (const { fd, flushes } of this.#open.values()) {
        await Promise.allSettled(flushes);
        closeSync(fd);
      }
    } finally {
      this.#open.clear();
      this.#lock.release();
    }
  }

  /** The slot's file, opened if it is not. */
  #file(slot: number): OpenFile {
    this.#check();
    const known = this.#open.get(slot);
    if (known) {
      this.#open.put(slot, known);
      return known;
    }
    try {
      if (this.#open.size >= this.#filesMax) this.#evict();
      const file = { fd: this.#opened(slot), isDirty: false, flushes: new Set<Promise<void>>() };
      this.#open.set(slot, file);
      return file;
    } catch (thrown) {
      throw fileError(thrown);
    }
  }

  /** A slot whose file somebody has removed is one of zeros; recovery says what is missing. */
  #opened(slot: number): number {
    try {
      return openSync(this.#path(slot), "r+");
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== "ENOENT") throw thrown;
      return openSync(this.#path(slot), "w+");
    }
  }

  /**
   * Closes the file that was unused for longest, of those without un-flushed writes if there are any. Slot 0 stays:
   * checkAttached() compares it.
   */
  #evict(): void {
    const idle = [...this.#open].filter(([slot, { flushes }]) => slot !== 0 && flushes.size === 0);
    const [slot, file] = idle.find(([, { isDirty }]) => !isDirty) ?? idle[0] ?? [];
    if (slot === undefined || !file) return;
    if (file.isDirty) {
      try {
        fdatasyncSync(file.fd);
      } catch (thrown) {
        throw (this.#failed ??= fileError(thrown));
      }
    }
    closeSync(file.fd);
    this.#open.delete(slot);
  }

  /** Somebody may remove the lock's file by hand, and then another process can open the folder and write to it. */
  #checkLock(): void {
    const now = performance.now();
    if (this.#failed || now - this.#lockedAt < LOCK_CHECK_MS) return;
    this.#lockedAt = now;
    if (this.#lock.isHeld()) return;
    const text = `the file lock in ${this.#folder} was removed, and another process may have the tide: leave that file`;
    this.#failed = new TidemarkError("CLOSED", text, { reason: "lock", folder: this.#folder });
  }

  #check(): void {
    if (this.#closed) throw new TidemarkError("CLOSED", "the volume is closed");
  }

  #checkRange(slot: number, position: number, length: number): void {
    this.#check();
    if (!(slot >= 0 && slot < this.#slotCount && position >= 0 && position + length <= this.#slotBytes))
      throw new TidemarkError("INTERNAL", "outside the volume", { slot, position, length });
  }
}

/** Whether the folder holds a tide. */
export function isThere(folder: string): boolean {
  try {
    return slotsIn(folder).length > 0;
  } catch (thrown) {
    if (["ENOENT", "ENOTDIR"].includes((thrown as NodeJS.ErrnoException).code ?? "")) return false;
    throw thrown;
  }
}
