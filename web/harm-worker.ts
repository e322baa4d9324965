/**
 * Changes a few bytes of a file in the origin private file system without the log's knowledge, as a failing disk would.
 */
export interface Harm {
  /** The directories, then the file's name. */
  readonly path: readonly string[];
  readonly position: number;
  readonly bytes: number;
  /** XORed into the bytes; 0 writes zeros instead. */
  readonly mask: number;
}

const TRIES = 100;
const PAUSE_MS = 30;

self.onmessage = async ({ data }: MessageEvent<Harm>) => {
  try {
    const { path, position, bytes, mask } = data;
    let directory = await navigator.storage.getDirectory();
    for (const name of path.slice(0, -1)) directory = await directory.getDirectoryHandle(name);
    const file = await directory.getFileHandle(path.at(-1)!);
    const handle = await open(file as typeof file & Openable);
    const found = new Uint8Array(bytes);
    handle.read(found, { at: position });
    handle.write(
      found.map((byte) => (mask === 0 ? 0 : byte ^ mask)),
      { at: position },
    );
    handle.flush();
    handle.close();
    self.postMessage("done");
  } catch (thrown) {
    self.postMessage(thrown instanceof Error ? thrown.message : String(thrown));
  }
};

/** Opens the file. The worker that wrote it ends some milliseconds after its page, so this tries again for a while. */
async function open(file: Openable): Promise<SyncHandle> {
  for (let tries = 1; ; tries++) {
    try {
      return await file.createSyncAccessHandle();
    } catch (thrown) {
      if (tries === TRIES || (thrown as Error).name !== "NoModificationAllowedError") throw thrown;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
  }
}

interface Openable {
  createSyncAccessHandle(): Promise<SyncHandle>;
}
interface SyncHandle {
  read(target: Uint8Array, options: { at: number }): number;
  write(source: Uint8Array, options: { at: number }): number;
  flush(): void;
  close(): void;
}
