/**
 * No state of sync waits for somebody else's message only (I12 of docs/sync.md). Each state of the link and of a
 * session is left by an event of its own: a timer, or I/O with a limit. States that a person, a page or the link must
 * end are named here with what ends them.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, test } from "vitest";
import { type LinkEvent, linkNext, type LinkState } from "../../src/sync/link-state.ts";
import { type SessionEvent, sessionNext, type SessionState } from "../../src/sync/session-state.ts";

const source = (file: string): string =>
  readFileSync(path.join(import.meta.dirname, "../../src/sync", file), "utf8").replace(/\s+/g, " ");

/** One of each state. */
const LINK: Readonly<Record<LinkState["at"], LinkState>> = {
  idle: { at: "idle" },
  token: { at: "token", tries: 0 },
  connecting: { at: "connecting", tries: 0, token: undefined },
  live: { at: "live", tries: 0, token: undefined },
  backoff: { at: "backoff", tries: 0, ms: 500 },
  paused: { at: "paused", why: "user" },
  closed: { at: "closed" },
};
/** What ends the state by itself, and the piece of link.ts that sees to it. */
const LINK_ENDS: Readonly<Partial<Record<LinkState["at"], { readonly by: LinkEvent; readonly in: string }>>> = {
  token: { by: { on: "no-token" }, in: 'this.#after(TOKEN_MS, signal, () => this.step({ on: "no-token" }))' },
  connecting: { by: { on: "not-open", status: 0 }, in: "this.#after(OPEN_MS, signal, () => late.abort())" },
  live: { by: { on: "ended", code: 0 }, in: "this.#ended(socket, 0)" },
  backoff: { by: { on: "timer" }, in: 'this.#after(action.ms, signal, () => this.step({ on: "timer" }))' },
};
/** Nobody waits in these: an application's call, or the end of the volume, begins and ends them. */
const LINK_RESTS: readonly LinkState["at"][] = ["idle", "paused", "closed"];

const SESSION: Readonly<Record<SessionState["at"], SessionState>> = {
  waiting: { at: "waiting", tries: 0 },
  opening: { at: "opening", tries: 0 },
  joining: { at: "joining", tries: 0 },
  "catching-up": { at: "catching-up", tries: 0 },
  live: { at: "live", tries: 0 },
  claiming: { at: "claiming", tries: 0 },
  retrying: { at: "retrying", tries: 0, ms: 500, code: "CLOSED" },
  blocked: { at: "blocked", tries: 0, code: "IN_DOUBT" },
  stopped: { at: "stopped", tries: 0, code: "DIVERGED", details: {} },
};
const FAILED: SessionEvent = { on: "failed", code: "CLOSED" };
/** The link's end ends all that a channel waits for, so it stands for the states that only follow, push or claim. */
const SESSION_ENDS: Readonly<Partial<Record<SessionState["at"], SessionEvent>>> = {
  opening: FAILED,
  joining: FAILED,
  "catching-up": { on: "unlinked" },
  live: { on: "unlinked" },
  claiming: { on: "unlinked" },
  retrying: { on: "timer" },
};
const SESSION_RESTS: Readonly<Partial<Record<SessionState["at"], SessionEvent>>> = {
  waiting: { on: "linked" },
  blocked: { on: "unblocked" },
  stopped: { on: "resolved" },
};

describe("the link", () => {
  test.each(Object.entries(LINK_ENDS))("%s ends by itself", (at, { by, in: piece }) => {
    const { state } = linkNext(LINK[at as LinkState["at"]], by, 0.5);
    expect(state.at).not.toBe(at);
    expect(source("link.ts")).toContain(piece);
  });

  test("every other state rests", () => {
    expect([...Object.keys(LINK_ENDS), ...LINK_RESTS].sort()).toEqual(Object.keys(LINK).sort());
  });
});

describe("a session", () => {
  test.each([...Object.entries(SESSION_ENDS), ...Object.entries(SESSION_RESTS)])("%s is left", (at, event) => {
    expect(sessionNext(SESSION[at as SessionState["at"]], event, 0.5).at).not.toBe(at);
  });

  test("every state is named, and its waits have a limit", () => {
    expect([...Object.keys(SESSION_ENDS), ...Object.keys(SESSION_RESTS)].sort()).toEqual(Object.keys(SESSION).sort());
    const session = source("session.ts");
    // The opening's limit is the socket's own.
    expect(source("edge-socket.ts")).toContain("const cancel = after(helloMs, () =>");
    expect(source("joining.ts")).toContain("const cancel = after(JOIN_MS, () =>");
    expect(session).toContain('host.after(state.ms, () => this.#step({ on: "timer" }))');
  });
});
