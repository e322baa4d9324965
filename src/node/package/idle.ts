/** In the package it replaces src/browser/platform/idle.ts: what waits here keeps no process alive. */
export const idle = (): Promise<unknown> => new Promise((resolve) => setImmediate(resolve));

export const idleFor = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms).unref());
