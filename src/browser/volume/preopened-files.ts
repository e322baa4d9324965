/**
 * The files of a tide in OPFS, for a standby worker (worker/standby.ts). Most of a fail-over is waiting for the
 * browser's answers, one after the other. So everything that can be asked is asked in advance, and at the same time:
 *
 *   on standby                 its directory, and its files
 *     in Chromium              slot 1 ▶ each log's newest slots, the last slot: opened beside the leader, which keeps
 *                              slot 0 for itself
 *   its page has the lead      it asks for its lock, and then for the names │ slot 0; again when the last worker is
 *                              gone, if need be
 *   it has slot 0              the other files that are not open yet
 *   the volume is opened       with the files found this way; all checks are made as usual
 *
 * The worker that has slot 0 has the volume, and nobody else writes to any of its files. Files that were opened in
 * advance may have been deleted with the site's data since, and another tide may have the name. So they count only if
 * slot 1, which was opened in advance too, begins like slot 0. Outside a commit both catalogs are equal (catalog.ts);
 * after a commit that was interrupted all files are opened again. Files that do not count are not closed: in Chromium
 * 156 closing a file that was deleted blocks the worker for ever.
 */
import { mayHaveSealed, PEEK_HEAD_BYTES, peekHead, peekNewestSlots, type Read } from "../../store/catalog-preview.ts";
import {
  type DirectoryHandle,
  type FileHandle,
  findDirectory,
  openHandle,
  type OpfsFiles,
  SHARED,
  slotName,
  type SyncHandle,
} from "./opfs-files.ts";

/** More files than a fail-over opens, but not all of a large tide. */
const FILES_MAX = 50;
/** Most of the slots that the catalog names. */
const NEWEST_MAX = 20;

const ignore = (): undefined => undefined;
/** TypeScript's types for pages lack this. */
declare const FileSystemSyncAccessHandle: { readonly prototype: object } | undefined;
/** True in Chromium: several workers can have a file open. */
export const canShare = (): boolean =>
  typeof FileSystemSyncAccessHandle !== "undefined" && "mode" in FileSystemSyncAccessHandle.prototype;
const reads =
  (catalog: SyncHandle): Read =>
  (target, at) =>
    catalog.read(target, { at });
const newestSlots = (catalog: SyncHandle): string[] =>
  peekNewestSlots(reads(catalog)).slice(0, NEWEST_MAX).map(slotName);

export class FilesAhead implements OpfsFiles {
  readonly #directory: DirectoryHandle;
  readonly #files = new Map<string, Promise<FileSystemFileHandle>>();
  /** Files that were opened beside the leader. */
  readonly #beside = new Map<string, SyncHandle>();
  readonly #opened = new Map<string, Promise<SyncHandle>>();
  readonly #asked = new Set<string>();
  /** As far as it is known: whether some log has a sealed segment. */
  mayHaveSealed = true;
  #listed: Promise<string[]> | undefined;
  /** Resolves once slot 0 is open. */
  #names: Promise<string[]> | undefined;
  /** True from when the volume is opened: nothing more is opened beside a leader then. */
  #opening = false;
  #dropped = false;

  private constructor(directory: DirectoryHandle) {
    this.#directory = directory;
  }

  static async find(name: string): Promise<FilesAhead> {
    const files = new FilesAhead(await findDirectory(["tidemark", name], false));
    await files.#list();
    return files;
  }

