/**
 * The life of a tab among others: which states it has, what leads from one to the next, and what is done then. No
 * effects: membership.ts says which function does which action.
 *
 *   alone         it opens by itself, and tabs.js has come meanwhile
 *   seeking       it knows no leader: it asks, and waits for the lead's lock
 *   following     its calls go to another tab's worker; it waits for the lock
 *   deposing      it takes the lock away from a leader that hangs
 *   succeeding    it has the lock, and waits until the last leader's worker has ended
 *   taking over   it has the lock, ends the terms of all workers, and waits until they write nothing more
 *   starting      it has the lock, and its own worker starts
 *   leading       its worker leads
 *   hiding        its worker leads, and its page was hidden a moment ago
 *   yielding      its worker leads; its page stays hidden, and gives the lead to a tab that is seen
 *   handing over  its worker closes the log
 *   asleep        its page is frozen, or goes
 *   closed        the tide has ended in this tab
 *
 *   waiting = seeking, following
 *   rising = succeeding, taking over, starting
 *   ruling = leading, hiding, yielding, handing over
 *   awake = alone, waiting, deposing, rising, ruling
 *
 *   state                             event        next          actions
 *   alone, seeking                    follow       seeking       queue, ask
 *   following                         follow       same          queue
 *   alone, waiting                    joined       following     queue, stand by
 *   alone, waiting, deposing, rising  opened       leading       unqueue, rule
 *   alone, following, ruling          lost         seeking       let go, queue, listen
 *
 *   waiting, ruling                   silence      same          depose
 *   waiting, ruling                   my turn      deposing      unqueue, steal
 *   deposing                          refused      seeking       drop hung, let go, queue, ask
 *   deposing                          granted      taking over   drop hung, say opening, end terms
 *
 *   waiting                           granted      succeeding    unqueue, await last
 *   succeeding                        hangs        taking over   say opening, end terms
 *   succeeding, taking over           clear        starting      start
 *   starting                          locked       taking over   end terms
 *   starting                          failed       same          start again
 *   starting                          ended        seeking       let go, queue, ask
 *   starting                          unloaded     seeking       let go, follow later
 *   starting                          fatal        same          let go, end
 *   rising                            deposed      seeking       drop past, let go, queue, ask
 *   ruling                            deposed      same          drop past
 *   asleep, closed                    granted      same          let go
 *
 *   alone, waiting                    seen         same          say here
 *   hiding, yielding                  seen         leading
 *   leading                           hidden       hiding        wait
 *   hiding                            hidden long  yielding      say away
 *   alone, waiting                    away seen    same          say here
 *   waiting                           away         same          unqueue, step back
 *   waiting                           behind       same          queue
 *   yielding                          here         handing over  hand over
 *
 *   alone, rising                     hail         same          say opening
 *   ruling                            hail         same          announce
 *   seeking                           opening      same          hear opening
 *   alone, seeking                    coming       same          join early
 *   awake                             leader       same          join
 *   alone, rising                     join         same          let in later
 *   ruling                            join         same          let in
 *
 *   awake                             freeze       asleep        unqueue, drop all, let go, stand down, mute
 *   ruling                            depart       asleep        drop all, let go, stand down, mute
 *   ruling                            depart busy  asleep        write, let go
 *   waiting                           depart       same          unqueue
 *   asleep                            opened       same          drop all
 *   asleep                            wake         seeking       unmute, queue, ask
 *   awake, asleep                     close        closed        unqueue, let go, stand down
 *
 * Any other pair of state and event changes nothing. The end of a wait (for a lock, for a worker) counts only in the
 * state in which the wait began (`during` in standing.ts). The table has a row for each such pair, and an assertion
 * fails if it has none.
 */
import type { TidemarkError } from "../../errors.ts";

export type TabState =
  | "alone"
  | "seeking"
  | "following"
  | "deposing"
  | "succeeding"
  | "taking over"
  | "starting"
  | "leading"
  | "hiding"
  | "yielding"
  | "handing over"
  | "asleep"
  | "closed";

export type TabEvent =
  | "follow"
  | "joined"
  | "opened"
  | "lost"
  | "silence"
  | "my turn"
  | "refused"
  | "granted"
  | "hangs"
  | "clear"
  | "locked"
  | "failed"
  | "ended"
  | "unloaded"
  | "fatal"
  | "deposed"
  | "seen"
  | "hidden"
  | "hidden long"
  | "away seen"
  | "away"
  | "behind"
  | "here"
  | "hail"
  | "opening"
  | "coming"
  | "leader"
  | "join"
  | "freeze"
  | "depart"
  | "depart busy"
  | "wake"
  | "close";

export type TabAction =
  | "queue"
  | "ask"
  | "stand by"
  | "unqueue"
  | "stand down"
  | "rule"
  | "let go"
  | "listen"
  | "depose"
  | "steal"
  | "drop hung"
  | "say opening"
  | "end terms"
  | "await last"
  | "start"
  | "start again"
  | "follow later"
  | "end"
  | "drop past"
  | "say here"
  | "wait"
  | "say away"
  | "step back"
  | "hand over"
  | "announce"
  | "hear opening"
  | "join early"
  | "join"
  | "let in later"
  | "let in"
  | "drop all"
  | "mute"
  | "write"
  | "unmute";

type Row = readonly [states: readonly TabState[], event: TabEvent, next: TabState | "same", ...TabAction[]];

