/**
 * The files of a tide in OPFS, for a worker that stands by (tabs-worker.ts). Of a fail-over most is waiting for the browser, one
 * question after the other; so all that can be asked is asked ahead, and at once:
 *
 *   stands by                  its directory, and its files (which can't be opened: the leader keeps them locked)
 *   its page has the lead      it asks for its lock, and waits for the last worker's end (tabs-worker.ts)
 *   that one is gone           the names │ slot 0 ▶ slot 1 │ each log's newest slots │ the last slot
 *   the volume is opened       by what was found so; nothing is checked less than else
 */
import { peekNewestSlots } from "../store/catalog.ts";
import type { Volume } from "../store/volume.ts";
import { type DirectoryHandle, findDirectory, openHandle, slotName, type SyncHandle } from "./opfs.ts";

/** More than a fail-over opens, and not all of a large tide. */
const FILES_MAX = 50;
/** Of the slots that the catalog names. */
const NEWEST_MAX = 20;

const ignore = (): undefined => undefined;

export class FilesAhead {
  readonly #directory: DirectoryHandle;
  readonly #files = new Map<string, Promise<FileSystemFileHandle>>();
  readonly #opened = new Map<string, Promise<SyncHandle>>();
  readonly #asked = new Set<string>();
  #names: Promise<string[]> | undefined;
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
   * Once the last worker has ended, and this one has asked for its lock. Slot 0 before any other file, for who has that has the volume. It
   * is asked for in this turn: a volume that is opened behind it finds all of them asked for.
   */
  async open(): Promise<void> {
    const listed = (this.#names = this.#list());
    listed.catch(ignore);
    const catalog = await this.#take(slotName(0));
    if (!catalog) return;
    const newest = peekNewestSlots((target, at) => catalog.read(target, { at })).slice(0, NEWEST_MAX);
    for (const slot of [1, ...newest]) void this.#take(slotName(slot));
    const numbers = (await listed).map((name) => Number(name.slice(5)) || 0);
    void this.#take(slotName(Math.max(...numbers)));
  }

  /** Not what the volume has asked for by itself, and not twice. */
  #take(name: string): Promise<SyncHandle> | undefined {
    if (this.#dropped || this.#asked.has(name) || this.#opened.has(name)) return;
    const getFileHandle = async (): Promise<unknown> => {
      const file = (await (this.#files.get(name) ?? this.#directory.getFileHandle(name))) as unknown as { createSyncAccessHandle(): Promise<SyncHandle> };
      // While it is locked, that is tried again and again.
      return { createSyncAccessHandle: () => (this.#dropped ? Promise.reject(new Error("dropped")) : file.createSyncAccessHandle()) };
    };
    const opened = openHandle({ getFileHandle } as unknown as DirectoryHandle, name, false);
    opened.catch(ignore);
    this.#opened.set(name, opened);
    return opened;
  }

  /** Closes what nobody has asked for. */
  async drop(): Promise<void> {
    this.#dropped = true;
    const opened = [...this.#opened.values()];
    this.#opened.clear();
    for (const handle of opened) (await handle.catch(ignore))?.close();
  }

  /** What a volume does not come to use ends with it. */
  endWith(volume: Volume): void {
    const close = volume.close.bind(volume);
    volume.close = () => close().finally(() => this.drop());
  }

  async *#keys(): AsyncIterable<string> {
    const names = await (this.#names ?? this.#list());
    // Copies of locked files: it will be a volume of another kind, which must find all files as they are (takeover.ts).
    if (names.some((name) => !name.startsWith("slot-"))) await this.drop();
    yield* names;
  }

  /** The directory as the volume sees it. */
  get directory(): DirectoryHandle {
    return {
      keys: () => this.#keys(),
      getFileHandle: (name: string, options?: FileSystemGetFileOptions) => {
        this.#asked.add(name);
        const opened = this.#opened.get(name);
        if (!opened) return this.#files.get(name) ?? this.#directory.getFileHandle(name, options);
        this.#opened.delete(name);
        return { createSyncAccessHandle: () => opened };
      },
      removeEntry: (name: string) => {
        this.#files.delete(name);
        return this.#directory.removeEntry(name);
      },
    } as unknown as DirectoryHandle;
  }
}
