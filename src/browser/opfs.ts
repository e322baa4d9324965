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

export const slotName = (slot: number): string => `slot-${String(slot).padStart(4, "0")}`;

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
      if (wait === undefined) throw new TidemarkError("ALREADY_OPEN", "its files are locked", { file: name }, { cause: thrown });
      await sleep(wait);
    }
  }
}
