/** What is looked at before a new tide is made: whether storage lasts, and whether the engine keeps what it is given. */
import { TidemarkError } from "../errors.ts";
import { type Engine, readExactly, type Volume } from "../store/volume.ts";
import { type DirectoryHandle, findDirectory, openHandle, type SyncHandle } from "./opfs.ts";
import { databaseName, isNamed } from "./platform.ts";
import type { VolumeOptions } from "./probe.ts";

const SLOT_BYTES = 64 * 1024;

async function remove(engine: Engine, name: string): Promise<void> {
  if (engine === "opfs") return (await findDirectory(["tidemark"], false)).removeEntry(name, { recursive: true });
  await new Promise<void>((resolve) => {
    const request = indexedDB.deleteDatabase(databaseName(name));
    request.onsuccess = request.onerror = request.onblocked = () => resolve();
  });
}

/** Writes, flushes, closes, opens again and compares, in a volume of its own that is gone afterwards. */
export async function prove(engine: Engine, open: (options: VolumeOptions) => Promise<Volume>): Promise<void> {
  const name = `.probe-${crypto.randomUUID()}`;
  const options = { name, slotBytes: SLOT_BYTES };
  const written = crypto.getRandomValues(new Uint8Array(1000));
  let volume: Volume | undefined;
  try {
    volume = await open(options);
    await volume.addSlots(1);
    await volume.write(0, 4000, written);
    await volume.flush([0]);
    await volume.close();
    volume = await open(options);
    const read = await readExactly(volume, 0, 4000, written.length);
    if (!read.every((byte, at) => byte === written[at])) throw new TidemarkError("STORAGE_FAILED", "other bytes came back");
  } finally {
    await volume?.close().catch(() => undefined);
    await remove(engine, name).catch(() => undefined);
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
