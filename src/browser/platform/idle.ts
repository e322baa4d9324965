/** Waiting of work that may as well never be done. */
import { laterTurn, sleep } from "./timing.ts";

/** A page that is always busy, or not shown, still gets its turn. */
const IDLE_MS_MAX = 5_000;

/** Resolves when the page has nothing better to do, after 5 seconds at the latest. */
export const idle = (): Promise<unknown> =>
  "requestIdleCallback" in globalThis
    ? new Promise((resolve) => requestIdleCallback(resolve, { timeout: IDLE_MS_MAX }))
    : laterTurn();

/** Resolves after `ms`, if the program is still there by then. */
export const idleFor = (ms: number): Promise<void> => sleep(ms);
