/**
 * A volume in OPFS some of whose files are kept locked by a leader that hangs: it never lets go of them, and it may
 * wake.
 *
 *   tidemark/<name>/slot-0007            locked: read through getFile(), which also sees what was never flushed
 *                  /taken/slot-0007.1    made by the first write to that slot: a copy, and from then on the slot
 *
 * The store above opens as after a crash: it reads the catalog, cuts the active segments at the last valid batch, and
 * before it acks anything it commits a higher epoch and writes marks, by which both catalogs and every active segment
 * become copies.
 *
 * What the old leader still writes, at worst, is what it was about to when its process was stopped, behind its last
 * look at its lease (worker/fenced-volume.ts): a write or two, into files that it had open, that is, into files that
 * are locked.
 *   - a catalog or an active segment: read before that write, it looks as after a crash; after the copy, nobody reads
 *     the file
 *   - a slot that was free: its first use makes it a copy, and what the copy holds from before has an older epoch
 *   - a segment that was sealed: no leader ever writes to one
 * A file that this volume writes to without a copy is locked by this volume, so nobody else has it open.
 *
 * The next opening that finds no file locked copies everything back over whatever stands there, and the volume is as
 * it was before. A copy has the size of a slot only once it is whole: its last byte is written when all others are
 * flushed. One that was brought back is made empty before its name goes, because a power cut can bring a name back,
 * but not its bytes. Crash inside: what is whole counts, and all is done again.
 */
import { TidemarkError } from "../../errors.ts";
import type { Volume, VolumeInfo } from "../../store/volume.ts";
import { proveTerm, waitAlone } from "./sole-writer.ts";
import {
  type DirectoryHandle,
  findDirectory,
  findVolume,
  isSlotSize,
  slotName,
  type SyncHandle,
} from "./opfs-files.ts";
import { isNamed } from "../platform/errors.ts";
import { SUCCESSOR_WAIT_MS } from "../platform/terms.ts";
import { sleep } from "../platform/timing.ts";
import type { VolumeOptions } from "./engine.ts";

const FOLDER = "taken";
const COPY_BYTES = 1024 * 1024;
/** A worker that is ending lets go within some ten milliseconds; one that hangs never does. */
const LOCKED_TRIES = 4;
const LOCKED_PAUSE_MS = 10;

type FileHandle = FileSystemFileHandle & { createSyncAccessHandle(): Promise<SyncHandle> };
interface Place {
  readonly file: FileHandle;
  readonly handle: SyncHandle | undefined;
}

const storageError = (thrown: unknown): TidemarkError =>
  TidemarkError.from(thrown, isNamed(thrown, "QuotaExceededError") ? "QUOTA_EXCEEDED" : "STORAGE_FAILED");

/** undefined: somebody else keeps it open. */
async function tryHandle(file: FileHandle): Promise<SyncHandle | undefined> {
  for (let tries = 1; ; tries++) {
    try {
      return await file.createSyncAccessHandle();
    } catch (thrown) {
      if (!isNamed(thrown, "NoModificationAllowedError")) throw thrown;
      if (tries === LOCKED_TRIES) return undefined;
      await sleep(LOCKED_PAUSE_MS);
    }
  }
}

/** Reads a file that may be locked; a snapshot that was written to meanwhile is taken again. */
async function readFile(file: FileHandle, position: number, length: number): Promise<Uint8Array> {
  for (let tries = 1; ; tries++) {
    try {
      return new Uint8Array(await (await file.getFile()).slice(position, position + length).arrayBuffer());
    } catch (thrown) {
      if (!isNamed(thrown, "NotReadableError") || tries === LOCKED_TRIES) throw thrown;
    }
  }
}

async function copyFile(
  from: FileHandle,
  to: SyncHandle,
  range: { readonly at: number; readonly end: number },
): Promise<void> {
  for (let { at } = range; at < range.end;) {
    const part = await readFile(from, at, Math.min(COPY_BYTES, range.end - at));
    // A file that was never written is short: it is zero from there on.
    if (part.length === 0) to.truncate(range.end);
    else if (to.write(part, { at }) !== part.length) throw new TidemarkError("STORAGE_FAILED", "short copy", { at });
    at += part.length || range.end;
  }
  to.flush();
}

interface Copy {
  readonly name: string;
  readonly file: FileHandle;
  readonly number: number;
  readonly size: number;
}

/** All copies there are of each slot, the newest first; those that aren't whole, too. */
async function copiesIn(folder: DirectoryHandle): Promise<Map<number, Copy[]>> {
  const copies = new Map<number, Copy[]>();
  for await (const name of folder.keys()) {
    const [, slot, number] = /^slot-(\d+)\.(\d+)$/.exec(name) ?? [];
    if (slot === undefined) continue;
    const file = (await folder.getFileHandle(name)) as FileHandle;
    const known = copies.get(Number(slot)) ?? [];
    known.push({ name, file, number: Number(number), size: (await file.getFile()).size });
    copies.set(
      Number(slot),
      known.sort((a, b) => b.number - a.number),
    );
  }
  return copies;
}

