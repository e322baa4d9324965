/**
 * The tab that the user looks at leads: a hidden leader hands over to a tab that is seen, and a page that is frozen or
 * goes gives up the lead at once.
 *
 *   leader, hidden for HIDDEN_MS ── "away" ─┬─▶ a tab that is seen ── "here" ──▶ leader closes its log, hands over
 *                                           └─▶ hidden tabs queue again, behind those that are seen
 */
import { TidemarkError } from "../../errors.ts";
import { isHidden } from "../platform/page-life.ts";
import { BEHIND_MS } from "../platform/terms.ts";
import { expect } from "./deposing.ts";
import { queue, unqueue } from "./election.ts";
import { say, type Standing } from "./standing.ts";

/** A leader that is hidden for less than this keeps the lead: each change costs all tabs some 50 ms. */
const HIDDEN_MS = 1_000;

/** Followers that are seen say so; a leader that is hidden, and stays so, asks for one. */
export function seen(me: Standing): void {
  stopHiding(me);
  void me.spare.look();
  if (!isHidden()) return void (me.leading || say(me, "here"));
  if (!me.leading) return;
  me.hiding = setTimeout(() => {
    me.hiding = undefined;
    if (me.leading) say(me, "away");
  }, HIDDEN_MS);
}

/** Asks nobody any more. */
export function stopHiding(me: Standing): void {
  clearTimeout(me.hiding);
  me.hiding = undefined;
}

/** Queues again behind tabs that are seen; of the hidden ones, those with a worker that stands by stay first. */
export async function stepBack(me: Standing): Promise<void> {
  if (!isHidden()) return say(me, "here");
  unqueue(me);
  if (!me.spare.ready) await me.broker.sleep(BEHIND_MS);
  queue(me);
  await me.spare.look();
}

/**
 * Another tab is seen. The leader flushes and closes first, so that the next one finds a clean end and has nothing to
 * scan.
 */
export async function handOver(me: Standing): Promise<void> {
  if (!isHidden() || me.hiding) return;
  const { connection, role } = me.tide;
  if (role !== "leader" || connection!.ended) return;
  await connection!.call({ op: "close" }).catch(() => undefined);
  connection!.fail(new TidemarkError("CLOSED", "handed over to a tab that is seen", { reason: "closed" }));
}

/**
 * The page goes for good. Its worker is ended here, because left alone it would go some 50 ms later, with the process.
 * What it has just appended is written first.
 */
export function depart(me: Standing): void {
  unqueue(me);
  if (me.tide.role !== "leader") return;
  if (!me.appends?.()) return freeze(me);
  me.asleep = true;
  void me.tide.connection!.call({ op: "leave" }).catch(() => undefined);
  me.release?.();
}

/**
 * There is no time to flush: what waits for its ack is sent again by the tab that sent it. A page kept for the way back
 * leaves the lobby, because Chromium drops one that gets a message.
 */
export function freeze(me: Standing): void {
  if (me.asleep) return;
  me.asleep = true;
  unqueue(me);
  me.spare.stop();
  me.tide.connection?.fail(new TidemarkError("CLOSED", "its page was frozen", { reason: "frozen" }));
  me.joiner.leave();
  me.tide.lobby.close();
}

export function wake(me: Standing): void {
  if (!me.asleep || me.tide.ended) return;
  me.asleep = false;
  me.tide.lobby = new BroadcastChannel(me.tide.lock);
  me.tide.lobby.onmessage = me.hear;
  queue(me);
  void expect(me);
}
