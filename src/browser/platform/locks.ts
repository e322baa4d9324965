/**
 * Web Locks: how they are named, held and waited for. The browser gives a lock back when its holder is gone, however
 * it went. So whoever waits for a lock that is held for life learns of that end, and needs no heartbeat.
 *
 *   tidemark:<name>                 the leader's page, for its term; every follower waits for it
 *   tidemark-depose:<name>          the one tab that takes the lead away from a leader that hangs
 *   tidemark-worker:<name>:<uuid>   a worker that opens or leads, for its life
 *   tidemark-spare:<uuid>           a worker that stands by, for its life
 *   tidemark-port:<uuid>            a follower, as long as it keeps its port; the leader's worker waits for it
 *   tidemark-broker:<uuid>          the broker, for its life
 *
 * All of them are exclusive. Who only waits asks in shared mode: many wait at once, and one of them that is stopped or
 * frozen by the time at which it is granted keeps no other from being told, and is taken for no holder.
 */
const WORKER = "tidemark-worker:";

export const tideLock = (name: string): string => `tidemark:${name}`;
export const newWorkerLock = (name: string): string => `${WORKER}${name}:${crypto.randomUUID()}`;

/** Resolves when the lock is ours, to what gives it back; the page's end does so too. undefined: not available. */
export function takeLock(name: string, options: LockOptions): Promise<(() => void) | undefined> {
  return new Promise((resolve, reject) => {
    navigator.locks
      .request(name, options, (lock) => (lock ? new Promise<void>(resolve) : resolve(undefined)))
      .catch(reject);
  });
}

/** Holds the lock as long as this worker lives; `held` is called when it has it. Rejects when somebody steals it. */
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
 * Calls `told` when nobody holds this lock any more. A page that is going itself may ask for none, and is told
 * nothing.
 */
export function whenFree(name: string, told: () => void): void {
  lockEnd(name, told).catch(() => undefined);
}

/** A worker that ends is gone within a few milliseconds; one that hangs is not waited for. */
export const WORKER_END_MS = 1_000;

/** Resolves when the worker that held this lock is gone; rejects when it hangs. */
export const workerEnd = (lock: string): Promise<void> => lockEnd(lock, undefined, AbortSignal.timeout(WORKER_END_MS));

/** Names of the locks that are held. */
export async function heldLocks(): Promise<string[]> {
  const { held = [] } = await navigator.locks.query();
  return held.filter(({ mode }) => mode === "exclusive").map(({ name }) => name!);
}

/** The locks of all workers that open or lead this tide. */
export const workersOf = async (name: string): Promise<string[]> =>
  (await heldLocks()).filter((lock) => lock.startsWith(`${WORKER}${name}:`));
