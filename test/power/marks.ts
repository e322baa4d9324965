/**
 * Marks: writes to a file of their own that say "event n of this worker's trace is happening". A watcher of system
 * calls sees each mark among the volumes' writes and syncs, in the order of the calls.
 *
 *   0 "TIDEMARK-EVENT:" · 15 event number as text, padded to 9
 */
import type { TraceEvent } from "./trace.ts";

export const MARK = "TIDEMARK-EVENT:";
const MARKED = new Set(["ack", "tx", "tx-done"]);

export async function openMarks(): Promise<(event: TraceEvent, at: number) => void> {
  type Handle = { write(bytes: Uint8Array, options: { at: number }): number };
  type FileHandle = FileSystemFileHandle & { createSyncAccessHandle(): Promise<Handle> };
  // Taken before the recorder wraps these methods.
  const { getFileHandle } = FileSystemDirectoryHandle.prototype;
  const { createSyncAccessHandle } = FileSystemFileHandle.prototype as FileHandle;
  const { write } = (globalThis as typeof globalThis & { FileSystemSyncAccessHandle: { prototype: Handle } })
    .FileSystemSyncAccessHandle.prototype;
  const file = (await getFileHandle.call(await navigator.storage.getDirectory(), `marks-${crypto.randomUUID()}`, {
    create: true,
  })) as FileHandle;
  const handle = await createSyncAccessHandle.call(file);
  return ({ kind }, at) => {
    if (MARKED.has(kind)) write.call(handle, new TextEncoder().encode(MARK + String(at).padStart(9)), { at: 0 });
  };
}
