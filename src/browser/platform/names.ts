/** Names of a tide's databases. */
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
