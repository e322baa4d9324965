/**
 * The link's states (docs/sync.md, "Link") as one pure function: from a state and an event it makes the next state and
 * the actions. link.ts does the actions.
 *
 *   idle ─wanted─▶ token ─token─▶ connecting ─open─▶ live ─ended─▶ backoff ─timer, hint─▶ token
 *                    └─null─▶ paused(signed-out)       └─4401─▶ token     └─ ever longer
 *
 * Every state but `idle`, `paused` and `closed` has something under way that ends by itself: an ask with a limit, a
 * connect with a limit, a socket that is pinged, a timer.
 */
import type { TokenReason } from "./sync-host.ts";

export type PauseWhy = "user" | "hidden" | "signed-out" | "forbidden" | "version";

export type LinkState =
  | { readonly at: "idle" }
  | { readonly at: "token"; readonly tries: number; readonly refused?: string | undefined }
  | {
      readonly at: "connecting";
      readonly tries: number;
      readonly token: string | undefined;
      readonly refused?: string | undefined;
    }
  /** `refused`: the token before this one was; until the connection has served, or is settled. */
  | {
      readonly at: "live";
      readonly tries: number;
      readonly token: string | undefined;
      readonly refused?: string | undefined;
    }
  | { readonly at: "backoff"; readonly tries: number; readonly ms: number; readonly refused?: string | undefined }
  | { readonly at: "paused"; readonly why: PauseWhy; readonly refused?: string | undefined }
  | { readonly at: "closed" };

export type LinkEvent =
  /** A topic is synced, appended to or read. */
  | { readonly on: "wanted" }
  | { readonly on: "token"; readonly token: string | null | undefined }
  /** No page answered, or a provider rejected: `why`, in words. */
  | { readonly on: "no-token"; readonly why?: string }
  | { readonly on: "open" }
  /**
   * The socket could not be opened. `status` is that of a request made after it; 0 if the request failed, too. The next
   * try is not before `floorMs`.
   */
  | { readonly on: "not-open"; readonly status: number; readonly floorMs?: number | undefined }
  /** The socket has ended or was given up. */
  | { readonly on: "ended"; readonly code: number; readonly floorMs?: number | undefined }
  /** The socket has lived for 10 s. */
  | { readonly on: "settled" }
  /** A topic has become level with the edge. */
  | { readonly on: "served" }
  | { readonly on: "timer" }
  /** Something was appended. Unless the link is paused, the last try is at least 1 s old. */
  | { readonly on: "hint" }
  /** A page is seen or online again. Unless the link is paused, the last try is at least 1 s old. */
  | { readonly on: "returned" }
  /** A token was refused while the socket was open. */
  | { readonly on: "unauthorized" }
  | { readonly on: "pause"; readonly why: PauseWhy }
  | { readonly on: "resume" }
  | { readonly on: "authenticate" }
  /** A page has come that can be asked for a token. */
  | { readonly on: "provided" }
  | { readonly on: "close" };

export type LinkAction =
  | { readonly do: "ask"; readonly reason: TokenReason }
  | { readonly do: "connect"; readonly token: string | undefined }
  | { readonly do: "wait"; readonly ms: number }
  | { readonly do: "begin" }
  /** The socket is given up, without waiting for its close. */
  | { readonly do: "drop" };

export interface LinkStep {
  readonly state: LinkState;
  readonly actions: readonly LinkAction[];
}

const BACK_OFF_MS = 500;
const BACK_OFF_MS_MAX = 30_000;
const BACK_OFF_MS_MIN = 100;
/** Longest wait when there is no token, or only a refused one: somebody may have to sign in first. */
const TOKEN_MS_MAX = 60_000;
const RESTART_MS = 2_000;
/** After more tries without a connection that served, 1012 counts as any other end. */
const RESTART_TRIES = 2;
/** After a connection that served, the back-off begins with this many tries at most, however soon it ended. */
const SERVED_TRIES = 1;

const stay = (state: LinkState): LinkStep => ({ state, actions: [] });
const ask = (tries: number, reason: TokenReason, refused?: string): LinkStep => ({
  state: { at: "token", tries, refused },
  actions: [{ do: "ask", reason }],
});

/** A random wait. Its upper bound doubles with each try, up to `most`. It is at least `floor`. */
export const backOffMs = (tries: number, random: number, most = BACK_OFF_MS_MAX, floor = BACK_OFF_MS_MIN): number =>
  Math.max(floor, BACK_OFF_MS_MIN, Math.round(random * Math.min(most, BACK_OFF_MS * 2 ** Math.min(tries, 20))));

function later(tries: number, random: number, most?: number, refused?: string, floorMs?: number): LinkStep {
  const ms = backOffMs(tries, random, most, floorMs);
  return { state: { at: "backoff", tries, ms, refused }, actions: [{ do: "wait", ms }] };
}

const dropped = ({ state, actions }: LinkStep): LinkStep => ({ state, actions: [{ do: "drop" }, ...actions] });

const paused = (why: PauseWhy, refused?: string): LinkStep => ({
  state: { at: "paused", why, refused },
  actions: [{ do: "drop" }],
});

/** The next step when a token was refused. If the one before it was as well, another is asked for after a wait. */
function afterRefusal(state: Extract<LinkState, { at: "connecting" | "live" }>, random: number): LinkStep {
  const { tries, token, refused } = state;
  if (token === undefined) return paused("signed-out");
  return refused === undefined ? ask(tries, "refused", token) : later(tries, random, TOKEN_MS_MAX, token);
}

