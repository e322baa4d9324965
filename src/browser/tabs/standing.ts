/**
 * One tab's standing among the others: its state (life.ts), what it knows of the lead, and what its parts work with.
 * Each part does some of the actions in the table of life.ts. No part imports another one: it reports the outcome of
 * its actions as events.
 *
 *   membership ─▶ lobby │ visibility │ deposing │ election ─▶ standing ─▶ life
 */
import { assert, type TidemarkError } from "../../errors.ts";
import type { JoinRequest } from "../port/protocol.ts";
import type { Broker } from "./broker-client.ts";
import type { Joiner } from "./joiner.ts";
import type { TabEvent, TabState } from "./life.ts";
import type { Announcement, Coming, Word } from "./lobby-words.ts";
import type { Member } from "./member.ts";
import type { Spare } from "./standby-workers.ts";

/** What comes with an event, for its actions: who leads, who wants to be let in, why the tide ends. */
export type Given = Announcement | Coming | JoinRequest | TidemarkError;

export interface Standing {
  readonly tide: Member;
  readonly broker: Broker;
  readonly spare: Spare;
  readonly joiner: Joiner;
  readonly hear: (message: MessageEvent<Word>) => void;
  /** Goes to the next state and does the actions. False if the event changes nothing. */
  readonly tell: (event: TabEvent, given?: Given) => boolean;

  state: TabState;
  /** A new object for each state that is entered, by which work learns that its state is over. */
  stay: object;

  /** Stops waiting for the lock. */
  queued?: AbortController | undefined;
  /** Gives back the lock that was granted last. */
  release?: (() => void) | undefined;
  /** Gives back the lock of the tab that deposes. */
  deposed?: (() => void) | undefined;
  /** Starts since the lock was granted. */
  tries: number;
  /** How many workers of this tab ended before they led. */
  ends: number;
  /** Joins that came before this tab's worker led. */
  early: JoinRequest[];

  /** Epoch of the newest term known. */
  epoch: number;
  /** Life lock of the newest leader's worker known. */
  lifeLock?: string | undefined;
  /** Life lock of the last leader's worker that is known to have ended. */
  goneLock?: string;
  /** Called when the last leader's worker is known to have ended. */
  onGone?: () => void;

  /** The stay in which this tab asks who leads. */
  asking?: object;
  /** When a tab was last heard to lead, or to be about to. */
  heardAt: number;
  /** How many questions of this tab were answered by "opening" since there was a leader. */
  openings: number;
  /** How often another tab was already deposing the leader when this tab tried to. */
  blocked: number;

  /** How many appends are under way. */
  appends?: () => number;
}

/**
 * Returns a `tell` for the end of a wait. It does nothing if the tab has left the state in which the wait began. In
 * that state the table has a row for the event, so a missing row is a bug.
 */
export function during(me: Pick<Standing, "stay" | "tell">): (event: TabEvent, given?: Given) => void {
  const { stay } = me;
  return (event, given) => {
    if (stay === me.stay) assert(me.tell(event, given), event);
  };
}

export function say(me: Standing, word: Word): void {
  if (!me.tide.ended && me.state !== "asleep") me.tide.lobby.postMessage(word);
}

/** Learns the term of the leader that this tab is connected to. */
export function know(me: Standing): void {
  me.epoch = me.tide.opened!.epoch;
  me.lifeLock = me.tide.connection!.lifeLock;
}
