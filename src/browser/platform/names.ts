/** What the volumes, the connection and the probe share of the browser: names of databases, kinds of exceptions, a pause. */
export const databaseName = (name: string): string => `tidemark:${name}`;
/** Empty databases that say of a tide what can't be told otherwise: that it is in OPFS, or in a private window, or being removed. */
export const markName = (name: string, of: "opfs" | "private" | "destroyed"): string => `tidemark-${of}:${name}`;
export const isNamed = (thrown: unknown, name: string): boolean => thrown instanceof Error && thrown.name === name;
/** A page that nobody sees. A dedicated worker can't be told: it counts as seen, and keeps the lead that it has. */
export const isHidden = (): boolean => typeof document === "object" && document.visibilityState === "hidden";
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** An error of somebody else's code, told as uncaught ones are; what called that code goes on. */
export function report(thrown: unknown): void {
  if (typeof reportError === "function") return reportError(thrown);
  queueMicrotask(() => {
    throw thrown;
  });
}

/** Not awaited: marks are for the next open. */
export function leaveMark(mark: string): void {
  const request = indexedDB.open(mark);
  request.onsuccess = () => request.result.close();
}

/** Resolves when the lock is ours, to what gives it back; the page's end does so too. undefined: not available. */
export function takeLock(name: string, options: LockOptions): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, options, (lock) => (lock ? new Promise<void>(resolve) : resolve(undefined)))
      .catch(reject);
  });
}
