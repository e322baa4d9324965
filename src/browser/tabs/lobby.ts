/**
 * Sends and answers the words of the lobby (lobby-words.ts): a leader announces itself and lets others in, and a
 * follower joins the leader that it hears of.
 */
import { TidemarkError } from "../../errors.ts";
import { isHidden } from "../platform/page-life.ts";
import { type JoinRequest, PROTOCOL_VERSION } from "../port/protocol.ts";
import type { Announcement, Coming, Word } from "./lobby-words.ts";
import { say, type Standing } from "./standing.ts";

/**
 * Answers the question who leads. It first waits until this tab has tried to reach its broker, because the answer names
 * it.
 */
export async function answer(me: Standing): Promise<void> {
  await me.broker.tried;
  me.tell("hail");
}

export function announce(me: Standing): void {
  const { opened, connection } = me.tide;
  const { lifeLock } = connection!;
  me.broker.lead(lifeLock);
  say(me, { leader: lifeLock, epoch: opened!.epoch, version: PROTOCOL_VERSION, broker: me.broker.id });
}

export function hear(me: Standing, word: Word): void {
  const { tide } = me;
  if (word === "hail") void answer(me);
  else if (word === "destroyed") tide.destroyed();
  else if (word === "away") me.tell(isHidden() ? word : "away seen");
  else if (typeof word === "string") me.tell(word);
  else if ("leader" in word) me.tell("leader", word);
  else if ("coming" in word) me.tell("coming", word);
  else if (word.to !== (tide.role === "leader" ? tide.connection : tide.coming)?.lifeLock) return;
  else if (word.version === PROTOCOL_VERSION) me.tell("join", word.join);
  else tide.tell({ type: "version", ours: PROTOCOL_VERSION, theirs: word.version });
}

/** Lets a follower in, now that this tab's worker leads. */
export function letIn(me: Standing, { port, life }: JoinRequest): void {
  me.tide.connection!.call<void>({ op: "join", port, life }).catch(() => undefined);
}

/** Joins a worker that is about to lead. Its term is not known yet, so only a tab without a leader does this. */
export function joinEarly(me: Standing, { coming: leader, version, broker }: Coming): void {
  me.heardAt = performance.now();
  if (version === PROTOCOL_VERSION) join(me, { leader, epoch: me.epoch, version, broker });
}

export function join(me: Standing, { leader, epoch, version, broker }: Announcement): void {
  const { connection } = me.tide;
  if (epoch < me.epoch || (connection?.lifeLock === leader && !connection.ended)) return;
  if (version !== PROTOCOL_VERSION) return me.joiner.differ(leader, version);
  me.heardAt = performance.now();
  if (me.joiner.isOnItsWay(leader)) return;
  connection?.fail(new TidemarkError("CLOSED", "another tab leads now"));
  void me.joiner.join(leader, broker);
}
