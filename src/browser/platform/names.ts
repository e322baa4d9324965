/** Names of a tide's databases, and of all that there are. */
import { sleep } from "./timing.ts";

export const databaseName = (name: string): string => `tidemark:${name}`;
/**
 * Empty databases that mark what can't be found out otherwise: that a tide is in OPFS, or in a private window, or is
 * being removed.
 */
export const markName = (name: string, of: "opfs" | "private" | "destroyed"): string => `tidemark-${of}:${name}`;

/** Not awaited, because marks are for the next open. */
export function leaveMark(mark: string): void {
  const request = indexedDB.open(mark);
  request.onsuccess = () => request.result.close();
}

/** A list of databases that has not come by then is asked for once more. */
const LIST_MS = 1_000;

/**
 * Names of all databases; rejects where IndexedDB is off. Chromium never answers a call that
 * is made in the moment in which the site's databases are cleared. A second call is answered.
 */
export async function databaseNames(): Promise<unknown[]> {
  const asked: Promise<IDBDatabaseInfo[]>[] = [];
  for (;;) {
    asked.push(indexedDB.databases());
    const list = await Promise.race([...asked, sleep(LIST_MS)]);
    if (list) return list.map(({ name }) => name);
  }
}
