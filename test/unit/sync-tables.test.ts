/** The tables by which a device decides in sync: verdicts of joins, classes of answers, states of link and session. */
import { readFileSync } from "node:fs";
import path from "node:path";
import { describe, expect, it } from "vitest";
import type { JoinReply } from "../../src/sync/edge-socket.ts";
import { backOffMs, type LinkEvent, linkNext, type LinkState } from "../../src/sync/link-state.ts";
import { isSameOwner, tokenLife } from "../../src/sync/token-claims.ts";
import { CLASSED_CODES, classOf } from "../../src/sync/push-answers.ts";
import { type SessionEvent, sessionNext, type SessionState } from "../../src/sync/session-state.ts";
import type { Joined } from "../../src/sync/sync-frames.ts";
import { type JoinSide, verdictOf } from "../../src/sync/verdict.ts";
import { Random } from "../simulation/prng.ts";
import { EdgeError } from "../../worker/errors.ts";

const DOC = readFileSync(path.join(import.meta.dirname, "../../docs/sync.md"), "utf8");

describe("the class of an answer", () => {
  it("is what docs/sync.md says, code by code", () => {
    const section = DOC.split("## What an answer to a push means")[1]!.split("\n## ")[0]!;
    const told = new Map<string, string>();
    for (const row of section.split("\n")) {
      const [, codes, kind] = row.split("|");
      for (const [, code] of (codes ?? "").matchAll(/`([A-Z_]+)`/g)) told.set(code!, kind!.trim());
    }
    expect([...told.keys()].sort()).toEqual([...CLASSED_CODES].sort());
    for (const [code, kind] of told) expect(classOf(code), code).toBe(kind);
  });

  it("names codes that the edge knows, and tells nothing of others", () => {
    for (const code of CLASSED_CODES)
      expect(EdgeError.fromWire({ code, message: "", details: {} }).code, code).toBe(code);
    for (const code of ["", "NOPE", "toString", "CORRUPT_RANGE", "FENCED"]) expect(classOf(code)).toBe("unknown");
  });
});

const JOINED: Joined = {
  stream: "s",
  owner: "o",
  contentType: "application/json",
  closed: false,
  logStartOffset: 0,
  logEndOffset: 9,
  lineage: "same",
  agreedTo: 4,
  life: "00000000000000aa",
  forgottenAt: 0,
  known: true,
  since: 0,
  generation: 2,
  term: 3,
  next: 5,
  lastOffset: 8,
  lastCrc: 77,
  limits: { batchBytes: 1, recordBytes: 1, frameBytes: 1, batches: 1, records: 1 },
  serverTimeMs: 0,
};
const SIDE: JoinSide = {
  owner: "o",
  stream: "s",
  outbox: "00000000000000bb",
  registered: true,
  generation: 2,
  held: { first: 0, start: 2, end: 7, noteNext: 3, noteLast: 1, toldNext: undefined, lastAtNext: 77 },
  fits: () => true,
};
const held = (fields: Partial<JoinSide["held"]>): Partial<JoinSide> => ({ held: { ...SIDE.held, ...fields } });

