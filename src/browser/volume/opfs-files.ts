/**
 * The files of a volume in the origin private file system, and the calls of it that volumes and the self-test share.
 */
import { TidemarkError } from "../../errors.ts";
import { gone } from "../../store/gone.ts";
import { isNamed } from "../platform/errors.ts";
import { sleep } from "../platform/timing.ts";

/** TypeScript's DOM types lack these, because windows do not have them. */
export interface SyncHandle {
  read(target: Uint8Array, options: { at: number }): number;
  write(bytes: Uint8Array, options: { at: number }): number;
  truncate(size: number): void;
  getSize(): number;
  flush(): void;
  close(): void;
  /** Only in Chromium so far. */
  readonly mode?: string;
}
export type DirectoryHandle = FileSystemDirectoryHandle & { keys(): AsyncIterable<string> };
export type FileHandle = FileSystemFileHandle & {
  createSyncAccessHandle(options?: { readonly mode?: string | undefined }): Promise<SyncHandle>;
};

export const slotName = (slot: number): string => `slot-${String(slot).padStart(4, "0")}`;

/** The directory at this path below the origin's root. NotFoundError if `create` is false and it does not exist. */
export async function findDirectory(path: readonly string[], create: boolean): Promise<DirectoryHandle> {
  let directory = await navigator.storage.getDirectory();
  for (const name of path) directory = await directory.getDirectoryHandle(name, { create });
  return directory as DirectoryHandle;
}

/** A volume's directory. It is made if it does not exist, unless it must be there: then CLOSED, reason "cleared". */
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

/**
 * Called in Chromium before new files are made in a volume that was there before: otherwise their names may be lost
 * (torn-names.ts). What fails here leaves them as they would be without.
 */
export const passTornNames = (): Promise<void> =>
  import("./torn-names.ts").then(({ fillBlock }) => fillBlock()).catch(() => undefined);

const PAGE_BYTES = 4096;
/** A file of another size was never written whole, so it does not show the size of the slots. */
export const isSlotSize = (bytes: number): boolean => bytes > PAGE_BYTES && Number.isInteger(Math.log2(bytes));

/**
 * In this mode several workers can have a file open; other code decides which of them writes to it. Engines that do not
 * know the mode open the file exclusively.
 */
export const SHARED = "readwrite-unsafe";

/**
 * The longest pause for a locked file. Pauses double from 10 ms, 630 ms in all. After a reload or crash a lock is free
 * within 1 to 50 ms.
 */
const WAIT_MS_MAX = 320;

/**
 * Opens a file, exclusively unless it is SHARED. ALREADY_OPEN if another worker keeps it open. `isWanted` is called
 * before each try.
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
 * The files of one volume, as OpfsVolume uses them. Files that a standby worker opened in advance implement it too
 * (preopened-files.ts).
 */
export interface OpfsFiles {
  /** The names of all files. */
  list(): AsyncIterable<string>;
  /** Opens a file; it is made if it does not exist. ALREADY_OPEN if another worker keeps it open. */
  open(name: string, mode?: string): Promise<SyncHandle>;
  remove(name: string): Promise<void>;
  /** The volume is closed, and has closed the files that it opened. */
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
