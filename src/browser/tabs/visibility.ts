/**
 * The tab that the user looks at leads: a hidden leader hands over to a visible tab, and a page that is frozen or goes
 * gives up the lead at once (life.ts: yielding, handing over, asleep).
 *
 *   leader, hidden for HIDDEN_MS ── "away" ─┬─▶ a tab that is seen ── "here" ──▶ leader closes its log, hands over
 *                                           └─▶ hidden tabs queue again, behind those that are seen
 */
import { TidemarkError } from "../../errors.ts";
import { BEHIND_MS } from "../platform/terms.ts";
import { during, type Standing } from "./standing.ts";

/** A leader that is hidden for less than this keeps the lead: each change costs all tabs some 50 ms. */
const HIDDEN_MS = 1_000;

/** A leader that stays hidden asks for a visible tab. */
export function waitHidden(me: Standing): void {
  const tell = during(me);
  setTimeout(() => tell("hidden long"), HIDDEN_MS);
}

/** A hidden tab queues again, behind the visible tabs. Of the hidden ones, those with a stand-by worker stay first. */
export async function stepBack(me: Standing): Promise<void> {
  if (!me.spare.ready) await me.broker.sleep(BEHIND_MS);
  me.tell("behind");
  await me.spare.look();
}

/** The leader flushes and closes first, so that the next one finds a clean end and has nothing to scan. */
export async function handOver(me: Standing): Promise<void> {
  const connection = me.tide.connection!;
  await connection.call({ op: "close" }).catch(() => undefined);
  connection.fail(new TidemarkError("CLOSED", "another tab leads now", { reason: "closed" }));
}

/** Writes what was just appended, before the worker ends with its page. */
export function write(me: Standing): void {
  void me.tide.connection!.call({ op: "leave" }).catch(() => undefined);
}

/**
 * Joins the lobby again. A frozen page had left it, because Chromium drops a page from the back/forward cache if it
 * gets a message.
 */
export function unmute(me: Standing): void {
  me.tide.lobby = new BroadcastChannel(me.tide.lock);
  me.tide.lobby.onmessage = me.hear;
}