describe("the verdict of a join", () => {
  const rows: [string, string, Partial<JoinSide>, Partial<Joined>, string?][] = [
    ["1", "stopped OWNER_CHANGED", { owner: "other" }, { lineage: "back" }],
    ["2", "stopped REPLACED", { stream: "other" }, { lineage: "back" }],
    ["3", "stopped DIVERGED", {}, { lineage: "back" }, "FENCED_LEADER"],
    ["4", "claim", {}, {}, "FENCED_LEADER"],
    ["5", "claim", { registered: false }, { known: false }, "UNKNOWN_OUTBOX"],
    ["5", "claim", {}, { known: false, forgottenAt: 3 }, "UNKNOWN_OUTBOX"],
    ["5a", "stopped DIVERGED", {}, { known: false }, "UNKNOWN_OUTBOX"],
    ["right", "blocked FORBIDDEN", { owner: null }, {}, "FORBIDDEN"],
    ["right", "blocked FORBIDDEN", { registered: false }, { known: false }],
    ["6", "claim", {}, { next: 8 }],
    ["7", "claim", held({ lastAtNext: 76 }), {}],
    ["7", "claim", held({ lastAtNext: undefined }), {}],
    ["7", "claim", held({ noteNext: 2, noteLast: 1 }), { next: 2, lastCrc: 5 }],
    ["8", "stopped DIVERGED", held({ noteNext: 6 }), {}],
    ["8", "stopped DIVERGED", held({ toldNext: 6 }), {}],
    ["9", "blocked INVALID_ARGUMENT", { fits: () => false }, { closed: true }],
    ["10", "closed", {}, { closed: true }],
    ["11", "fine", {}, {}],
    // Behind the note in another generation: that is the edge's word.
    ["11", "fine", { ...held({ noteNext: 6 }), generation: 1 }, {}],
    // Nothing was taken of this id yet; and what lies below the start is settled.
    ["11", "fine", held({ first: 5, start: 5, noteNext: undefined }), { lastCrc: 0 }],
    ["11", "fine", held({ start: 6, noteNext: 3, lastAtNext: undefined }), {}],
    // Without an id it follows, whatever is known.
    ["11", "fine", { outbox: null, registered: false }, { known: false, next: 0 }],
    ["2", "stopped REPLACED", { outbox: null, stream: "other" }, {}],
  ];
  it.each(rows)("row %s: %s", (row, is, side, joined, refusal) => {
    const reply: JoinReply = { refusal, joined: { ...JOINED, ...joined } };
    const verdict = verdictOf({ ...SIDE, ...side }, reply);
    expect(verdict.row).toBe(row);
    expect(["code" in verdict ? `${verdict.is} ${verdict.code}` : verdict.is]).toEqual([is]);
  });
});

