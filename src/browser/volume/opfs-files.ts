/**
 * The files of a volume in the origin private file system, and the few calls of it that volumes and the self-test
 * share.
 */
import { TidemarkError } from "../../errors.ts";
import { gone } from "../../store/gone.ts";
import { isNamed } from "../platform/errors.ts";
import { sleep } from "../platform/timing.ts";

/** TypeScript's DOM types leave these out, since a window does not have them. */
export interface SyncHandle {
  read(target: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
  /** Chromium only, so far. */
  readonly mode?: string;
}
export type DirectoryHandle = FileSystemDirectoryHandle & { keys(): AsyncIterable<string> };
export type FileHandle = FileSystemFileHandle & {
  createSyncAccessHandle(options?: { readonly mode?: string | undefined }): Promise<SyncHandle>;
};

export const slotName = (slot: number): string => `slot-${String(slot).padStart(4, "0")}`;

/** The directory at this path under the origin's root; NotFoundError when `create` is false and it is not there. */
export async function findDirectory(path: readonly string[], create: boolean): Promise<DirectoryHandle> {
  let directory = await navigator.storage.getDirectory();
  for (const name of path) directory = await directory.getDirectoryHandle(name, { create });
  return directory as DirectoryHandle;
}

/** A volume's directory, made unless it should be there: then it is CLOSED, reason "cleared". */
export async function findVolume({
  name,
  isThere,
}: {
  readonly name: string;
  readonly isThere?: boolean | undefined;
}): Promise<DirectoryHandle> {
  try {
    return await findDirectory(["tidemark", name], !isThere);
  } catch (thrown) {
    throw isThere && isNamed(thrown, "NotFoundError") ? gone() : thrown;
  }
}

const PAGE_BYTES = 4096;
/** A file of another size was never written whole: it does not say what size the slots have. */
export const isSlotSize = (bytes: number): boolean => bytes > PAGE_BYTES && Number.isInteger(Math.log2(bytes));

/**
 * Several may have a file open so; who writes to it is another's to say. Engines that don't know it open for one
 * alone.
 */
export const SHARED = "readwrite-unsafe";

/**
 * The last of the waits for a locked file, which double from 10 ms: 630 ms in all. After a reload or crash a lock is
 * free within 1 to 50 ms.
 */
const WAIT_MS_MAX = 320;

/**
 * Opens a file, for this worker alone unless it is SHARED. ALREADY_OPEN when somebody else keeps it open. `isWanted`:
 * asked before each try.
 */
export async function openHandle(file: FileHandle, mode?: string, isWanted = (): boolean => true): Promise<SyncHandle> {
  for (let wait = 10; ; wait *= 2) {
    try {
      if (!isWanted()) throw new Error("it is no longer wanted");
      return await file.createSyncAccessHandle({ mode });
    } catch (thrown) {
      if (!isNamed(thrown, "NoModificationAllowedError")) throw thrown;
      if (wait > WAIT_MS_MAX)
        throw new TidemarkError("ALREADY_OPEN", "its files are locked", { file: file.name }, { cause: thrown });
      await sleep(wait);
    }
  }
}

/**
 * The files of one volume, as OpfsVolume uses them. Files that a worker opened before it leads are another kind
 * (preopened-files.ts).
 */
export interface OpfsFiles {
  /** Names of all that there are. */
  list(): AsyncIterable<string>;
  /** Opens one, made when it is not there. ALREADY_OPEN when somebody else keeps it open. */
  open(name: string, mode?: string): Promise<SyncHandle>;
  remove(name: string): Promise<void>;
  /** The volume is closed, and has closed what it opened. */
  end(): Promise<void>;
}

export class DirectoryFiles implements OpfsFiles {
  readonly #directory: DirectoryHandle;

  constructor(directory: DirectoryHandle) {
    this.#directory = directory;
  }

  list(): AsyncIterable<string> {
    return this.#directory.keys();
  }

  async open(name: string, mode?: string): Promise<SyncHandle> {
    return openHandle((await this.#directory.getFileHandle(name, { create: true })) as FileHandle, mode);
  }

  remove(name: string): Promise<void> {
    return this.#directory.removeEntry(name);
  }

  async end(): Promise<void> {}
}
