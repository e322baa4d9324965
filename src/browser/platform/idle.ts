/** Waiting of work that may as well never be done. */
import { laterTurn, sleep } from "./timing.ts";

/** Resolves when the page has nothing better to do. */
export const idle = (): Promise<unknown> =>
  "requestIdleCallback" in globalThis ? new Promise((resolve) => requestIdleCallback(resolve)) : laterTurn();

/** Resolves after `ms`, if the program is still there by then. */
export const idleFor = (ms: number): Promise<void> => sleep(ms);