describe("the link", () => {
  const TOKEN: LinkState = { at: "token", tries: 0 };
  const CONNECTING: LinkState = { at: "connecting", tries: 2, token: "t" };
  const LIVE: LinkState = { at: "live", tries: 2, token: "t" };
  const BACKOFF: LinkState = { at: "backoff", tries: 3, ms: 10 };
  const rows: [LinkState, LinkEvent, string, string][] = [
    [{ at: "idle" }, { on: "wanted" }, "token", "ask"],
    [TOKEN, { on: "token", token: "t" }, "connecting", "connect"],
    [TOKEN, { on: "token", token: undefined }, "connecting", "connect"],
    [TOKEN, { on: "token", token: null }, "paused signed-out", "drop"],
    [TOKEN, { on: "no-token" }, "backoff", "wait"],
    [{ ...TOKEN, refused: "t" }, { on: "token", token: "t" }, "backoff", "wait"],
    [{ ...TOKEN, refused: "t" }, { on: "token", token: "u" }, "connecting", "connect"],
    [CONNECTING, { on: "open" }, "live", "begin"],
    [CONNECTING, { on: "not-open", status: 0 }, "backoff", "wait"],
    [CONNECTING, { on: "not-open", status: 401 }, "token", "ask"],
    [{ ...CONNECTING, token: undefined }, { on: "not-open", status: 401 }, "paused signed-out", "drop"],
    [CONNECTING, { on: "not-open", status: 403 }, "backoff", "wait"],
    [LIVE, { on: "ended", code: 1006 }, "backoff", "wait"],
    [LIVE, { on: "ended", code: 1012 }, "backoff", "wait"],
    [LIVE, { on: "ended", code: 4400 }, "paused version", "drop"],
    [LIVE, { on: "ended", code: 4401 }, "token", "ask"],
    [LIVE, { on: "ended", code: 4403 }, "paused forbidden", "drop"],
    [LIVE, { on: "unauthorized" }, "token", "drop ask"],
    [LIVE, { on: "settled" }, "live", ""],
    [LIVE, { on: "pause", why: "hidden" }, "paused hidden", "drop"],
    [BACKOFF, { on: "timer" }, "token", "ask"],
    [BACKOFF, { on: "hint" }, "token", "ask"],
    [BACKOFF, { on: "returned" }, "token", "ask"],
    [LIVE, { on: "served" }, "live", ""],
    [BACKOFF, { on: "authenticate" }, "token", "ask"],
    [{ at: "paused", why: "user" }, { on: "hint" }, "paused user", ""],
    [{ at: "paused", why: "user" }, { on: "pause", why: "hidden" }, "paused user", ""],
    [{ at: "paused", why: "user" }, { on: "authenticate" }, "paused user", ""],
    [{ at: "paused", why: "user" }, { on: "resume" }, "token", "ask"],
    [{ at: "paused", why: "hidden" }, { on: "hint" }, "token", "ask"],
    [{ at: "paused", why: "signed-out" }, { on: "hint" }, "paused signed-out", ""],
    [{ at: "paused", why: "signed-out" }, { on: "authenticate" }, "token", "ask"],
    [{ at: "paused", why: "signed-out" }, { on: "provided" }, "token", "ask"],
    [{ at: "paused", why: "signed-out" }, { on: "returned" }, "token", "ask"],
    [{ at: "paused", why: "signed-out" }, { on: "timer" }, "paused signed-out", ""],
    [{ at: "paused", why: "forbidden" }, { on: "hint" }, "paused forbidden", ""],
    [{ at: "paused", why: "forbidden" }, { on: "returned" }, "token", "ask"],
    [{ at: "paused", why: "forbidden" }, { on: "provided" }, "token", "ask"],
    [{ at: "paused", why: "version" }, { on: "returned" }, "paused version", ""],
    [{ at: "paused", why: "version" }, { on: "resume" }, "paused version", ""],
    [{ at: "paused", why: "user" }, { on: "returned" }, "paused user", ""],
    [{ at: "paused", why: "hidden" }, { on: "returned" }, "token", "ask"],
    [{ at: "paused", why: "user" }, { on: "provided" }, "paused user", ""],
    [{ at: "connecting", tries: 0, token: undefined }, { on: "provided" }, "token", "ask"],
    [{ at: "connecting", tries: 0, token: "t" }, { on: "provided" }, "connecting", ""],
    [{ at: "closed" }, { on: "wanted" }, "closed", ""],
    [LIVE, { on: "close" }, "closed", "drop"],
  ];
  it.each(rows)("%o, %o: %s", (state, event, to, actions) => {
    const step = linkNext(state, event, 0.5);
    expect([step.state.at, "why" in step.state ? step.state.why : ""].join(" ").trim()).toBe(to);
    expect(step.actions.map((action) => action.do).join(" ")).toBe(actions);
  });

  it("1,000 devices whose sockets a deployment ends are back within two seconds, evenly spread (H39)", () => {
    const random = new Random(39, 1);
    const counts = [0, 0, 0, 0];
    for (let device = 0; device < 1_000; device++) {
      const { state } = linkNext(LIVE, { on: "ended", code: 1012 }, random.int(1_000_000) / 1_000_000);
      counts[Math.floor((state as Extract<LinkState, { at: "backoff" }>).ms / 500)]!++;
    }
    for (const count of counts) expect(Math.abs(count - 250)).toBeLessThan(60);
  });

  it("a refused token is remembered until another one is there, and never sent twice", () => {
    let state: LinkState = LIVE;
    state = linkNext(state, { on: "ended", code: 4401 }, 0.5).state;
    state = linkNext(state, { on: "token", token: "t" }, 0.5).state;
    expect(state).toMatchObject({ at: "backoff", refused: "t" });
    const again = linkNext(state, { on: "timer" }, 0.5);
    expect(again.actions).toEqual([{ do: "ask", reason: "refused" }]);
    expect(linkNext(again.state, { on: "token", token: "t" }, 0.5).state.at).toBe("backoff");
    expect(linkNext(again.state, { on: "token", token: "u" }, 0.5).state).toMatchObject({ token: "u" });
  });

  it("waits ever longer, at most 30 s and at least 100 ms, and as long as it is told at least", () => {
    expect([0, 1, 2, 6, 60].map((tries) => backOffMs(tries, 1))).toEqual([500, 1_000, 2_000, 30_000, 30_000]);
    expect(backOffMs(9, 0)).toBe(100);
    expect(backOffMs(0, 0.5, 30_000, 7_000)).toBe(7_000);
  });

  /** The longest wait behind each of these tries to connect, none of which succeeds. */
  const waitsOf = (by: "timer" | "hint", tries: number): number[] => {
    let state: LinkState = linkNext(LIVE, { on: "ended", code: 1006 }, 1).state;
    return Array.from({ length: tries }, () => {
      state = linkNext(state, { on: by }, 1).state;
      state = linkNext(state, { on: "token", token: "t" }, 1).state;
      state = linkNext(state, { on: "not-open", status: 0 }, 1).state;
      return (state as Extract<LinkState, { at: "backoff" }>).ms;
    });
  };
  it("an app that appends while the edge is away is not made to wait the longer for its early tries", () => {
    expect(waitsOf("timer", 5)).toEqual([4_000, 8_000, 16_000, 30_000, 30_000]);
    expect(waitsOf("hint", 5)).toEqual([2_000, 2_000, 2_000, 2_000, 2_000]);
  });

  it("an edge that ends each connection by 1012 is tried ever later", () => {
    const waits = [0, 2, 3, 6].map((tries) => linkNext({ ...LIVE, tries }, { on: "ended", code: 1012 }, 1).state);
    expect(waits.map((state) => (state as { ms?: number }).ms)).toEqual([2_000, 2_000, 4_000, 30_000]);
  });

  it("a connection that served is followed by a short wait, however soon it ends and whatever failed before", () => {
    let state: LinkState = { ...LIVE, tries: 9 };
    state = linkNext(state, { on: "served" }, 0.5).state;
    expect(linkNext(state, { on: "ended", code: 1006 }, 1).state).toMatchObject({ at: "backoff", ms: 1_000 });
    expect(linkNext({ ...LIVE, tries: 0 }, { on: "served" }, 0.5).state).toEqual({ ...LIVE, tries: 0 });
  });
});

