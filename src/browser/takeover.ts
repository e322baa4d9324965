/**
 * A volume in OPFS some of whose files are kept locked by a leader that hangs: it never lets go of them, and it may wake.
 *
 *   tidemark/<name>/slot-0007            locked: read through getFile(), which also sees what was never flushed
 *                  /taken/slot-0007.1    made by the first write to that slot: a copy, and from then on the slot
 *
 * So the store above opens as after a crash: it reads the catalog, cuts the active segments at the last valid batch, and
 * commits a higher epoch, all of it into copies. What the old leader writes after that goes into files that nobody reads. It
 * can't reach any other: a file that this volume writes to is locked by this volume. Sealed segments in locked files stay
 * where they are; the old leader can't overwrite them, for its worker ends itself before it writes anything once it has been
 * away for longer than its lease (worker-host.ts).
 *
 * The next opening that finds no file locked copies everything back, and the volume is as it was before. A copy that was
 * brought back is made empty before its name goes, because a power cut can bring a name back, but not its bytes.
 * Crash inside: the copies are still there, and all is done again.
 */
import { TidemarkError } from "../errors.ts";
import type { Volume, VolumeInfo } from "../store/volume.ts";
import { type DirectoryHandle, findDirectory, type SyncHandle } from "./opfs.ts";
import { isNamed, sleep } from "./platform.ts";
import type { VolumeOptions } from "./probe.ts";

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

const slotName = (slot: number): string => `slot-${String(slot).padStart(4, "0")}`;
const storageError = (thrown: unknown): TidemarkError => TidemarkError.from(thrown, isNamed(thrown, "QuotaExceededError") ? "QUOTA_EXCEEDED" : "STORAGE_FAILED");

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

async function copyFile(from: FileHandle, to: SyncHandle, bytes: number): Promise<void> {
  to.truncate(bytes);
  for (let at = 0; at < bytes; at += COPY_BYTES) {
    const part = await readFile(from, at, Math.min(COPY_BYTES, bytes - at));
    if (to.write(part, { at }) !== part.length) throw new TidemarkError("STORAGE_FAILED", "short write", { at });
  }
  to.flush();
}

/** Slots by number, each with its newest copy; empty copies have been brought back already. */
async function copiesIn(folder: DirectoryHandle): Promise<Map<number, { file: FileHandle; number: number }>> {
  const newest = new Map<number, { file: FileHandle; number: number }>();
  for await (const name of folder.keys()) {
    const [, slot, number] = /^slot-(\d+)\.(\d+)$/.exec(name) ?? [];
    if (slot === undefined) continue;
    const file = (await folder.getFileHandle(name)) as FileHandle;
    const known = newest.get(Number(slot));
    if ((await file.getFile()).size > 0 && !(known && known.number > Number(number))) newest.set(Number(slot), { file, number: Number(number) });
  }
  return newest;
}

/** Brings all copies back; false when a file is locked, and then nothing has changed. */
async function bringBack(directory: DirectoryHandle, folder: DirectoryHandle): Promise<boolean> {
  const open: SyncHandle[] = [];
  const take = async (file: FileHandle): Promise<SyncHandle | undefined> => {
    const handle = await tryHandle(file);
    if (handle) open.push(handle);
    return handle;
  };
  try {
    const pairs: { from: SyncHandle; file: FileHandle; to: SyncHandle }[] = [];
    // Slot 0 is held by whoever has the volume open.
    if (!(await take((await directory.getFileHandle(slotName(0), { create: true })) as FileHandle))) return false;
    open.pop()!.close();
    for (const [slot, { file }] of await copiesIn(folder)) {
      const from = await take(file);
      const to = from && (await take((await directory.getFileHandle(slotName(slot), { create: true })) as FileHandle));
      if (!to) return false;
      pairs.push({ from: from!, file, to });
    }
    for (const { file, from, to } of pairs) await copyFile(file, to, from.getSize());
    for (const { from } of pairs) {
      from.truncate(0);
      from.flush();
    }
  } finally {
    for (const handle of open) handle.close();
  }
  await directory.removeEntry(FOLDER, { recursive: true }).catch(() => undefined);
  return true;
}

