/**
 * The lead: waiting for its lock, and starting the worker that leads once it is granted.
 *
 *   queue ──▶ lock granted ──▶ the last leader's worker is gone ──▶ own worker starts ──▶ it leads
 *     ▲                        or hangs: its term is ended first         │
 *     └──────────── the lock is given back: the worker ended ◀───────────┘
 *
 * A term ends with its lock. A start that fails for a reason that passes by itself keeps the lock, and is tried again.
 */
import { TidemarkError } from "../../errors.ts";
import { workerEnd } from "../platform/locks.ts";
import { SUCCESSOR_WAIT_MS } from "../platform/terms.ts";
import { sleep } from "../platform/timing.ts";
import { PROTOCOL_VERSION } from "../port/protocol.ts";
import { refusePast } from "./joiner.ts";
import { endTerms } from "./locks.ts";
import { say, type Standing } from "./standing.ts";

/**
 * The tab that has the lead gives up after this many starts that failed for what may pass: files still locked, no
 * network.
 */
const LEAD_TRIES = 5;
/** A worker that has not opened the volume by then counts as failed. */
const LEAD_MS = 20_000;
const LEAD_PAUSE_MS = 200;

/** Waits for the lock for as long as it takes. */
export function queue(me: Standing): void {
  if (me.queued || me.leading || me.asleep || me.tide.ended) return;
  const queued = (me.queued = new AbortController());
  hold(me, { signal: queued.signal }).then(
    (unlock) => void lead(me, unlock),
    () => undefined,
  );
}

export function unqueue(me: Standing): void {
  me.queued?.abort();
  me.queued = undefined;
}

/** Resolves when this tab has the lock, to what gives it back. Whichever tab steals it later takes this one to hang. */
export function hold(me: Standing, options: LockOptions): Promise<() => void> {
  return new Promise((resolve, reject) => {
    let term: { lost: boolean } | undefined;
    const granted = (): Promise<void> => {
      me.term = term = { lost: false };
      return new Promise(resolve);
    };
    navigator.locks.request(me.tide.lock, options, granted).catch((thrown: unknown) => {
      reject(thrown);
      if (!term) return;
      term.lost = true;
      if (me.tide.role === "leader") me.tide.connection!.fail(new TidemarkError("CLOSED", "another tab leads now"));
    });
  });
}

/** The lock is this tab's. */
export async function lead(me: Standing, unlock: () => void): Promise<void> {
  me.queued = undefined;
  const term = me.term;
  const release = (): void => {
    me.leading = false;
    unlock();
  };
  me.release = release;
  // Granted in the moment in which it was no longer wanted.
  if (me.tide.ended || me.asleep) return release();
  me.leading = true;
  me.joiner.leave();
  const last = isLastGone(me) ? "" : me.lifeLock;
  me.spare.last = me.tide.takeover ? undefined : last;
  const isReady = me.spare.ready;
  if (!isReady && !(await lastWorkerGone(me))) {
    say(me, "opening");
    await takeOver(me);
  }
  for (let tries = 1; ; tries++) {
    if (me.tide.ended) return release();
    const error = await start(me, term, release, isReady);
    if (!error) return;
    if (me.tide.ended) return release();
    const isLater = error.code === "LOAD_FAILED" && me.tide.connection !== undefined;
    if (givesBack(me, error, term, isLater)) {
      release();
      if (isLater) await me.tide.later(error);
      queue(me);
      return me.expect();
    }
    if (error.kind !== "retry" || tries === LEAD_TRIES) {
      release();
      return me.tide.end(error);
    }
    // The lock was free, and its files are not: the worker that has them is not waited for.
    if (error.code === "ALREADY_OPEN") await takeOver(me);
    else await sleep(LEAD_PAUSE_MS * tries);
  }
}

/** Starts the worker. Resolves when it leads, or to why it does not. */
async function start(
  me: Standing,
  term: { lost: boolean },
  release: () => void,
  isReady: boolean,
): Promise<TidemarkError | undefined> {
  // Its tab then hears of an error, as when its script does not load.
  const late = setTimeout(() => me.starting?.onerror?.({ message: "it does not start" } as ErrorEvent), LEAD_MS);
  try {
    // A term ends with its lock; a try that fails keeps it.
    let began = false;
    const lead = me.tide.lead(() => began && release(), {
      take: () => (me.starting = me.spare.take()),
      order: (worker, options) => me.spare.order(worker, options),
    });
    come(me);
    // A worker that starts now may take its time.
    if (!isReady) say(me, "opening");
    await lead;
    began = true;
    // Put to sleep while it began, or away for so long that another tab took over.
    if (me.asleep || term.lost)
      me.tide.connection!.fail(new TidemarkError("CLOSED", "its page was frozen", { reason: "frozen" }));
    return undefined;
  } catch (thrown) {
    return TidemarkError.from(thrown);
  } finally {
    clearTimeout(late);
  }
}

/** Whether this tab queues again after a start that failed so, instead of trying again with the lock that it has. */
function givesBack(me: Standing, error: TidemarkError, term: { lost: boolean }, isLater: boolean): boolean {
  // Once the tide was open, a file of the package that can't be loaded does not end it: another tab may have it.
  if (me.asleep || term.lost || isLater) return true;
  // Its worker was deposed while it began, or ended.
  return error.code === "CLOSED" && error.details["reason"] !== "cleared" && ++me.failures < LEAD_TRIES;
}

/** Tells the others once the worker lives: they join now, and are there by the time at which it leads. */
function come(me: Standing): void {
  const coming = me.tide.coming!;
  const { onEvent, lifeLock } = coming;
  refusePast(me.tide, coming);
  me.early = [];
  coming.onEvent = (event) => {
    onEvent!(event);
    me.broker.lead(lifeLock);
    say(me, { coming: lifeLock, version: PROTOCOL_VERSION, broker: me.broker.id });
  };
}

/** Ends the term of a leader that hangs, and waits until its worker writes no more. */
export async function takeOver(me: Standing): Promise<void> {
  // A worker that keeps its lock all the same keeps the next one from opening (sole-writer.ts).
  await endTerms(me.tide.name).catch(() => undefined);
  await me.broker.sleep(SUCCESSOR_WAIT_MS);
  me.tide.takeover = true;
}

const isLastGone = ({ lifeLock, goneLock }: Standing): boolean => !lifeLock || lifeLock === goneLock;

/** The connection to the last leader's worker has told that this worker ended. */
export function endOfLast(me: Standing, lifeLock: string): void {
  me.goneLock = lifeLock;
  me.onGone?.();
}

/**
 * Waits for the last leader's worker to end: its page's lock can be free before its last writes are done. Resolves to
 * false if it hangs.
 */
async function lastWorkerGone(me: Standing): Promise<boolean> {
  if (isLastGone(me)) return true;
  // The connection's own watch has been waiting for longer.
  const told = new Promise<boolean>((resolve) => (me.onGone = () => resolve(true)));
  const ended = workerEnd(me.lifeLock!).then(
    () => true,
    () => false,
  );
  return Promise.race([told, ended]);
}
