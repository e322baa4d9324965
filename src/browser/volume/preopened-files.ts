/**
 * The files of a tide in OPFS, for a worker that stands by (standby.ts). Of a fail-over most is waiting for the
 * browser, one question after the other; so all that can be asked is asked ahead, and at once:
 *
 *   stands by                  its directory, and its files
 *     in Chromium              slot 1 ▶ each log's newest slots, the last slot: opened beside the leader, which keeps
 *                              slot 0 for itself
 *   its page has the lead      it asks for its lock, and then for the names │ slot 0; again when the last worker is
 *                              gone, if need be
 *   it has slot 0              what of the others was not open yet
 *   the volume is opened       by what was found so; nothing is checked less than else
 *
 * Who has slot 0 has the volume, and nobody else writes to any of its files. What was opened ahead may since have been
 * deleted with the site's data, and another tide may have its name: so it counts only if slot 1, opened ahead as well,
 * begins as slot 0 does. Outside a commit both catalogs are equal (catalog.ts); behind a commit that was cut off all
 * is opened again. What does not count is not closed, either: in Chromium 156 that blocks the worker for ever if the
 * file was deleted.
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

/** More than a fail-over opens, and not all of a large tide. */
const FILES_MAX = 50;
/** Of the slots that the catalog names. */
const NEWEST_MAX = 20;

const ignore = (): undefined => undefined;
/** TypeScript's types for pages leave it out. */
declare const FileSystemSyncAccessHandle: { readonly prototype: object } | undefined;
const canShare = (): boolean =>
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
  /** Beside the leader. */
  readonly #beside = new Map<string, SyncHandle>();
  readonly #opened = new Map<string, Promise<SyncHandle>>();
  readonly #asked = new Set<string>();
  /** As far as it is known: whether some log has a sealed segment. */
  mayHaveSealed = true;
  #listed: Promise<string[]> | undefined;
  /** Told once slot 0 is open. */
  #names: Promise<string[]> | undefined;
  /** From when it opens on nothing more is opened beside anybody. */
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
   * Opens what can be opened beside a leader, as long as that lives: who comes later may have other files by these
   * names.
   */
  async prepare(isAlive: () => boolean): Promise<void> {
    if (!canShare()) return;
    const names = await this.#list();
    // A leader that hung kept files locked (copying-volume.ts): whoever leads next must find them free.
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

  /** Closes what was opened beside a leader, if that is still what is there. */
  async release(): Promise<void> {
    const second = this.#beside.get(slotName(1));
    const opened = [...this.#beside.values()];
    this.#beside.clear();
    if (second && (await this.#headNow(slotName(1)).catch(ignore)) === peekHead(reads(second)))
      for (const handle of opened) handle.close();
  }

  /** Of the file that has this name now. */
  async #headNow(name: string): Promise<string> {
    const file = await (await this.#directory.getFileHandle(name)).getFile();
    const bytes = new Uint8Array(await file.slice(0, PEEK_HEAD_BYTES).arrayBuffer());
    return peekHead((target) => (target.set(bytes), bytes.length));
  }

  /**
   * Once this worker has asked for its lock. Slot 0 before any other file, for who has that has the volume: if it is
   * free already the last worker is gone, and else its end is awaited. It is asked for in this turn: a volume that is
   * opened behind it finds all of them asked for.
   */
  async openAhead(ended: Promise<void>): Promise<void> {
    this.#opening = true;
    const first = this.#first(ended);
    this.#opened.set(slotName(0), first);
    // What was added by the last worker meanwhile the store adds again, and finds.
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

  /** Tried at once, and when the last worker has ended: neither waits for the other's answer, and one gets it. */
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

  /** Not what the volume has asked for by itself, and not twice. */
  #take(name: string): void {
    if (this.#dropped || this.#asked.has(name) || this.#opened.has(name)) return;
    const opened = this.#try(name, SHARED);
    opened.catch(ignore);
    this.#opened.set(name, opened);
  }

  /** While it is locked it is tried again and again, but not once all is dropped. */
  async #try(name: string, mode?: string): Promise<SyncHandle> {
    const file = await (this.#files.get(name) ?? this.#directory.getFileHandle(name));
    return openHandle(file as FileHandle, mode, () => !this.#dropped);
  }

  /** Closes what nobody has asked for. */
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
    // It will be a volume of another kind, which must find all files as they are.
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

  /** What the volume did not come to use ends with it. */
  end(): Promise<void> {
    return this.drop();
  }
}

/** Of locked files (copying-volume.ts). */
function hasCopies(names: readonly string[]): boolean {
  return names.some((name) => !name.startsWith("slot-"));
}

function lastOf(names: readonly string[]): string {
  return slotName(Math.max(...names.map((name) => Number(name.slice(5)) || 0)));
}
