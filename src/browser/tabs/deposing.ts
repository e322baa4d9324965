/**
 * A leader that hangs, or that nobody hears of: the lead is taken away from it (life.ts: silence, deposing).
 *
 *   no leader ── "hail" ──▶ nobody says in time that it leads, or is about to ──┐
 *   a call without an answer, and a ping without one (liveness.ts) ─────────────┴─▶ depose: steal the lead's lock
 *        ──▶ end the term ──▶ wait until nothing more is written ──▶ lead (election.ts)
 *
 * One tab at a time deposes, for which it holds a lock.
 */
import { takeLock } from "../platform/locks.ts";
import { SUCCESSOR_WAIT_MS } from "../platform/terms.ts";
import { isOpeningHeard, isStealing } from "./life.ts";
import { pause, SOON_MS } from "./liveness.ts";
import { deposeLock } from "./locks.ts";
import { say, type Standing } from "./standing.ts";

/** Another tab is about to lead. */
export function hearOpening(me: Standing): void {
  if (isOpeningHeard(me.openings++)) me.heardAt = performance.now();
}

/**
 * Runs while no leader is known: the tab that has the lead must say so, or that it soon will. A tab that listened all
 * the time does not ask at once (`quietMs`), because all tabs asking keep the next leader from its work. What was heard
 * before does not count: it may have come from a tab that is gone.
 */
export async function ask(me: Standing, quietMs = 0): Promise<void> {
  const { stay } = me;
  if (me.asking === stay) return;
  me.asking = stay;
  me.openings = 0;
  const wait = (ms: number): Promise<boolean> => pause(ms, (sleepMs) => me.broker.sleep(sleepMs));
  if (quietMs > 0) await wait(quietMs);
  for (let restMs = me.tide.options.leaderTimeoutMs - SUCCESSOR_WAIT_MS; stay === me.stay; quietMs = 0) {
    const since = performance.now();
    say(me, "hail");
    const onTime = await wait(restMs - quietMs);
    if (onTime && me.heardAt < since && stay === me.stay) me.tell("silence");
  }
}

export const listen = (me: Standing): Promise<void> => ask(me, SOON_MS);

/** One tab at a time does this; the others see the next leader, or try again. */
export async function depose(me: Standing): Promise<void> {
  const { stay } = me;
  const options = isStealing(me.blocked) ? { steal: true } : { ifAvailable: true };
  const release = await takeLock(deposeLock(me.tide.name), options).catch(() => undefined);
  if (!release) return void me.blocked++;
  if (stay !== me.stay) return release();
  me.deposed = release;
  me.tell("my turn");
}
