/** The few calls of the origin private file system that the volume and the probe share. */
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

/** Several may have a file open so; who writes to it is another's to say. Engines that don't know it open for one alone. */
export const SHARED = "readwrite-unsafe";

/** The last of the waits for a locked file, which double from 10 ms: 630 ms in all. After a reload or crash a lock is free within 1 to 50 ms. */
const WAIT_MS_MAX = 320;

/** Opens a file, for this worker alone unless it is SHARED. ALREADY_OPEN when somebody else keeps it open. */
export async function openHandle(directory: DirectoryHandle, name: string, mode?: string): Promise<SyncHandle> {
  const file = (await directory.getFileHandle(name, { create: true })) as FileHandle;
  for (let wait = 10; ; wait *= 2) {
    try {
      return await file.createSyncAccessHandle({ mode });
    } catch (thrown) {
      if (!isNamed(thrown, "NoModificationAllowedError")) throw thrown;
      if (wait > WAIT_MS_MAX)
        throw new TidemarkError("ALREADY_OPEN", "its files are locked", { file: name }, { cause: thrown });
      await sleep(wait);
    }
  }
}
