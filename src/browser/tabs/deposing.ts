/**
 * Takes the lead away from a leader that hangs, or that no tab hears of (life.ts: silence, deposing).
 *
 *   no leader ── "hail" ──▶ nobody says in time that it leads, or is about to ──┐
 *   a call without an answer, and a ping without one (liveness.ts) ─────────────┴─▶ depose: steal the lead's lock
 *        ──▶ end the term ──▶ wait until nothing more is written ──▶ lead (election.ts)
 *
 * Only one tab deposes at a time: it holds a lock while it does.
 */
import { takeLock } from "../platform/locks.ts";
import { SUCCESSOR_WAIT_MS } from "../platform/terms.ts";
import { isOpeningHeard, isStealing } from "./life.ts";
import { pause, SOON_MS } from "./liveness.ts";
import { deposeLock } from "./locks.ts";
import { say, type Standing } from "./standing.ts";

/** Another tab says that it is about to lead. That counts as a sign of life only a few times (isOpeningHeard). */
export function hearOpening(me: Standing): void {
  if (isOpeningHeard(me.openings)) me.heardAt = performance.now();
}

/**
 * Runs while no leader is known: asks the tab that has the lead to say that it leads, or is about to. If nobody says so
 * in time, that is a "silence". A tab that has just lost its leader first waits for `quietMs`: if all tabs asked at
 * once, they would keep the next leader from its work. What was heard before the question does not count, because it
 * may have come from a tab that is gone.
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
    // One for each question of its own: the answers to other tabs' questions are heard as well.
    if (me.heardAt >= since) me.openings++;
    else if (onTime && stay === me.stay) me.tell("silence");
  }
}

export const listen = (me: Standing): Promise<void> => ask(me, SOON_MS);

/**
 * Only the tab that gets the lock deposes the leader. Any other tab sees the next leader, or tries again. A tab that
 * was blocked too often steals the lock (isStealing).
 */
export async function depose(me: Standing): Promise<void> {
  const { stay } = me;
  const options = isStealing(me.blocked) ? { steal: true } : { ifAvailable: true };
  const release = await takeLock(deposeLock(me.tide.name), options).catch(() => undefined);
  if (!release) return void me.blocked++;
  if (stay !== me.stay) return release();
  me.deposed = release;
  me.tell("my turn");
}
