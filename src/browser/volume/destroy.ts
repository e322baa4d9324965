/**
 * Removes a tide: its files, its database and its marks, in whichever engine it is. Loaded when it is needed.
 *
 *   "destroyed" in the lobby ▶ every tab that has it open ends ▶ the lead is taken, so that nobody opens it meanwhile
 *   ▶ no worker is left ▶ mark ▶ files ▶ database ▶ marks
 *
 * The mark says that the tide is being removed: if the tab dies in between, the next open finishes it (open-volume.ts).
 */
import { TidemarkError } from "../../errors.ts";
import { isNamed } from "../platform/errors.ts";
import { takeLock, tideLock, workersOf } from "../platform/locks.ts";
import { databaseName, databaseNames, markName } from "../platform/names.ts";
import { sleep } from "../platform/timing.ts";
import { removeStaleProbes } from "./stale-probes.ts";

/** Tabs that have the tide open end within some milliseconds; one that hangs does not. */
const WAIT_MS = 5_000;
const PAUSE_MS = 50;

const stillOpen = (what: string, cause?: unknown): TidemarkError =>
  new TidemarkError(
    "ALREADY_OPEN",
    `${what} still has the tide open, and does not let go of it: close that tab, then try again`,
    {},
    { cause },
  );

/**
 * ALREADY_OPEN because of another tab or its worker: nothing was removed. ALREADY_OPEN because of a file or database
 * that is still in use, or STORAGE_FAILED: removing has begun, and the next call or the next open() finishes it.
 */
export async function destroyTide(name: string): Promise<void> {
  const lock = tideLock(name);
  const lobby = new BroadcastChannel(lock);
  lobby.postMessage("destroyed");
  try {
    const unlock = await takeLock(lock, { signal: AbortSignal.timeout(WAIT_MS) }).catch((cause: unknown) =>
      Promise.reject(stillOpen("another tab", cause)),
    );
    try {
      await waitForWorkers(name);
      await removeTide(name);
      // The tide is gone whatever becomes of them.
      await removeStaleProbes().catch(() => undefined);
    } finally {
      unlock!();
    }
  } finally {
    lobby.close();
  }
}

async function waitForWorkers(name: string): Promise<void> {
  for (const until = performance.now() + WAIT_MS; ; await sleep(PAUSE_MS)) {
    if ((await workersOf(name)).length === 0) return;
    if (performance.now() > until) throw stillOpen("another tab's worker");
  }
}

/** Removes a tide that nobody has open. After a crash it can be called again. */
export async function removeTide(name: string): Promise<void> {
  const mark = markName(name, "destroyed");
  const names = await databaseNames().catch(() => undefined);
  if (names) await settled(indexedDB.open(mark)).then((database) => database.close());
  await removeFiles(name);
  // If IndexedDB is off, nothing of the tide is in it, and there is no mark.
  if (names)
    for (const each of [databaseName(name), markName(name, "opfs"), markName(name, "private"), mark])
      await settled(indexedDB.deleteDatabase(each));
}

async function removeFiles(name: string): Promise<void> {
  const { storage } = navigator as Partial<Navigator>;
  if (!storage?.getDirectory) return;
  for (const until = performance.now() + WAIT_MS; ; await sleep(PAUSE_MS)) {
    try {
      const tides = await (await storage.getDirectory()).getDirectoryHandle("tidemark");
      return await tides.removeEntry(name, { recursive: true });
    } catch (thrown) {
      // There is nothing, or there can be nothing.
      if (isNamed(thrown, "NotFoundError") || isNamed(thrown, "SecurityError")) return;
      if (!isNamed(thrown, "NoModificationAllowedError")) throw TidemarkError.from(thrown, "STORAGE_FAILED");
      if (performance.now() > until) throw stillOpen("something", thrown);
    }
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(stillOpen("something")), WAIT_MS);
    const end = (work: () => void) => () => {
      clearTimeout(late);
      work();
    };
    request.onsuccess = end(() => resolve(request.result));
    request.onerror = end(() => reject(TidemarkError.from(request.error, "STORAGE_FAILED")));
  });
}
