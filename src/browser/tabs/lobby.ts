/**
 * The words that tabs of one tide say to each other (lobby-words.ts): a leader announces itself and lets others in, a
 * follower joins the leader that it hears of.
 */
import { TidemarkError } from "../../errors.ts";
import { type JoinRequest, PROTOCOL_VERSION } from "../port/protocol.ts";
import { heardOpening } from "./deposing.ts";
import type { Announcement, Coming, Word } from "./lobby-words.ts";
import { isConnected, know, say, type Standing } from "./standing.ts";
import { handOver, stepBack } from "./visibility.ts";

/** Says that this tab leads, or is about to, if so. */
export async function announce(me: Standing): Promise<void> {
  await me.broker.tried;
  const { role, connection, opened } = me.tide;
  if (!connection || connection.ended) return void ((me.leading || !me.followed) && say(me, "opening"));
  know(me);
  if (role !== "leader") return;
  me.broker.lead(connection.lifeLock);
  say(me, { leader: connection.lifeLock, epoch: opened!.epoch, version: PROTOCOL_VERSION, broker: me.broker.id });
}

export function hear(me: Standing, word: Word): void {
  if (word === "hail") void announce(me);
  else if (word === "destroyed") me.tide.destroyed();
  else if (word === "opening") heardOpening(me);
  else if (word === "here") void handOver(me);
  else if (word === "away") void stepBack(me);
  else if ("leader" in word) void join(me, word);
  else if ("coming" in word) joinEarly(me, word);
  else if (word.to !== (me.tide.role === "leader" ? me.tide.connection : me.tide.coming)?.lifeLock) return;
  else if (word.version === PROTOCOL_VERSION) letIn(me, word.join);
  else me.tide.tell({ type: "version", ours: PROTOCOL_VERSION, theirs: word.version });
}

/** Lets a follower in, once this tab's worker leads. */
export function letIn(me: Standing, { port, life }: JoinRequest): void {
  const join: JoinRequest = { op: "join", port, life };
  if (me.tide.role === "leader") me.tide.connection!.call<void>(join).catch(() => undefined);
  else if (me.leading) me.early.push(join);
}

/** A worker is about to lead, and nobody knows its term yet: only a tab without a leader joins it. */
function joinEarly(me: Standing, { coming: leader, version, broker }: Coming): void {
  me.heardAt = performance.now();
  if (!me.leading && !isConnected(me) && version === PROTOCOL_VERSION)
    void join(me, { leader, epoch: me.epoch, version, broker });
}

async function join(me: Standing, { leader, epoch, version, broker }: Announcement): Promise<void> {
  if (me.tide.ended || epoch < me.epoch || (me.tide.connection?.lifeLock === leader && isConnected(me))) return;
  if (version !== PROTOCOL_VERSION) return me.joiner.differ(leader, version);
  me.heardAt = performance.now();
  if (me.joiner.isOnItsWay(leader)) return;
  me.tide.connection?.fail(new TidemarkError("CLOSED", "another tab leads now"));
  const life = await me.joiner.join(leader, broker);
  if (life !== undefined) me.spare.follow(life, leader);
}
