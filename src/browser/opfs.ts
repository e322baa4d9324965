/** The few calls of the origin private file system that the volume and the probe share. */
import { TidemarkError } from "../errors.ts";
import { isNamed, sleep } from "./platform.ts";

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
type FileHandle = FileSystemFileHandle & { createSyncAccessHandle(): Promise<SyncHandle> };

/** The directory at this path under the origin's root; NotFoundError when `create` is false and it is not there. */
export async function findDirectory(path: readonly string[], create: boolean): Promise<DirectoryHandle> {
  let directory = await navigator.storage.getDirectory();
  for (const name of path) directory = await directory.getDirectoryHandle(name, { create });
  return directory as DirectoryHandle;
}

/** Waits between tries for a locked file; 930 ms in all. After a reload or crash a lock is free within 1 to 50 ms. */
const LOCK_WAITS_MS = [10, 20, 50, 100, 250, 500];

/** Opens a file for this worker alone. ALREADY_OPEN when somebody else keeps it open. */
export async function openHandle(directory: DirectoryHandle, name: string, create: boolean): Promise<SyncHandle> {
  const file = (await directory.getFileHandle(name, { create })) as FileHandle;
  for (let tries = 0; ; tries++) {
    try {
      return await file.createSyncAccessHandle();
    } catch (thrown) {
      if (!isNamed(thrown, "NoModificationAllowedError")) throw thrown;
      const wait = LOCK_WAITS_MS[tries];
      if (wait === undefined) throw new TidemarkError("ALREADY_OPEN", "another tab or worker holds these files", { file: name }, { cause: thrown });
      await sleep(wait);
    }
  }
}

/** Over every quota, so a file of this size is refused on any disk. */
const ABSURD_BYTES = 2 ** 50;

/**
 * True where storage ends with the session: private browsing. No engine says so, but each gives itself away. Firefox and
 * Safari refuse the directory. Chromium keeps files in memory then, and a truncate that memory can't follow (from 2 GiB on)
 * is ignored there in silence, while a disk's is refused by the quota. Other engines are not asked for that size: Firefox
 * may evict other sites' data before it refuses. What can't be asked counts as not private.
 */
export async function isPrivate(): Promise<boolean> {
  let root: DirectoryHandle;
  try {
    root = await findDirectory([], false);
  } catch (thrown) {
    return isNamed(thrown, "SecurityError") || isNamed(thrown, "UnknownError");
  }
  const name = `.tidemark-${crypto.randomUUID()}`;
  let handle: SyncHandle | undefined;
  try {
    handle = await openHandle(root, name, true);
    if (handle.mode === undefined) return false;
    handle.truncate(ABSURD_BYTES);
    return handle.getSize() < ABSURD_BYTES;
  } catch {
    return false;
  } finally {
    handle?.close();
    await root.removeEntry(name).catch(() => undefined);
  }
}
