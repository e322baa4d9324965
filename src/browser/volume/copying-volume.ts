/**
 * A volume in OPFS some of whose files a hung leader keeps locked. That leader never releases them, and it may wake up.
 *
 *   tidemark/<name>/slot-0007            locked: read through getFile(), which also shows what was never flushed
 *                  /taken/slot-0007.1    a copy, made by the slot's first write; it replaces the slot from then on
 *
 * The store above opens as after a crash: it reads the catalog, and cuts the active segments behind the last valid
 * batch. Before it acks anything it commits a higher epoch and writes marks; by that both catalogs and every active
 * segment become copies.
 *
 * The old leader can still finish a write that it had begun after its last lease check (worker/fenced-volume.ts): one
 * or two writes, into files that it has open, which are locked files.
 *   - a catalog or an active segment: a reader before that write sees a state as after a crash; after the copy is made
 *     nobody reads the file
 *   - a slot that was free: its first use makes a copy, and what the slot held before has an older epoch
 *   - a segment that was sealed: no leader ever writes to one
 * A file that this volume writes to without a copy is locked by this volume, so nobody else has it open.
 *
 * The next opening that finds no file locked copies all copies back over the slots, and the volume is an ordinary one
 * again. A copy gets the size of a slot only when it is complete: its last byte is written after all others are
 * flushed. After a copy was brought back its file is emptied before its name is removed, because a power cut can bring
 * back a name but not its bytes. Crash inside: complete copies count, and everything is done again.
 */
import { TidemarkError } from "../../errors.ts";
import type { Volume, VolumeInfo } from "../../store/volume.ts";
import { proveTerm, waitAlone } from "./sole-writer.ts";
import {
  type DirectoryHandle,
  findDirectory,
  findVolume,
  isSlotSize,
  passTornNames,
  slotName,
  type SyncHandle,
} from "./opfs-files.ts";
import { isNamed, storageError } from "../platform/errors.ts";
import { SUCCESSOR_WAIT_MS } from "../platform/terms.ts";
import { sleep } from "../platform/timing.ts";
import type { VolumeOptions } from "./engine.ts";
import { canShare } from "./preopened-files.ts";

const FOLDER = "taken";
const COPY_BYTES = 1024 * 1024;
/** A worker that is ending releases its files within some ten milliseconds; one that hangs never does. */
const LOCKED_TRIES = 4;
const LOCKED_PAUSE_MS = 10;

type FileHandle = FileSystemFileHandle & { createSyncAccessHandle(): Promise<SyncHandle> };
interface Place {
  readonly file: FileHandle;
  readonly handle: SyncHandle | undefined;
}

/** Undefined if another worker keeps the file open. */
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

/** Reads a file that may be locked. If it was written to during the read, it is read again. */
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
    // A file that was never written is short; the rest counts as zeros.
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

/** All copies of each slot, the newest first, incomplete ones included. */
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

/** Brings all copies back. False if a file is locked; then nothing has changed. */
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
    // The worker that has the volume open holds slot 0.
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
  // Removed one by one: copies that a successor may have made by now are not among these, and keep the folder.
  for (const name of names) await folder.removeEntry(name).catch(() => undefined);
  await directory.removeEntry(FOLDER).catch(() => undefined);
  return true;
}

/**
 * Opens a volume that has copies, or may have locked files. ALREADY_OPEN if a worker that was not deposed has it open.
 */
export async function openTaken(
  options: VolumeOptions,
  open: (options: VolumeOptions) => Promise<Volume>,
): Promise<Volume> {
  const { name, lifeLock, takeover } = options;
  // Copies, and their folder, have new names.
  const passed = canShare() && passTornNames();
  await waitAlone(name, lifeLock);
  const directory = await findVolume(options);
  const folder = () => findDirectory(["tidemark", name, FOLDER], true);
  const first = (await directory.getFileHandle(slotName(0), { create: true })) as FileHandle;
  const { size } = await first.getFile();
  const slotBytes = isSlotSize(size) ? size : options.slotBytes;
  await passed;
  if (await bringBack(directory, await folder(), slotBytes, lifeLock)) {
    // Another file may still be locked.
    const volume = await open({ ...options, takeover: false }).catch((thrown: unknown) => {
      if ((thrown as TidemarkError).code !== "ALREADY_OPEN") throw thrown;
      return undefined;
    });
    if (volume) return volume;
  }
  // The worker may have been deposed just now, by a tab that is gone already.
  if (!takeover) await sleep(SUCCESSOR_WAIT_MS);
  const volume = await CopyingVolume.open(options, slotBytes, directory, await folder());
  try {
    if (volume.slotCount > 0) await volume.read(0, 0, new Uint8Array(1));
    // A worker that has slot 0 locked now was deposed, or has come since the first check: a page may not know yet that
    // it no longer has the lead.
    await waitAlone(name, lifeLock);
  } catch (thrown) {
    await volume.close();
    throw thrown;
  }
  return volume;
}

export class CopyingVolume implements Volume {
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
  ): Promise<CopyingVolume> {
    let count = 0;
    for await (const name of directory.keys()) {
      const [, number] = /^slot-(\d{4,})$/.exec(name) ?? [];
      if (number !== undefined) count = Math.max(count, Number(number) + 1);
    }
    return new CopyingVolume(options, slotBytes, count, [directory, folder], await copiesIn(folder));
  }

  #place(slot: number): Promise<Place> {
    let place = this.#places.get(slot);
    if (!place) {
      const open = async (): Promise<Place> => {
        const copies = this.#copies.get(slot);
        const whole = copies?.find(({ size }) => size === this.slotBytes);
        const file =
          whole?.file ?? ((await this.#directory.getFileHandle(slotName(slot), { create: true })) as FileHandle);
        // Another worker has begun to copy it and may finish. Only a newer copy is certainly ours.
        const handle = copies && copies[0] !== whole ? undefined : await tryHandle(file);
        if (handle && handle.getSize() < this.slotBytes) handle.truncate(this.slotBytes);
        return { file, handle };
      };
      this.#places.set(slot, (place = open()));
    }
    return place;
  }

  /** The slot's own file, or our copy of it. */
  async #owned(slot: number): Promise<SyncHandle> {
    const { handle } = await this.#place(slot);
    if (handle) return handle;
    const before = this.#places.get(slot)!;
    const copied = before.then((place) => (place.handle ? place : this.#copy(slot, place.file)));
    this.#places.set(slot, copied);
    // A failure may pass (a full disk), so the next write tries again.
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
        // After this check the file is there and locked: a successor sees it and makes newer copies.
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

  /** Always true: it is opened for the term of a tab that has just seen the files, and replaced at the next opening. */
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
