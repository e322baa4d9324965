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
 * Any other pair changes nothing, where it can happen at all. The end of a wait (for a lock, for a worker) is told in
 * the state in which the wait began, or not at all (`during` in standing.ts). So such an event comes in the states
 * above only, and in any other an assertion fails.
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

/** The next state and what has to be done, in this order; undefined where the event changes nothing. */
export function tabAfter(state: TabState, event: TabEvent): Transition | undefined {
  const row = TABLE.find(([states, known]) => known === event && states.includes(state));
  if (!row) return undefined;
  const [, , next, ...actions] = row;
  return { state: next === "same" ? state : next, actions };
}

/** A tab that announced "opening" this often without leading is treated as hung. */
const OPENINGS_MAX = 6;
/** After this many tries blocked by another tab that deposes, its lock is stolen: that tab hangs as well. */
const BLOCKED_MAX = 3;
/**
 * The tab that has the lead gives up after this many starts that failed for what may pass: files still locked, no
 * network.
 */
const TRIES_MAX = 5;

/** `openings`: how often that was heard before, while there was no leader. */
export const isOpeningHeard = (openings: number): boolean => openings < OPENINGS_MAX;

/** `blocked`: how often another tab was deposing the leader already. */
export const isStealing = (blocked: number): boolean => blocked >= BLOCKED_MAX;

export interface Tries {
  /** Starts since the lock was granted, this one included. */
  readonly tries: number;
  /** Starts that ended since calls last went anywhere. */
  readonly ends: number;
  /** The tide was open in this tab before. */
  readonly wasOpen: boolean;
}

/** Which event a start that failed is. */
export function failureOf(
  { code, kind, details }: Pick<TidemarkError, "code" | "kind" | "details">,
  { tries, ends, wasOpen }: Tries,
): TabEvent {
  // Once the tide was open, a file of the package that can't be loaded does not end it: another tab may have it.
  if (code === "LOAD_FAILED" && wasOpen) return "unloaded";
  // Its worker was deposed while it began, or ended.
  if (code === "CLOSED" && details["reason"] !== "cleared" && ends + 1 < TRIES_MAX) return "ended";
  if (kind !== "retry" || tries >= TRIES_MAX) return "fatal";
  // The lock was free, and its files are not: the worker that has them is not waited for.
  return code === "ALREADY_OPEN" ? "locked" : "failed";
}
