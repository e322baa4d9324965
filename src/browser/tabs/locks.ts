/**
 * The locks that tabs have besides the lead's and the workers' (platform/locks.ts): their names, and how terms are
 * ended.
 */
import { workersOf } from "../platform/locks.ts";

const PORT = "tidemark-port:";

export const deposeLock = (name: string): string => `tidemark-depose:${name}`;
export const newSpareLock = (): string => `tidemark-spare:${crypto.randomUUID()}`;
/** Also the name of a channel that stands in for the port. */
export const newPortLock = (): string => PORT + crypto.randomUUID();
export const isPortLock = (lock: string): boolean => lock.startsWith(PORT);
export const newBrokerLock = (): string => `tidemark-broker:${crypto.randomUUID()}`;

/**
 * Steals each worker's lock, by which all who watch it learn that its term is over, it and its page too when they
 * wake.
 */
export async function endTerms(name: string): Promise<void> {
  for (const lock of await workersOf(name)) await navigator.locks.request(lock, { steal: true }, () => undefined);
}