describe("a link whose tokens are refused", () => {
  const CONNECTING: LinkState = { at: "connecting", tries: 2, token: "t", refused: "s" };
  const LIVE: LinkState = { at: "live", tries: 2, token: "t", refused: "s" };
  const rows: [LinkState, LinkEvent, string, string][] = [
    [CONNECTING, { on: "not-open", status: 401 }, "backoff", "wait"],
    [LIVE, { on: "ended", code: 4401 }, "backoff", "wait"],
    [LIVE, { on: "unauthorized" }, "backoff", "drop wait"],
    [{ ...LIVE, token: undefined }, { on: "ended", code: 4401 }, "paused", "drop"],
  ];
  it.each(rows)("%o, %o: %s", (state, event, to, actions) => {
    const step = linkNext(state, event, 0.5);
    expect(step.state.at).toBe(to);
    expect(step.actions.map((action) => action.do).join(" ")).toBe(actions);
  });

  it("asks for the next one at once behind a connection that served, or is settled", () => {
    const begun = linkNext(CONNECTING, { on: "open" }, 0.5).state;
    expect(begun).toMatchObject({ at: "live", refused: "s" });
    for (const on of ["served", "settled"] as const) {
      const { state } = linkNext(begun, { on }, 0.5);
      expect(linkNext(state, { on: "ended", code: 4401 }, 0.5).state.at).toBe("token");
    }
  });
});

describe("a token", () => {
  const token = (claims: object): string => `x.${btoa(JSON.stringify(claims)).replaceAll("=", "")}.y`;

  it("reads how long a token lives, where it says so", () => {
    expect(tokenLife(token({ exp: 100, iat: 40 }), 70_000)).toEqual({ left: 30_000, whole: 60_000 });
    for (const other of [token({}), "", "opaque", "a.b.c"]) expect(tokenLife(other, 0)).toBeUndefined();
  });

  it("tells whether the next one is of the same owner; one that does not say may be another's", () => {
    const mine = token({ tenant: "t", sub: "ann", exp: 1 });
    expect(isSameOwner(mine, token({ tenant: "t", sub: "ann", exp: 2, scope: "read" }))).toBe(true);
    expect(isSameOwner(token({ tenant: "t" }), token({ tenant: "t", exp: 2 }))).toBe(true);
    const others = [token({ tenant: "t", sub: "bob" }), token({ tenant: "u", sub: "ann" }), token({ sub: "ann" })];
    for (const other of [...others, token({ tenant: "t" }), "opaque"]) expect(isSameOwner(mine, other)).toBe(false);
    expect(isSameOwner("opaque", "opaque")).toBe(false);
    expect(isSameOwner(undefined, mine)).toBe(false);
  });
});

