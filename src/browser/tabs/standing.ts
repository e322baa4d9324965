/**
 * One tab's membership: the open tide, what this tab knows of the lead, and what its parts work with. The parts are
 * functions over it, and each file imports only those to its right:
 *
 *   membership ─▶ lobby ─▶ visibility ─▶ deposing ─▶ election ─▶ standing
 */
import type { JoinRequest } from "../port/protocol.ts";
import type { Broker } from "./broker-client.ts";
import type { Joiner } from "./joiner.ts";
import type { Word } from "./lobby-words.ts";
import type { Member } from "./member.ts";
import type { Spare } from "./standby-workers.ts";

export interface Standing {
  readonly tide: Member;
  readonly broker: Broker;
  readonly spare: Spare;
  readonly joiner: Joiner;
  readonly hear: (message: MessageEvent<Word>) => void;
  /** Asks who leads until there is a leader (deposing.ts). */
  readonly expect: (asks?: boolean) => void;

  /** It has the lead's lock, or takes it from a leader that hangs. */
  leading: boolean;
  /** It has waited for another tab to lead. Before that it opens by itself. */
  followed?: boolean;
  /** The page is frozen, or kept for the way back: it must not be given the lead. */
  asleep?: boolean;
  /** Stops waiting for the lock. */
  queued?: AbortController | undefined;
  /** The lock as it was granted last; `lost` when another tab has taken it away. */
  term: { lost: boolean };
  /** Gives back the lock that was granted last. */
  release?: () => void;
  /** The worker that was made last to lead. */
  starting?: Worker;
  /** How many workers of this tab ended before they led. */
  failures: number;
  /** Joins that came before this tab's worker led. */
  early: JoinRequest[];

  /** Epoch of the newest term known. */
  epoch: number;
  /** Life lock of the newest leader's worker known. */
  lifeLock?: string | undefined;
  /** Life lock of the last leader's worker that is known to have ended. */
  goneLock?: string;
  /** Is called when the last leader's worker is known to have ended. */
  onGone?: () => void;

  /** One each time that there is no leader: what waited through the last such time must not judge this one. */
  expecting?: object | undefined;
  /** When a tab was last heard to lead, or to be about to. */
  heardAt: number;
  /** How often "opening" was heard since there was a leader. */
  openings: number;
  /** How often another tab was already deposing the leader when this tab tried to. */
  deposers: number;

  /** Runs while the page of a leader is hidden, until it asks for another one. */
  hiding?: ReturnType<typeof setTimeout> | undefined;
  /** How many appends are under way. */
  appends?: () => number;
}

export function say(me: Standing, word: Word): void {
  if (!me.tide.ended && !me.asleep) me.tide.lobby.postMessage(word);
}

/** Calls go to a worker that has not ended. */
export const isConnected = (me: Standing): boolean => !!me.tide.connection && !me.tide.connection.ended;

/** Learns the term of the leader that this tab is connected to. */
export function know(me: Standing): void {
  me.epoch = me.tide.opened!.epoch;
  me.lifeLock = me.tide.connection!.lifeLock;
}
