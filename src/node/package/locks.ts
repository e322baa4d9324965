/**
 * Locks of one process. In the package it replaces src/browser/platform/locks.ts: older versions of Node have no Web
 * Locks, and a tide's folder is open in one process only.
 */
const lines = new Map<string, Promise<unknown>>();

interface LockAsk {
  readonly signal?: AbortSignal | undefined;
}

/** Resolves when the lock is free, with a function that gives it back. Rejects when the signal is aborted before. */
export function takeLock(name: string, { signal }: LockAsk = {}): Promise<() => void> {
  signal?.throwIfAborted();
  const before = lines.get(name) ?? Promise.resolve();
  let release!: () => void;
  const released = new Promise<void>((resolve) => (release = resolve));
  const line = before.then(() => released);
  lines.set(name, line);
  void line.then(() => lines.get(name) === line && lines.delete(name));
  return new Promise((resolve, reject) => {
    // A caller that gives up leaves the line, and the next one gets the lock.
    const leave = (): void => (release(), reject(signal!.reason));
    signal?.addEventListener("abort", leave, { once: true });
    void before.then(() => {
      signal?.removeEventListener("abort", leave);
      resolve(release);
    });
  });
}