describe("a session", () => {
  const verdict = (is: object, isRepeat = false): SessionEvent =>
    ({ on: "verdict", verdict: { row: "x", ...is }, isRepeat }) as SessionEvent;
  const at = (name: SessionState["at"]): SessionState =>
    ({ at: name, tries: 1, ms: 1, code: "X", details: {} }) as never;
  const rows: [SessionState["at"], SessionEvent, SessionState["at"]][] = [
    ["waiting", { on: "linked" }, "opening"],
    ["opening", { on: "hello", takesSync: true }, "joining"],
    ["opening", { on: "hello", takesSync: false }, "stopped"],
    ["opening", { on: "missing", stream: null }, "retrying"],
    ["opening", { on: "missing", stream: "s" }, "stopped"],
    ["opening", { on: "failed", code: "TIMEOUT" }, "retrying"],
    ["joining", verdict({ is: "fine" }), "catching-up"],
    ["joining", verdict({ is: "closed" }), "catching-up"],
    ["joining", verdict({ is: "claim" }), "claiming"],
    ["joining", verdict({ is: "claim" }, true), "retrying"],
    ["joining", verdict({ is: "blocked", code: "FORBIDDEN" }), "blocked"],
    ["joining", verdict({ is: "stopped", code: "DIVERGED", details: {} }, true), "stopped"],
    ["joining", { on: "failed", code: "TIMEOUT" }, "retrying"],
    ["joining", { on: "level" }, "joining"],
    ["catching-up", { on: "level" }, "live"],
    ["claiming", { on: "level" }, "claiming"],
    ["live", { on: "blind" }, "catching-up"],
    ["blocked", { on: "blind" }, "blocked"],
    ["claiming", { on: "granted" }, "catching-up"],
    ["claiming", { on: "rejoin" }, "joining"],
    ["live", { on: "claim" }, "claiming"],
    ["live", { on: "failed", code: "BACKPRESSURE" }, "retrying"],
    ["live", { on: "blocked", code: "INVALID_BATCH" }, "blocked"],
    ["live", { on: "corrupt", details: {} }, "stopped"],
    ["live", { on: "diverged", details: {} }, "stopped"],
    ["claiming", { on: "diverged", details: {} }, "stopped"],
    ["joining", { on: "trimmed", details: { reason: "trimmed" } }, "stopped"],
    ["live", { on: "trimmed", details: { reason: "trimmed" } }, "stopped"],
    ["live", { on: "unlinked" }, "waiting"],
    ["blocked", { on: "unblocked" }, "joining"],
    ["blocked", { on: "unlinked" }, "waiting"],
    ["retrying", { on: "timer" }, "opening"],
    ["retrying", { on: "unlinked" }, "waiting"],
    ["stopped", { on: "linked" }, "stopped"],
    ["stopped", { on: "unlinked" }, "stopped"],
    ["stopped", { on: "resolved" }, "waiting"],
  ];
  it.each(rows)("%s, %o: %s", (from, event, to) => {
    expect(sessionNext(at(from), event, 0.5).at).toBe(to);
  });

  const wait = { on: "failed", code: "BACKPRESSURE" } as const;
  it.each<SessionEvent>([{ on: "rejoin" }, { on: "claim" }, { on: "blocked", code: "INVALID_BATCH" }, wait])(
    "begins its back-off anew after 10 s of live, by whatever way it leaves: %o",
    (event) => {
      const live: SessionState = { at: "live", tries: 9, since: 0 };
      const triesAt = (now: number): number => sessionNext(live, event, 0.5, now).tries;
      const more = event === wait ? 1 : 0;
      expect([triesAt(9_999), triesAt(10_000)]).toEqual([9 + more, more]);
      expect(sessionNext(live, { on: "taken" }, 0.5, 10_000)).toEqual({ ...live, tries: 0 });
    },
  );

  it("waits as long as the edge says at least", () => {
    expect(sessionNext(at("opening"), { on: "missing", stream: null, floorMs: 120_000 }, 0)).toMatchObject({
      at: "retrying",
      ms: 120_000,
    });
    expect(sessionNext(at("live"), { on: "failed", code: "BACKPRESSURE", floorMs: 9_000 }, 0)).toMatchObject({
      at: "retrying",
      tries: 2,
      ms: 9_000,
    });
  });
});
