/**
 * Web Locks: their names, how they are held, and how their end is awaited. The browser gives a lock back when its
 * holder is gone, whatever the reason. So a program that waits for a lock which another holds for life learns of that
 * one's end without heartbeats.
 *
 *   tidemark:<name>                 the leader's page, for its term; every follower waits for it
 *   tidemark-depose:<name>          the one tab that takes the lead away from a leader that hangs
 *   tidemark-worker:<name>:<uuid>   a worker that opens or leads, for its life
 *   tidemark-spare:<uuid>           a standby worker, for its life
 *   tidemark-port:<uuid>            a follower, as long as it keeps its port; the leader's worker waits for it
 *   tidemark-broker:<uuid>          the broker, for its life
 *
 * All of them are held exclusively. A program that only waits asks in shared mode: many can wait at once, and if one of
 * them is stopped or frozen when it gets the lock, the others still get it, and it does not count as a holder.
 */
const WORKER = "tidemark-worker:";

export const tideLock = (name: string): string => `tidemark:${name}`;
export const newWorkerLock = (name: string): string => `${WORKER}${name}:${crypto.randomUUID()}`;

/**
 * Resolves when this page has the lock, with a function that gives it back; the page's end does so too. Undefined if
 * the lock is not available.
 */
export function takeLock(name: string, options: LockOptions): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, options, (lock) => (lock ? new Promise<void>(resolve) : resolve(undefined)))
      .catch(reject);
  });
}

/**
 * Holds the lock as long as this worker lives. `held` is called when it has the lock. Rejects if the lock is stolen.
 */
export function holdForLife(name: string, held: () => void): Promise<never> {
  return navigator.locks.request(name, () => {
    held();
    return new Promise<never>(() => undefined);
  });
}

/** Resolves when nobody holds this lock any more. `told` is called in that turn. */
export async function lockEnd(name: string, told = (): void => undefined, signal?: AbortSignal): Promise<void> {
  await navigator.locks.request(name, { mode: "shared", ...(signal && { signal }) }, told);
}

/**
 * Calls `told` when nobody holds this lock any more. A page that is going may not ask for locks, and `told` is not
 * called; nor is it once the signal is aborted.
 */
export function whenFree(name: string, told: () => void, signal?: AbortSignal): void {
  lockEnd(name, told, signal).catch(() => undefined);
}

/** A worker that ends is gone within a few milliseconds. After this time it counts as hanging. */
export const WORKER_END_MS = 1_000;

/** Resolves when the worker that held this lock is gone. Rejects if it hangs. */
export const workerEnd = (lock: string): Promise<void> => lockEnd(lock, undefined, AbortSignal.timeout(WORKER_END_MS));

/** Names of the locks that are held. */
export async function heldLocks(): Promise<string[]> {
  const { held = [] } = await navigator.locks.query();
  return held.filter(({ mode }) => mode === "exclusive").map(({ name }) => name!);
}

/** The locks of all workers that open or lead this tide. */
export const workersOf = async (name: string): Promise<string[]> =>
  (await heldLocks()).filter((lock) => lock.startsWith(`${WORKER}${name}:`));
