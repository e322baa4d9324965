/**
 * Checks that are made before a new tide, or a tide in a named engine, is created: whether storage is permanent, and
 * whether the engine returns what was written.
 */
import { TidemarkError } from "../../errors.ts";
import { type Engine, readExactly, type Volume } from "../../store/volume.ts";
import { DirectoryFiles, type DirectoryHandle, findDirectory, type SyncHandle } from "./opfs-files.ts";
import { isNamed } from "../platform/errors.ts";
import { databaseName, leaveMark, markName } from "../platform/names.ts";
import { noStorage, type Openers, type Rejected, rejection, type VolumeChoice, type VolumeOptions } from "./engine.ts";

const SLOT_BYTES = 64 * 1024;

async function remove(engine: Engine, name: string): Promise<void> {
  if (engine === "opfs") return (await findDirectory(["tidemark"], false)).removeEntry(name, { recursive: true });
  await new Promise<void>((resolve) => {
    const request = indexedDB.deleteDatabase(databaseName(name));
    request.onsuccess = request.onerror = request.onblocked = () => resolve();
  });
}

/** Tries the engines in their order. `names` are the existing databases; undefined if IndexedDB is off. */
export async function openProved(
  { name, engine, slotBytes, lifeLock }: VolumeChoice,
  home: "opfs" | "indexeddb" | undefined,
  names: readonly unknown[] | undefined,
  open: Openers,
): Promise<{ volume: Volume; rejected: readonly Rejected[] }> {
  const rejected: Rejected[] = [];
  const candidates: readonly Engine[] = engine !== "auto" ? [engine] : home ? [home] : ["opfs", "indexeddb"];
  // Checked once, when the tide is made, and where no mark can record it.
  const asked = (!home || !names) && engine !== "memory" && (await isPrivate());
  const durability = asked || names?.includes(markName(name, "private")) ? "none" : "device";
  for (const candidate of candidates) {
    try {
      if (candidate !== home && candidate !== "memory") await prove(candidate, open[candidate]);
      const volume = await open[candidate]({
        name,
        slotBytes,
        durability,
        ...(lifeLock !== undefined && { lifeLock }),
      });
      if (candidate === "opfs" && !names?.includes(markName(name, "opfs"))) leaveMark(markName(name, "opfs"));
      if (asked) leaveMark(markName(name, "private"));
      return { volume, rejected };
    } catch (thrown) {
      rejected.push(rejection(candidate, thrown));
    }
  }
  throw noStorage(home, rejected);
}

/** Writes, flushes, closes, opens again and compares, in a volume of its own that is removed afterwards. */
async function prove(engine: Engine, open: (options: VolumeOptions) => Promise<Volume>): Promise<void> {
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
    if (!read.every((byte, at) => byte === written[at]))
      throw new TidemarkError("STORAGE_FAILED", "other bytes came back");
  } finally {
    await volume?.close().catch(() => undefined);
    await remove(engine, name).catch(() => undefined);
  }
}

/** Larger than any quota, so a disk refuses a file of this size. */
const ABSURD_BYTES = 2 ** 50;

/**
 * True in private browsing, where storage ends with the session. No engine says so, but each shows it in some way.
 * Firefox and Safari refuse the directory. Chromium keeps files in memory then: it silently ignores a truncate to more
 * than memory allows (from 2 GiB on), while a disk's quota refuses it. Other engines are not tested with that size:
 * Firefox may evict other sites' data before it refuses. If it can't be tested, it counts as not private.
 */
async function isPrivate(): Promise<boolean> {
  let root: DirectoryHandle;
  try {
    root = await findDirectory([], false);
  } catch (thrown) {
    return isNamed(thrown, "SecurityError") || isNamed(thrown, "UnknownError");
  }
  const name = `.tidemark-${crypto.randomUUID()}`;
  let handle: SyncHandle | undefined;
  try {
    handle = await new DirectoryFiles(root).open(name);
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
