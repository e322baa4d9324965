/**
 * Waiting in Node. In the package it replaces src/browser/platform/timing.ts, whose channel would keep a process alive.
 */
export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Resolves in a later turn of the event loop, behind what waits already. */
export const laterTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
