/** Names of a tide's databases. */
export const databaseName = (name: string): string => `tidemark:${name}`;
/**
 * Empty databases that say of a tide what can't be told otherwise: that it is in OPFS, or in a private window, or
 * being removed.
 */
export const markName = (name: string, of: "opfs" | "private" | "destroyed"): string => `tidemark-${of}:${name}`;

/** Not awaited: marks are for the next open. */
export function leaveMark(mark: string): void {
  const request = indexedDB.open(mark);
  request.onsuccess = () => request.result.close();
}
