/**
 * A leader that hangs, or that nobody hears of: the lead is taken away from it.
 *
 *   no leader ── "hail" ──▶ nobody says in time that it leads, or is about to ──┐
 *   a call without an answer, and a ping without one (liveness.ts) ─────────────┴─▶ depose: steal the lead's lock
 *        ──▶ end the term ──▶ wait until nothing more is written ──▶ lead (election.ts)
 *
 * One tab at a time deposes, for which it holds a lock.
 */
import { TidemarkError } from "../../errors.ts";
import { takeLock } from "../platform/locks.ts";
import { SUCCESSOR_WAIT_MS } from "../platform/terms.ts";
import type { PortClient } from "../port/port-client.ts";
import { hold, lead, queue, takeOver, unqueue } from "./election.ts";
import { pause, SOON_MS } from "./liveness.ts";
import { deposeLock } from "./locks.ts";
import { isConnected, say, type Standing } from "./standing.ts";

/** A tab that announced "opening" this often without leading is treated as hung. */
const OPENINGS_MAX = 6;
/** After this many tries blocked by another tab that deposes, its lock is stolen: that tab hangs as well. */
const DEPOSERS_MAX = 3;

/** Another tab is about to lead. */
export function heardOpening(me: Standing): void {
  if (me.openings++ < OPENINGS_MAX) me.heardAt = performance.now();
}

/**
 * Runs while there is no connection: the tab that has the lead must say so, or that it soon will. A tab that listened
 * all the time does not ask at once (`asks`), because all tabs asking keep the next leader from its work. What was
 * heard before does not count: it may have come from a tab that is gone.
 */
export async function expect(me: Standing, asks = true): Promise<void> {
  if (me.expecting) return;
  const mine = (me.expecting = {});
  me.openings = 0;
  const { leaderTimeoutMs } = me.tide.options;
  const isOver = (): boolean => mine !== me.expecting || me.leading || me.asleep || !!me.tide.ended || isConnected(me);
  for (let quietMs = asks ? 0 : SOON_MS; !isOver(); quietMs = 0) {
    if (quietMs > 0) await me.broker.sleep(quietMs);
    if (isOver()) break;
    const since = performance.now();
    say(me, "hail");
    const onTime = await pause(leaderTimeoutMs - SUCCESSOR_WAIT_MS - quietMs, (ms) => me.broker.sleep(ms));
    if (onTime && me.heardAt < since && !isOver()) await depose(me);
  }
  if (mine === me.expecting) me.expecting = undefined;
}

/**
 * A worker that does not answer is deposed, this tab's own too: a busy loop keeps its files and its lock for seconds
 * after terminate().
 */
export async function missed(me: Standing, connection: PortClient): Promise<void> {
  const own = me.tide.role === "leader" ? connection : undefined;
  if (own || !me.leading) await depose(me, own);
}

/** One tab at a time does this; the others see the next leader, or try again. `own`: this tab's worker, if it hangs. */
async function depose(me: Standing, own?: PortClient): Promise<void> {
  const deposing = await takeLock(
    deposeLock(me.tide.name),
    me.deposers < DEPOSERS_MAX ? { ifAvailable: true } : { steal: true },
  ).catch(() => undefined);
  if (!deposing) return void me.deposers++;
  try {
    unqueue(me);
    if (own) me.tide.role = "follower";
    const unlock = await hold(me, { steal: true }).catch(() => undefined);
    if (!unlock) return queue(me);
    own?.fail(new TidemarkError("CLOSED", "its worker hangs", { reason: "worker" }));
    // What follows here must not find the tab in the queue again when its connection ends.
    unqueue(me);
    me.leading = true;
    say(me, "opening");
    await takeOver(me);
    me.lifeLock = undefined;
    await lead(me, unlock);
  } finally {
    deposing();
  }
}
