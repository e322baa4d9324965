/**
 * A session's states (docs/sync.md, "Session") as one pure function. session.ts does what a state asks for, and reports
 * the outcome as an event.
 *
 *   waiting ─linked─▶ opening ─hello─▶ joining ─fine─▶ catching-up ─level─▶ live
 *                        ▲                ├─claim─▶ claiming ─granted─┘
 *                        └── retrying ◀───┴── whatever fails
 *
 * Only the link ends `waiting`. Every other state has I/O with a limit or a timer under way, or a person must answer. A
 * blocked session goes on following. A stopped one does nothing at the edge.
 */
import type { ErrorCode, ErrorDetails } from "../errors.ts";
import { backOffMs } from "./link-state.ts";
import type { Verdict } from "./verdict.ts";

export type SessionState =
  | { readonly at: "waiting"; readonly tries: number }
  | { readonly at: "opening"; readonly tries: number }
  | { readonly at: "joining"; readonly tries: number }
  | { readonly at: "catching-up"; readonly tries: number }
  /** `since`: by the monotonic clock. */
  | { readonly at: "live"; readonly tries: number; readonly since?: number }
  | { readonly at: "claiming"; readonly tries: number }
  | { readonly at: "retrying"; readonly tries: number; readonly ms: number; readonly code: string }
  | { readonly at: "blocked"; readonly tries: number; readonly code: string }
  | { readonly at: "stopped"; readonly tries: number; readonly code: ErrorCode; readonly details: ErrorDetails };

export type SessionEvent =
  | { readonly on: "linked" }
  | { readonly on: "unlinked" }
  | { readonly on: "hello"; readonly takesSync: boolean }
  /**
   * There is no log at the path. `stream` is the log's id by the note; null if none was ever joined. `floorMs`: said by
   * the answer that refused to make it.
   */
  | { readonly on: "missing"; readonly stream: string | null; readonly floorMs?: number }
  | { readonly on: "verdict"; readonly verdict: Verdict; readonly isRepeat: boolean }
  | { readonly on: "level" }
  /** The token may not read: whether the topic is level is not known from now on. */
  | { readonly on: "blind" }
  /** The edge has taken a push. */
  | { readonly on: "taken" }
  | { readonly on: "granted" }
  /** An answer after which the session must join again. */
  | { readonly on: "rejoin" }
  | { readonly on: "claim" }
  | { readonly on: "failed"; readonly code: string; readonly floorMs?: number }
  | { readonly on: "blocked"; readonly code: string }
  | { readonly on: "corrupt"; readonly details: ErrorDetails }
  /** What came does not go on where the copy here ends: the edge was put back to an earlier moment. */
  | { readonly on: "diverged"; readonly details: ErrorDetails }
  /** The edge has let go of records that never were here, and a person is to be asked. */
  | { readonly on: "trimmed"; readonly details: ErrorDetails }
  | { readonly on: "timer" }
  | { readonly on: "unblocked" }
  | { readonly on: "resolved" };

const RETRY_MS_MAX = 30_000;
/**
 * A topic that was live for this long begins its back-off anew. To be level is not enough: where the edge refuses each
 * push, the topic is level at once each time.
 */
const SETTLED_MS = 10_000;

/** True once the topic has been live for SETTLED_MS: what failed before does not count any more. */
export const isSettled = (state: SessionState, now: number): boolean =>
  state.at === "live" && now - (state.since ?? now) >= SETTLED_MS;

/** Tries that count when a state is left. */
const triesOf = (state: SessionState, now: number): number => (isSettled(state, now) ? 0 : state.tries);

function retrying({ tries }: { readonly tries: number }, code: string, random: number, floorMs = 0): SessionState {
  return { at: "retrying", tries: tries + 1, ms: backOffMs(tries, random, RETRY_MS_MAX, floorMs), code };
}

function afterVerdict(
  state: SessionState,
  { verdict, isRepeat }: Extract<SessionEvent, { on: "verdict" }>,
  random: number,
): SessionState {
  if (verdict.is === "stopped") {
    const { code, details } = verdict;
    return { at: "stopped", tries: 0, code, details };
  }
  // The same answer again, and nothing came of it in between: the session waits before it joins again.
  if (isRepeat) return retrying(state, "OUTBOX_CONFLICT", random);
  if (verdict.is === "claim") return { at: "claiming", tries: state.tries };
  if (verdict.is === "blocked") return { at: "blocked", tries: state.tries, code: verdict.code };
  if (verdict.is === "closed") return { at: "catching-up", tries: 0 };
  return { at: "catching-up", tries: state.tries };
}

const TALKING: ReadonlySet<SessionState["at"]> = new Set(["catching-up", "live", "claiming", "blocked"]);

/** Events of a channel that is open. */
function talking(state: SessionState, event: SessionEvent, random: number, now: number): SessionState {
  const tries = triesOf(state, now);
  if (event.on === "verdict" && state.at === "joining") return afterVerdict(state, event, random);
  if (event.on === "failed") return retrying({ tries }, event.code, random, event.floorMs);
  if (event.on === "corrupt") return { at: "stopped", tries: 0, code: "CORRUPT_RANGE", details: event.details };
  if (event.on === "diverged") return { at: "stopped", tries: 0, code: "DIVERGED", details: event.details };
  if (event.on === "trimmed") return { at: "stopped", tries: 0, code: "OFFSET_OUT_OF_RANGE", details: event.details };
  if (!TALKING.has(state.at)) return state;
  if (event.on === "level") return state.at === "catching-up" ? { at: "live", tries, since: now } : state;
  if (event.on === "blind") return state.at === "live" ? { at: "catching-up", tries } : state;
  if (event.on === "taken") return state.tries === 0 ? state : { ...state, tries: 0 };
  if (event.on === "rejoin") return { at: "joining", tries };
  if (event.on === "claim") return { at: "claiming", tries };
  if (event.on === "granted") return { at: "catching-up", tries: 0 };
  if (event.on === "blocked") return { at: "blocked", tries, code: event.code };
  if (event.on === "unblocked" && state.at === "blocked") return { at: "joining", tries: 0 };
  return state;
}

/** `now`: by the monotonic clock, in milliseconds. */
export function sessionNext(state: SessionState, event: SessionEvent, random: number, now = 0): SessionState {
  const { at, tries } = state;
  if (at === "stopped") return event.on === "resolved" ? { at: "waiting", tries: 0 } : state;
  if (event.on === "unlinked") return { at: "waiting", tries: triesOf(state, now) };
  if (at === "waiting") return event.on === "linked" ? { at: "opening", tries } : state;
  if (at === "retrying") return event.on === "timer" ? { at: "opening", tries } : state;
  if (at !== "opening") return talking(state, event, random, now);
  if (event.on === "hello") {
    if (event.takesSync) return { at: "joining", tries };
    return { at: "stopped", tries: 0, code: "UNSUPPORTED_EDGE", details: {} };
  }
  if (event.on === "failed") return retrying(state, event.code, random, event.floorMs);
  if (event.on !== "missing") return state;
  // If a log was joined here before, it was replaced or removed: the session stops.
  if (event.stream === null) return retrying(state, "NOT_FOUND", random, event.floorMs);
  return { at: "stopped", tries: 0, code: "REPLACED", details: { stream: event.stream } };
}
