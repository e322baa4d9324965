/** Edits a few bytes of a file in the origin private file system, the way a failing disk would: behind the log's back. */
export interface Harm {
  /** Directories, then the file. */
  readonly path: readonly string[];
  readonly position: number;
  readonly bytes: number;
  /** XORed into the bytes; 0 writes zeros instead. */
  readonly mask: number;
}

self.onmessage = async ({ data }: MessageEvent<Harm>) => {
  try {
    const { path, position, bytes, mask } = data;
    let directory = await navigator.storage.getDirectory();
    for (const name of path.slice(0, -1)) directory = await directory.getDirectoryHandle(name);
    const file = await directory.getFileHandle(path.at(-1)!);
    const handle = await (file as unknown as { createSyncAccessHandle(): Promise<SyncHandle> }).createSyncAccessHandle();
    const found = new Uint8Array(bytes);
    handle.read(found, { at: position });
    handle.write(found.map((byte) => (mask === 0 ? 0 : byte ^ mask)), { at: position });
    handle.flush();
    handle.close();
    self.postMessage("done");
  } catch (thrown) {
    self.postMessage(thrown instanceof Error ? thrown.message : String(thrown));
  }
};

interface SyncHandle {
  read(target: Uint8Array, options: { at: number }): number;
  write(source: Uint8Array, options: { at: number }): number;
  flush(): void;
  close(): void;
}
