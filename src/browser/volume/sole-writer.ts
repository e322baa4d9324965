/**
 * Where no file lock keeps a second writer away (copies of locked files, IndexedDB), a worker checks before it opens
 * whether it is the only one. Each worker first takes its own lock and then looks at the locks of others, so of two
 * that come at the same time at least one sees the other. A worker that was deposed has no lock any more and can't pass
 * this check.
 */
import { TidemarkError } from "../../errors.ts";
import { heldLocks, workersOf } from "../platform/locks.ts";
import { sleep } from "../platform/timing.ts";

/** A worker that is ending is gone within some ten milliseconds. */
const TRIES = 20;
const PAUSE_MS = 50;

/** CLOSED if the worker's term is over. */
export async function proveTerm(lifeLock: string | undefined): Promise<void> {
  if (lifeLock !== undefined && !(await heldLocks()).includes(lifeLock))
    throw new TidemarkError("CLOSED", "another tab leads now", { reason: "deposed" });
}

/** ALREADY_OPEN if another worker of this tide lives and was not deposed. */
export async function waitAlone(name: string, lifeLock: string | undefined): Promise<void> {
  for (let tries = 1; lifeLock !== undefined; tries++) {
    await proveTerm(lifeLock);
    const workers = await workersOf(name);
    if (workers.length === 1) return;
    if (tries === TRIES) throw new TidemarkError("ALREADY_OPEN", "another worker has it open", { name });
    await sleep(PAUSE_MS);
  }
}