const CLOSES: Readonly<Record<number, "version" | "unauthorized" | "forbidden" | "restart">> = {
  1012: "restart",
  4400: "version",
  4401: "unauthorized",
  4403: "forbidden",
};

/** The next step when a socket that was live has ended. */
function afterEnd(
  state: Extract<LinkState, { at: "live" }>,
  { code, floorMs }: Extract<LinkEvent, { on: "ended" }>,
  random: number,
): LinkStep {
  const { tries } = state;
  const meaning = CLOSES[code];
  if (meaning === "version" || meaning === "forbidden") return paused(meaning);
  if (meaning === "unauthorized") return afterRefusal(state, random);
  if (meaning === "restart" && tries <= RESTART_TRIES) {
    const ms = Math.round(random * RESTART_MS);
    return { state: { at: "backoff", tries, ms }, actions: [{ do: "wait", ms }] };
  }
  return later(tries, random, undefined, undefined, floorMs);
}

function withToken(state: Extract<LinkState, { at: "token" }>, token: string | null | undefined, random: number) {
  const { tries, refused } = state;
  if (token === null) return paused("signed-out", refused);
  // A token that was refused is never sent again.
  if (token !== undefined && token === refused) return later(tries + 1, random, TOKEN_MS_MAX, refused);
  return { state: { at: "connecting", tries, token, refused }, actions: [{ do: "connect", token }] } as LinkStep;
}

function whileConnecting(state: Extract<LinkState, { at: "connecting" }>, event: LinkEvent, random: number): LinkStep {
  const { tries, token, refused } = state;
  if (event.on === "open") return { state: { at: "live", tries, token, refused }, actions: [{ do: "begin" }] };
  if (event.on !== "not-open") return stay(state);
  if (event.status === 401) return afterRefusal(state, random);
  // 403 is of the log that the request was for: this token may not read that one. Sockets are open to all tokens.
  return later(tries, random, undefined, refused, event.floorMs);
}

const isHint = ({ on }: LinkEvent): boolean => on === "hint" || on === "returned";
/** True if another token ends the pause. */
const isUnsigned = ({ why }: Extract<LinkState, { at: "paused" }>): boolean =>
  why === "signed-out" || why === "forbidden";

function whilePaused(
  state: Extract<LinkState, { at: "paused" }>,
  event: LinkEvent,
  random: number,
  earlyMs: number,
): LinkStep {
  const { why, refused } = state;
  const isNow =
    event.on === "resume"
      ? why === "user" || why === "hidden"
      : // The person may have signed in elsewhere meanwhile. Appends say nothing of that.
        isUnsigned(state) && event.on === "returned" && earlyMs <= 0;
  if (isNow) return ask(0, "connect", refused);
  if (why !== "hidden" || !(isHint(event) || event.on === "timer")) return stay(state);
  // The pause has ended the wait that the edge had asked for: what is left of it is waited for now.
  return earlyMs > 0 ? later(0, random, undefined, refused, earlyMs) : ask(0, "connect", refused);
}

function served(state: Extract<LinkState, { at: "live" }>): LinkState {
  const { tries, refused } = state;
  if (tries <= SERVED_TRIES && refused === undefined) return state;
  return { ...state, tries: Math.min(tries, SERVED_TRIES), refused: undefined };
}

/** Events that count whatever is under way. */
function always(state: LinkState, event: LinkEvent): LinkStep | undefined {
  if (event.on === "close") return { state: { at: "closed" }, actions: [{ do: "drop" }] };
  if (event.on === "pause") return state.at === "paused" && state.why === "user" ? stay(state) : paused(event.why);
  if (event.on === "authenticate" && state.at !== "live") {
    return state.at === "paused" && (state.why === "user" || state.why === "version")
      ? stay(state)
      : ask(0, "connect", "refused" in state ? state.refused : undefined);
  }
  // Nobody could be asked before, or nobody had a token that is allowed to.
  const isTokenless = state.at === "paused" ? isUnsigned(state) : state.at === "connecting" && !state.token;
  return event.on === "provided" && isTokenless
    ? ask(0, "connect", "refused" in state ? state.refused : undefined)
    : undefined;
}

/** `earlyMs`: milliseconds for which the edge still wants no try. They are waited for where a pause ends by itself. */
export function linkNext(state: LinkState, event: LinkEvent, random: number, earlyMs = 0): LinkStep {
  if (state.at === "closed") return stay(state);
  const said = always(state, event);
  if (said) return said;
  switch (state.at) {
    case "idle":
      return event.on === "wanted" || isHint(event) ? ask(0, "connect") : stay(state);
    case "token":
      if (event.on === "token") return withToken(state, event.token, random);
      return event.on === "no-token" ? later(state.tries + 1, random, TOKEN_MS_MAX, state.refused) : stay(state);
    case "connecting":
      return whileConnecting(state, event, random);
    case "live":
      if (event.on === "ended") return afterEnd(state, event, random);
      if (event.on === "settled") return stay({ ...state, tries: 0, refused: undefined });
      if (event.on === "served") return stay(served(state));
      if (event.on !== "unauthorized") return stay(state);
      return dropped(afterRefusal(state, random));
    case "backoff": {
      if (event.on !== "timer" && !isHint(event)) return stay(state);
      // A try that a hint makes early says nothing of how long the edge is away: it makes no later wait longer.
      const tries = event.on === "timer" ? state.tries + 1 : state.tries;
      return ask(tries, state.refused === undefined ? "connect" : "refused", state.refused);
    }
    case "paused":
      return whilePaused(state, event, random, earlyMs);
  }
}
