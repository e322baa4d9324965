/**
 * Gets the lead: waits for its lock, and starts the worker that leads once the lock is granted (life.ts: waiting,
 * rising).
 *
 *   queue ──▶ lock granted ──▶ the last leader's worker is gone ──▶ own worker starts ──▶ it leads
 *     ▲                        or hangs: its term is ended first         │
 *     └──────────── the lock is given back: the worker ended ◀───────────┘
 *
 * A term ends when its lock is let go. If a start fails for a reason that passes by itself, the tab keeps the lock and
 * tries again.
 */
import { TidemarkError } from "../../errors.ts";
import { workerEnd } from "../platform/locks.ts";
import { SUCCESSOR_WAIT_MS } from "../platform/terms.ts";
import { laterTurn, sleep } from "../platform/timing.ts";
import { PROTOCOL_VERSION } from "../port/protocol.ts";
import { refusePast } from "./joiner.ts";
import { failureOf } from "./life.ts";
import { endTerms } from "./locks.ts";
import { during, say, type Standing } from "./standing.ts";

/** A worker that has not opened the volume after this time counts as failed. */
const LEAD_MS = 20_000;
/** The wait before the first repeated start. Each further wait is longer by this. */
const LEAD_PAUSE_MS = 200;

/** Asks for the lock. A tab that steals it later does so because it believes that this one hangs. */
function request(me: Standing, options: LockOptions, refused?: () => void): void {
  let mine: (() => void) | undefined;
  const granted = (): Promise<void> => {
    const held = new Promise<void>((unlock) => (me.release = mine = unlock));
    me.tries = 0;
    me.tell("granted");
    return held;
  };
  navigator.locks.request(me.tide.lock, options, granted).catch(() => {
    if (!mine) refused?.();
    else if (mine === me.release) me.tell("deposed");
  });
}

/** Waits for the lock for as long as it takes. */
export function queue(me: Standing): void {
  if (me.queued) return;
  const { signal } = (me.queued = new AbortController());
  request(me, { signal });
}

export function unqueue(me: Standing): void {
  me.queued?.abort();
  me.queued = undefined;
}

/** Steals the lock from the tab that has it, which may be this one. */
export function steal(me: Standing): void {
  const tell = during(me);
  request(me, { steal: true }, () => tell("refused"));
}

/** Gives back the lead's lock, and the lock for deposing: the next tab can have them. */
export function letGo(me: Standing): void {
  me.release?.();
  me.deposed?.();
  me.release = me.deposed = undefined;
}

/**
 * Waits for the last leader's worker to end: its page's lock can be free before its last writes are done. A stand-by
 * worker waits for that by itself.
 */
export async function awaitLast(me: Standing): Promise<void> {
  const tell = during(me);
  const { lifeLock, spare, joiner } = me;
  joiner.leave();
  const isGone = !lifeLock || lifeLock === me.goneLock;
  spare.last = me.tide.takeover ? undefined : isGone ? "" : lifeLock;
  if (isGone || spare.ready) return tell("clear");
  // The connection to that worker has waited for its end for longer, and may hear of it first (endOfLast).
  me.onGone = () => tell("clear");
  await workerEnd(lifeLock).then(me.onGone, () => tell("hangs"));
}

/** Called when the connection to the last leader's worker reports that this worker has ended. */
export function endOfLast(me: Standing, lifeLock: string): void {
  me.goneLock = lifeLock;
  me.onGone?.();
}

/** Ends the term of a leader that hangs, and waits until its worker writes no more. */
export async function takeOver(me: Standing): Promise<void> {
  const tell = during(me);
  // A worker may keep its lock nevertheless. Then the next worker can't open the volume (sole-writer.ts).
  await endTerms(me.tide.name).catch(() => undefined);
  await me.broker.sleep(SUCCESSOR_WAIT_MS);
  me.tide.takeover = true;
  me.spare.last = undefined;
  tell("clear");
}

/** Starts the worker that leads. */
export async function startWorker(me: Standing): Promise<void> {
  const tell = during(me);
  const { tide, spare, joiner } = me;
  joiner.leave();
  const wasOpen = tide.connection !== undefined;
  const isReady = spare.ready;
  let worker: Worker | undefined;
  // After LEAD_MS the start fails in the same way as when the worker's script does not load.
  const late = setTimeout(() => worker?.onerror?.({ message: "it does not start" } as ErrorEvent), LEAD_MS);
  try {
    // The worker gets no way to unlock: if this start fails, the tab keeps the lock.
    const opened = tide.lead(() => undefined, {
      take: () => (worker = spare.take()),
      order: (taken, options) => spare.order(taken, options),
    });
    come(me);
    // A new worker takes longer than a stand-by worker: the other tabs are told to wait for it.
    if (!isReady) say(me, "opening");
    await opened;
  } catch (thrown) {
    const error = TidemarkError.from(thrown);
    const event = failureOf(error, { tries: ++me.tries, ends: me.ends, wasOpen });
    if (event === "ended") me.ends++;
    tell(event, error);
  } finally {
    clearTimeout(late);
  }
}

export async function startAgain(me: Standing): Promise<void> {
  const { stay } = me;
  await sleep(LEAD_PAUSE_MS * me.tries);
  if (stay === me.stay) await startWorker(me);
}

/**
 * Ends the connection that calls go to, and the one to this tab's own worker, even if that worker only starts. Nothing
 * is flushed, because there is no time: each tab sends again what has no ack. The worker is not left to end by itself:
 * a busy loop would keep its files and its lock for seconds, and otherwise it would still take some 50 ms after its
 * page.
 */
export function drop({ tide }: Standing, message: string, reason?: string): void {
  const error = new TidemarkError("CLOSED", message, { reason });
  tide.connection?.fail(error);
  tide.coming?.fail(error);
}

/** Ends this tab's stand-by worker, and a join that is under way. */
export function standDown({ spare, joiner }: Standing): void {
  spare.stop();
  joiner.leave();
}

/** Tells the other tabs when the worker lives. They join now, so that they are connected when it leads. */
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

/**
 * This tab's own calls come first: those that wait are sent again in this turn, and other tabs are let in after them.
 */
export async function rule(me: Standing): Promise<void> {
  const connection = me.tide.connection!;
  const isReady = (): Promise<unknown> => connection.call({ op: "ready" }).catch(() => undefined);
  me.broker.lead(connection.lifeLock);
  me.tide.takeover = undefined;
  me.spare.stop();
  me.deposed?.();
  await laterTurn();
  if (me.appends?.()) await isReady();
  for (const join of me.early.splice(0)) me.tell("join", join);
  await isReady();
  me.tell("hail");
}