  async #list(): Promise<string[]> {
    const names: string[] = [];
    const gone = new Set(this.#files.keys());
    for await (const name of this.#directory.keys()) {
      names.push(name);
      if (gone.delete(name) || this.#files.size === FILES_MAX || !name.startsWith("slot-")) continue;
      const found = this.#directory.getFileHandle(name);
      found.catch(() => this.#files.delete(name));
      this.#files.set(name, found);
    }
    for (const name of gone) this.#files.delete(name);
    return names;
  }

  /**
   * Opens what can be opened beside a leader, as long as that leader lives: under a later one these names may belong to
   * other files.
   */
  async prepare(isAlive: () => boolean): Promise<void> {
    if (!canShare()) return;
    const names = await this.#list();
    // A leader that hung kept files locked (copying-volume.ts). The next leader must find them free.
    if (hasCopies(names)) return await this.release();
    const second = await this.#share(slotName(1), isAlive);
    if (second) this.mayHaveSealed = mayHaveSealed(reads(second));
    if (second) await Promise.all([...newestSlots(second), lastOf(names)].map((name) => this.#share(name, isAlive)));
  }

  async #share(name: string, isAlive: () => boolean): Promise<SyncHandle | undefined> {
    const known = this.#beside.get(name);
    if (known) return known;
    const file = (await this.#files.get(name)?.catch(ignore)) as FileHandle | undefined;
    const handle = await file?.createSyncAccessHandle({ mode: SHARED }).catch(ignore);
    if (!handle) return;
    if (this.#opening || !isAlive() || this.#beside.has(name)) handle.close();
    else this.#beside.set(name, handle);
    return this.#beside.get(name);
  }

  /** Closes the files that were opened beside a leader, if they are still the files with these names. */
  async release(): Promise<void> {
    const second = this.#beside.get(slotName(1));
    const opened = [...this.#beside.values()];
    this.#beside.clear();
    if (second && (await this.#headNow(slotName(1)).catch(ignore)) === peekHead(reads(second)))
      for (const handle of opened) handle.close();
  }

  /** The first bytes of the file that has this name now. */
  async #headNow(name: string): Promise<string> {
    const file = await (await this.#directory.getFileHandle(name)).getFile();
    const bytes = new Uint8Array(await file.slice(0, PEEK_HEAD_BYTES).arrayBuffer());
    return peekHead((target) => (target.set(bytes), bytes.length));
  }

  /**
   * Called once this worker has asked for its lock. Slot 0 is opened before any other file, because the worker that has
   * it has the volume. If it is free already the last worker is gone; otherwise its end is awaited. All files are
   * requested in this turn, so that a volume that is opened next finds the requests made.
   */
  async openAhead(ended: Promise<void>): Promise<void> {
    this.#opening = true;
    const first = this.#first(ended);
    this.#opened.set(slotName(0), first);
    // Slots that the last worker added meanwhile are found when the store adds them again.
    this.#names = first.then(() => this.#listed!);
    this.#names.catch(ignore);
    const catalog = await first;
    const second = this.#beside.get(slotName(1));
    if (!second || peekHead(reads(second)) !== peekHead(reads(catalog))) this.#beside.clear();
    for (const [name, handle] of this.#beside) this.#opened.set(name, Promise.resolve(handle));
    this.#beside.clear();
    for (const name of [slotName(1), ...newestSlots(catalog)]) this.#take(name);
    this.#take(lastOf(await this.#names));
  }

  /**
   * Tried at once, and again when the last worker has ended. Neither try waits for the other, and one of them succeeds.
   */
  async #first(ended: Promise<void>): Promise<SyncHandle> {
    let isOpen = false;
    const attempt = async (): Promise<SyncHandle> => {
      const listed = this.#list();
      listed.catch(ignore);
      const handle = await ((await this.#files.get(slotName(0))) as FileHandle).createSyncAccessHandle();
      if (isOpen || this.#dropped) {
        handle.close();
        throw new Error("dropped");
      }
      isOpen = true;
      this.#listed = listed;
      return handle;
    };
    try {
      return await Promise.any([attempt(), ended.then(attempt)]);
    } catch {
      await ended;
      (this.#listed = this.#list()).catch(ignore);
      return this.#try(slotName(0));
    }
  }

  /** Requests a file, unless the volume has asked for it itself or it was requested already. */
  #take(name: string): void {
    if (this.#dropped || this.#asked.has(name) || this.#opened.has(name)) return;
    const opened = this.#try(name, SHARED);
    opened.catch(ignore);
    this.#opened.set(name, opened);
  }

  /** While the file is locked this tries again and again, until everything is dropped. */
  async #try(name: string, mode?: string): Promise<SyncHandle> {
    const file = await (this.#files.get(name) ?? this.#directory.getFileHandle(name));
    return openHandle(file as FileHandle, mode, () => !this.#dropped);
  }

  /** Closes the files that nobody has asked for. */
  async drop(): Promise<void> {
    this.#dropped = this.#opening = true;
    this.#beside.clear();
    const opened = [...this.#opened.values()];
    this.#opened.clear();
    for (const handle of opened) (await handle.catch(ignore))?.close();
  }

  // --- as the volume's files ---------------------------------------------------------------------------------------

  async *list(): AsyncIterable<string> {
    const names = await (this.#names ?? this.#list());
    // With copies the volume is opened in another way (copying-volume.ts), which must find all files free.
    if (hasCopies(names)) await this.drop();
    yield* names;
  }

  async open(name: string, mode?: string): Promise<SyncHandle> {
    this.#asked.add(name);
    const opened = this.#opened.get(name);
    this.#opened.delete(name);
    if (opened) return opened;
    const file = await (this.#files.get(name) ?? this.#directory.getFileHandle(name, { create: true }));
    return openHandle(file as FileHandle, mode);
  }

  remove(name: string): Promise<void> {
    this.#files.delete(name);
    return this.#directory.removeEntry(name);
  }

  /** Files that the volume did not use are closed with it. */
  end(): Promise<void> {
    return this.drop();
  }
}

/** True if there are copies of locked files (copying-volume.ts). */
function hasCopies(names: readonly string[]): boolean {
  return names.some((name) => !name.startsWith("slot-"));
}

function lastOf(names: readonly string[]): string {
  return slotName(Math.max(...names.map((name) => Number(name.slice(5)) || 0)));
}
