/**
 * The lead: waiting for its lock, and starting the worker that leads once it is granted (life.ts: waiting, rising).
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
import { laterTurn, sleep } from "../platform/timing.ts";
import { PROTOCOL_VERSION } from "../port/protocol.ts";
import { refusePast } from "./joiner.ts";
import { failureOf } from "./life.ts";
import { endTerms } from "./locks.ts";
import { during, say, type Standing } from "./standing.ts";

/** A worker that has not opened the volume by then counts as failed. */
const LEAD_MS = 20_000;
const LEAD_PAUSE_MS = 200;

/** Asks for the lock. Whichever tab steals it later takes this one to hang. */
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

/** Takes the lock from the tab that has it, this one too. */
export function steal(me: Standing): void {
  const tell = during(me);
  request(me, { steal: true }, () => tell("refused"));
}

/** The lock is free for the next tab. */
export function letGo(me: Standing): void {
  me.release?.();
  me.deposed?.();
  me.release = me.deposed = undefined;
}

/**
 * Waits for the last leader's worker to end: its page's lock can be free before its last writes are done. A worker that
 * stands by waits for that itself.
 */
export async function awaitLast(me: Standing): Promise<void> {
  const tell = during(me);
  const { lifeLock, spare, joiner } = me;
  joiner.leave();
  const isGone = !lifeLock || lifeLock === me.goneLock;
  spare.last = me.tide.takeover ? undefined : isGone ? "" : lifeLock;
  if (isGone || spare.ready) return tell("clear");
  // The connection's own watch has been waiting for longer.
  me.onGone = () => tell("clear");
  await workerEnd(lifeLock).then(me.onGone, () => tell("hangs"));
}

/** The connection to the last leader's worker has told that this worker ended. */
export function endOfLast(me: Standing, lifeLock: string): void {
  me.goneLock = lifeLock;
  me.onGone?.();
}

/** Ends the term of a leader that hangs, and waits until its worker writes no more. */
export async function takeOver(me: Standing): Promise<void> {
  const tell = during(me);
  // A worker that keeps its lock all the same keeps the next one from opening (sole-writer.ts).
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
  // Its tab then hears of an error, as when its script does not load.
  const late = setTimeout(() => worker?.onerror?.({ message: "it does not start" } as ErrorEvent), LEAD_MS);
  try {
    // The lock is not this worker's: a try that fails keeps it.
    const opened = tide.lead(() => undefined, {
      take: () => (worker = spare.take()),
      order: (taken, options) => spare.order(taken, options),
    });
    come(me);
    // A worker that starts now may take its time.
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
 * Ends the worker that calls go to, and this tab's own, also one that only starts. There is no time to flush: what
 * waits for its ack is sent again by the tab that sent it. Nor is the worker's own end awaited: a busy loop keeps its
 * files and its lock for seconds, and left alone it would go some 50 ms after its page.
 */
export function drop({ tide }: Standing, message: string, reason?: string): void {
  const error = new TidemarkError("CLOSED", message, { reason });
  tide.connection?.fail(error);
  tide.coming?.fail(error);
}

/** Neither follows nor stands by. */
export function standDown({ spare, joiner }: Standing): void {
  spare.stop();
  joiner.leave();
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

/** What this tab has waiting, and sends again in this turn, goes ahead of the others' coming. */
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