/** Brings all copies back; false when a file is locked, and then nothing has changed. */
async function bringBack(
  directory: DirectoryHandle,
  folder: DirectoryHandle,
  slotBytes: number,
  lifeLock: string | undefined,
): Promise<boolean> {
  const open: SyncHandle[] = [];
  const take = async (file: FileHandle): Promise<SyncHandle | undefined> => {
    const handle = await tryHandle(file);
    if (handle) open.push(handle);
    return handle;
  };
  const find = async (slot: number): Promise<FileHandle> =>
    (await directory.getFileHandle(slotName(slot), { create: true })) as FileHandle;
  const copies = await copiesIn(folder);
  const names = [...copies.values()].flat().map(({ name }) => name);
  try {
    // Slot 0 is held by whoever has the volume open.
    if (!copies.has(0) && !(await take(await find(0)))) return false;
    const taken: SyncHandle[] = [];
    const back: { readonly from: FileHandle; readonly to: SyncHandle }[] = [];
    for (const [slot, found] of copies) {
      for (const { file } of found) {
        const handle = await take(file);
        if (!handle) return false;
        taken.push(handle);
      }
      const whole = found.find(({ size }) => size === slotBytes);
      const to = whole && (await take(await find(slot)));
      if (whole && !to) return false;
      if (to) back.push({ from: whole!.file, to });
    }
    for (const { from, to } of back) {
      if (to.getSize() < slotBytes) to.truncate(slotBytes);
      await copyFile(from, to, { at: 0, end: slotBytes });
    }
    await proveTerm(lifeLock);
    for (const handle of taken) {
      handle.truncate(0);
      handle.flush();
    }
  } finally {
    for (const handle of open) handle.close();
  }
  // One by one: what a successor may have made by now is none of these, and keeps the folder.
  for (const name of names) await folder.removeEntry(name).catch(() => undefined);
  await directory.removeEntry(FOLDER).catch(() => undefined);
  return true;
}

/**
 * Opens a volume that has copies, or may have locked files. ALREADY_OPEN while somebody has it open who was not
 * deposed.
 */
export async function openTaken(
  options: VolumeOptions,
  open: (options: VolumeOptions) => Promise<Volume>,
): Promise<Volume> {
  const { name, lifeLock, takeover } = options;
  await waitAlone(name, lifeLock);
  const directory = await findVolume(options);
  const folder = () => findDirectory(["tidemark", name, FOLDER], true);
  const first = (await directory.getFileHandle(slotName(0), { create: true })) as FileHandle;
  const { size } = await first.getFile();
  const slotBytes = isSlotSize(size) ? size : options.slotBytes;
  if (await bringBack(directory, await folder(), slotBytes, lifeLock)) {
    // Some other file may be locked all the same.
    const volume = await open({ ...options, takeover: false }).catch((thrown: unknown) => {
      if ((thrown as TidemarkError).code !== "ALREADY_OPEN") throw thrown;
      return undefined;
    });
    if (volume) return volume;
  }
  // Whoever was deposed may have been so by a tab that is gone by now, a moment ago.
  if (!takeover) await sleep(SUCCESSOR_WAIT_MS);
  const volume = await TakenVolume.open(options, slotBytes, directory, await folder());
  try {
    if (volume.slotCount > 0) await volume.read(0, 0, new Uint8Array(1));
    // Whoever has slot 0 locked by now was deposed, or has come since the first look: a page that does not know yet
    // that it no
    // longer has the lead.
    await waitAlone(name, lifeLock);
  } catch (thrown) {
    await volume.close();
    throw thrown;
  }
  return volume;
}

export class TakenVolume implements Volume {
  readonly info: VolumeInfo;
  readonly slotBytes: number;
  slotCount: number;
  readonly #directory: DirectoryHandle;
  readonly #folder: DirectoryHandle;
  readonly #copies: Map<number, Copy[]>;
  readonly #lifeLock: string | undefined;
  readonly #places = new Map<number, Promise<Place>>();
  readonly #dirty = new Set<SyncHandle>();
  #closed = false;

