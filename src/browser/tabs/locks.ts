/**
 * Names of the locks that tabs hold besides the lead's and the workers' (those are in platform/locks.ts), and how terms
 * are ended.
 */
import { workersOf } from "../platform/locks.ts";

const PORT = "tidemark-port:";

export const deposeLock = (name: string): string => `tidemark-depose:${name}`;
export const newSpareLock = (): string => `tidemark-spare:${crypto.randomUUID()}`;
/** Also the name of the channel that takes the port's place. */
export const newPortLock = (): string => PORT + crypto.randomUUID();
export const isPortLock = (lock: string): boolean => lock.startsWith(PORT);
export const newBrokerLock = (): string => `tidemark-broker:${crypto.randomUUID()}`;

/**
 * Steals the lock of each worker of the tide. Everyone who waits for such a lock learns by this that the term is over.
 * The worker itself and its page learn it, too, when they wake.
 */
export async function endTerms(name: string): Promise<void> {
  for (const lock of await workersOf(name)) await navigator.locks.request(lock, { steal: true }, () => undefined);
}