const WAITING: readonly TabState[] = ["seeking", "following"];
const RISING: readonly TabState[] = ["succeeding", "taking over", "starting"];
const RULING: readonly TabState[] = ["leading", "hiding", "yielding", "handing over"];
const AWAKE: readonly TabState[] = ["alone", "deposing", ...WAITING, ...RISING, ...RULING];

/** The table above. */
export const TABLE: readonly Row[] = [
  [["alone", "seeking"], "follow", "seeking", "queue", "ask"],
  [["following"], "follow", "same", "queue"],
  [["alone", ...WAITING], "joined", "following", "queue", "stand by"],
  [["alone", ...WAITING, "deposing", ...RISING], "opened", "leading", "unqueue", "rule"],
  [["alone", "following", ...RULING], "lost", "seeking", "let go", "queue", "listen"],
  [[...WAITING, ...RULING], "silence", "same", "depose"],
  [[...WAITING, ...RULING], "my turn", "deposing", "unqueue", "steal"],
  [["deposing"], "refused", "seeking", "drop hung", "let go", "queue", "ask"],
  [["deposing"], "granted", "taking over", "drop hung", "say opening", "end terms"],
  [WAITING, "granted", "succeeding", "unqueue", "await last"],
  [["succeeding"], "hangs", "taking over", "say opening", "end terms"],
  [["succeeding", "taking over"], "clear", "starting", "start"],
  [["starting"], "locked", "taking over", "end terms"],
  [["starting"], "failed", "same", "start again"],
  [["starting"], "ended", "seeking", "let go", "queue", "ask"],
  [["starting"], "unloaded", "seeking", "let go", "follow later"],
  [["starting"], "fatal", "same", "let go", "end"],
  [RISING, "deposed", "seeking", "drop past", "let go", "queue", "ask"],
  [RULING, "deposed", "same", "drop past"],
  [["asleep", "closed"], "granted", "same", "let go"],
  [["alone", ...WAITING], "seen", "same", "say here"],
  [["hiding", "yielding"], "seen", "leading"],
  [["leading"], "hidden", "hiding", "wait"],
  [["hiding"], "hidden long", "yielding", "say away"],
  [["alone", ...WAITING], "away seen", "same", "say here"],
  [WAITING, "away", "same", "unqueue", "step back"],
  [WAITING, "behind", "same", "queue"],
  [["yielding"], "here", "handing over", "hand over"],
  [["alone", ...RISING], "hail", "same", "say opening"],
  [RULING, "hail", "same", "announce"],
  [["seeking"], "opening", "same", "hear opening"],
  [["alone", "seeking"], "coming", "same", "join early"],
  [AWAKE, "leader", "same", "join"],
  [["alone", ...RISING], "join", "same", "let in later"],
  [RULING, "join", "same", "let in"],
  [AWAKE, "freeze", "asleep", "unqueue", "drop all", "let go", "stand down", "mute"],
  [RULING, "depart", "asleep", "drop all", "let go", "stand down", "mute"],
  [RULING, "depart busy", "asleep", "write", "let go"],
  [WAITING, "depart", "same", "unqueue"],
  [["asleep"], "opened", "same", "drop all"],
  [["asleep"], "wake", "seeking", "unmute", "queue", "ask"],
  [[...AWAKE, "asleep"], "close", "closed", "unqueue", "let go", "stand down"],
];

export interface Transition {
  readonly state: TabState;
  readonly actions: readonly TabAction[];
}

/** The next state, and the actions in the order in which they are done. Undefined if the event changes nothing. */
export function tabAfter(state: TabState, event: TabEvent): Transition | undefined {
  const row = TABLE.find(([states, known]) => known === event && states.includes(state));
  if (!row) return undefined;
  const [, , next, ...actions] = row;
  return { state: next === "same" ? state : next, actions };
}

/** A tab that has answered "opening" to this many questions without leading is treated as hung. */
const OPENINGS_MAX = 6;
/** After this many tries blocked by another tab that deposes, its lock is stolen: that tab hangs as well. */
const BLOCKED_MAX = 3;
/**
 * After this many starts that failed for a reason that may pass (files still locked, no network), the tab that has the
 * lead gives up.
 */
const TRIES_MAX = 5;

/** `openings` is how many questions of this tab were answered by "opening" before, while there was no leader. */
export const isOpeningHeard = (openings: number): boolean => openings < OPENINGS_MAX;

/** `blocked` is how often this tab found another one deposing the leader. */
export const isStealing = (blocked: number): boolean => blocked >= BLOCKED_MAX;

export interface Tries {
  /** Starts since the lock was granted, this one included. */
  readonly tries: number;
  /** Workers that ended before they led, since this tab was last connected. */
  readonly ends: number;
  /** The tide was open in this tab before. */
  readonly wasOpen: boolean;
}

/** The event that a failed start leads to. */
export function failureOf(
  { code, kind, details }: Pick<TidemarkError, "code" | "kind" | "details">,
  { tries, ends, wasOpen }: Tries,
): TabEvent {
  // A file of the package can't be loaded. A tide that was open does not end: another tab may have that file.
  if (code === "LOAD_FAILED" && wasOpen) return "unloaded";
  // The worker was deposed while it started, or it has ended.
  if (code === "CLOSED" && details["reason"] !== "cleared" && ends + 1 < TRIES_MAX) return "ended";
  if (kind !== "retry" || tries >= TRIES_MAX) return "fatal";
  // The lock was free, but some worker still has the files. The tab does not wait for its end.
  return code === "ALREADY_OPEN" ? "locked" : "failed";
}