/** Opens a volume that has copies, or may have locked files. */
export async function openTaken(options: VolumeOptions, open: (options: VolumeOptions) => Promise<Volume>): Promise<Volume> {
  const directory = await findDirectory(["tidemark", options.name], true);
  const folder = await findDirectory(["tidemark", options.name, FOLDER], true);
  if (await bringBack(directory, folder)) {
    // Some other file may be locked all the same.
    const volume = await open({ ...options, takeover: false }).catch((thrown: unknown) => {
      if ((thrown as TidemarkError).code !== "ALREADY_OPEN") throw thrown;
      return undefined;
    });
    if (volume) return volume;
  }
  return TakenVolume.open(options, directory, await findDirectory(["tidemark", options.name, FOLDER], true));
}

export class TakenVolume implements Volume {
  readonly info: VolumeInfo;
  readonly slotBytes: number;
  slotCount: number;
  readonly #directory: DirectoryHandle;
  readonly #folder: DirectoryHandle;
  readonly #copies: Map<number, { file: FileHandle; number: number }>;
  readonly #places = new Map<number, Promise<Place>>();
  readonly #dirty = new Set<SyncHandle>();
  #closed = false;

  private constructor(info: VolumeInfo, slotBytes: number, slotCount: number, folders: readonly [DirectoryHandle, DirectoryHandle], copies: Map<number, { file: FileHandle; number: number }>) {
    this.info = info;
    this.slotBytes = slotBytes;
    this.slotCount = slotCount;
    [this.#directory, this.#folder] = folders;
    this.#copies = copies;
  }

  static async open({ durability = "device", slotBytes }: VolumeOptions, directory: DirectoryHandle, folder: DirectoryHandle): Promise<TakenVolume> {
    let count = 0;
    for await (const name of directory.keys()) {
      const [, number] = /^slot-(\d{4,})$/.exec(name) ?? [];
      if (number !== undefined) count = Math.max(count, Number(number) + 1);
    }
    const size = count > 0 ? (await ((await directory.getFileHandle(slotName(0))) as FileHandle).getFile()).size : 0;
    return new TakenVolume({ engine: "opfs", durability }, size || slotBytes, count, [directory, folder], await copiesIn(folder));
  }

  #place(slot: number): Promise<Place> {
    let place = this.#places.get(slot);
    if (!place) {
      const open = async (): Promise<Place> => {
        const file = this.#copies.get(slot)?.file ?? ((await this.#directory.getFileHandle(slotName(slot), { create: true })) as FileHandle);
        const handle = await tryHandle(file);
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
    const copy = async (): Promise<Place> => {
      const { file, handle: now } = await before;
      if (now) return { file, handle: now };
      const number = (this.#copies.get(slot)?.number ?? 0) + 1;
      const made = (await this.#folder.getFileHandle(`${slotName(slot)}.${number}`, { create: true })) as FileHandle;
      const own = await tryHandle(made);
      if (!own) throw new TidemarkError("ALREADY_OPEN", "another tab has taken this volume over", { slot });
      await copyFile(file, own, this.slotBytes);
      this.#copies.set(slot, { file: made, number });
      return { file: made, handle: own };
    };
    const copied = copy();
    this.#places.set(slot, copied);
    return (await copied).handle!;
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

  async write(slot: number, position: number, bytes: Uint8Array): Promise<void> {
    this.#check(slot, position, bytes.length);
    try {
      const handle = await this.#owned(slot);
      this.#dirty.add(handle);
      const count = handle.write(bytes, { at: position });
      if (count !== bytes.length) throw new TidemarkError("STORAGE_FAILED", "short write", { slot, position, length: bytes.length, count });
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
      return found.length;
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