  private constructor(
    { durability = "device", lifeLock }: VolumeOptions,
    slotBytes: number,
    slotCount: number,
    folders: readonly [DirectoryHandle, DirectoryHandle],
    copies: Map<number, Copy[]>,
  ) {
    this.info = { engine: "opfs", durability };
    this.slotBytes = slotBytes;
    this.slotCount = slotCount;
    this.#lifeLock = lifeLock;
    [this.#directory, this.#folder] = folders;
    this.#copies = copies;
  }

  static async open(
    options: VolumeOptions,
    slotBytes: number,
    directory: DirectoryHandle,
    folder: DirectoryHandle,
  ): Promise<TakenVolume> {
    let count = 0;
    for await (const name of directory.keys()) {
      const [, number] = /^slot-(\d{4,})$/.exec(name) ?? [];
      if (number !== undefined) count = Math.max(count, Number(number) + 1);
    }
    return new TakenVolume(options, slotBytes, count, [directory, folder], await copiesIn(folder));
  }

  #place(slot: number): Promise<Place> {
    let place = this.#places.get(slot);
    if (!place) {
      const open = async (): Promise<Place> => {
        const copies = this.#copies.get(slot);
        const whole = copies?.find(({ size }) => size === this.slotBytes);
        const file =
          whole?.file ?? ((await this.#directory.getFileHandle(slotName(slot), { create: true })) as FileHandle);
        // Somebody else has begun to copy it, and may come to the end of that: only a newer copy is surely ours.
        const handle = copies && copies[0] !== whole ? undefined : await tryHandle(file);
        if (handle && handle.getSize() < this.slotBytes) handle.truncate(this.slotBytes);
        return { file, handle };
      };
      this.#places.set(slot, (place = open()));
    }
    return place;
  }

  /** The slot's own file, or a copy of it that is ours. */
  async #owned(slot: number): Promise<SyncHandle> {
    const { handle } = await this.#place(slot);
    if (handle) return handle;
    const before = this.#places.get(slot)!;
    const copied = before.then((place) => (place.handle ? place : this.#copy(slot, place.file)));
    this.#places.set(slot, copied);
    // What failed may succeed later (a full disk).
    copied.catch(() => this.#places.set(slot, before));
    return (await copied).handle!;
  }

  async #copy(slot: number, from: FileHandle): Promise<Place> {
    let number = this.#copies.get(slot)?.[0]?.number ?? 0;
    for (;;) {
      const file = (await this.#folder.getFileHandle(`${slotName(slot)}.${++number}`, { create: true })) as FileHandle;
      const handle = await tryHandle(file);
      if (!handle) continue;
      try {
        handle.truncate(0);
        await copyFile(from, handle, { at: 0, end: this.slotBytes - 1 });
        // Behind this look the file is there, and locked: a successor sees it, and makes newer ones.
        await proveTerm(this.#lifeLock);
        await copyFile(from, handle, { at: this.slotBytes - 1, end: this.slotBytes });
      } catch (thrown) {
        handle.close();
        throw thrown;
      }
      return { file, handle };
    }
  }

  async addSlots(count: number): Promise<void> {
    for (let made = 0; made < count; made++) {
      try {
        await this.#owned(this.slotCount);
      } catch (thrown) {
        this.#places.delete(this.slotCount);
        throw storageError(thrown).with({ slots: this.slotCount, made });
      }
      this.slotCount++;
    }
  }

  async prepare(slot: number): Promise<void> {
    this.#check(slot, 0, 0);
    await this.#owned(slot).catch((thrown: unknown) => Promise.reject(storageError(thrown)));
  }

  async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.#check(slot, position, bytes.length);
    try {
      const handle = await this.#owned(slot);
      this.#dirty.add(handle);
      const count = handle.write(bytes, { at: position });
      if (count !== bytes.length)
        throw new TidemarkError("STORAGE_FAILED", "short write", { slot, position, length: bytes.length, count });
    } catch (thrown) {
      throw storageError(thrown);
    }
  }

  async read(slot: number, position: number, target: Uint8Array): Promise<number> {
    this.#check(slot, position, 0);
    const wanted = Math.min(target.length, this.slotBytes - position);
    try {
      const { file, handle } = await this.#place(slot);
      if (handle) return handle.read(target.subarray(0, wanted), { at: position });
      const found = await readFile(file, position, wanted);
      target.set(found);
      // A file that was never written is short.
      target.fill(0, found.length, wanted);
      return wanted;
    } catch (thrown) {
      throw storageError(thrown);
    }
  }

  async handOver(): Promise<void> {}

  async flush(slots: readonly number[]): Promise<void> {
    try {
      for (const slot of slots) {
        const { handle } = await this.#place(slot);
        if (handle && this.#dirty.has(handle)) handle.flush();
        if (handle) this.#dirty.delete(handle);
      }
    } catch (thrown) {
      throw storageError(thrown);
    }
  }

  /** Not asked: it is opened for a term of a tab that has just seen the files, and is gone with the next opening. */
  async checkAttached(): Promise<boolean> {
    return true;
  }

  async close(): Promise<void> {
    this.#closed = true;
    for (const place of this.#places.values()) (await place.catch(() => undefined))?.handle?.close();
    this.#places.clear();
  }

  #check(slot: number, position: number, length: number): void {
    if (this.#closed) throw new TidemarkError("CLOSED", "the volume is closed");
    if (!(slot >= 0 && slot < this.slotCount && position >= 0 && position + length <= this.slotBytes)) {
      throw new TidemarkError("INTERNAL", "outside the volume", { slot, position, length });
    }
  }
}
