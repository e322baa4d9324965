/**
 * When a wait for a topic is over: `drained()` and `caughtUp()` of the public API. Each counts as of its call, and is
 * looked at whenever something has changed.
 *
 *   drained    the outbox's end at the call ──▶ nothing below it is un-settled; if the token may not read: all is taken
 *   level      live? ──▶ the edge is asked for its end ──▶ the watermark is there
 */
import type { Session } from "../../sync/session.ts";

/** True once the wait is over. */
export type Look = () => boolean;

export function drainedNow(session: Session): Look {
  const { store } = session;
  const { end } = store;
  return () => atEdgeTo(session) >= end && !store.outboxNote.offering;
}

/**
 * Own records below this position are at the edge. A device whose token may not read does not see them there: it goes
 * by the answers to its pushes.
 */
export const atEdgeTo = ({ store, isBlind }: Session): number =>
  isBlind ? Math.max(store.firstUnsettled, store.toldNext ?? 0) : store.firstUnsettled;

/**
 * A topic that is live may be behind, and not know it yet: what others have written is on its way. So the edge is
 * asked, once for each wait, and again if the connection ends first.
 */
export function levelSince(session: Session, changed: () => void): Look {
  let end: number | undefined;
  let isAsking = false;
  return () => {
    if (end !== undefined) return session.store.watermark >= end;
    if (isAsking || session.state.at !== "live") return false;
    isAsking = true;
    void session.askEnd().then((told) => {
      isAsking = false;
      end = told;
      // If the topic is not live any more, it will be told when it is again.
      if (told !== undefined || session.state.at === "live") changed();
    });
    return false;
  };
}
