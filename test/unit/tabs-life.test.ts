/** The life of a tab among others (src/browser/tabs/life.ts): its table, and what holds for each of its rows. */
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import {
  failureOf,
  isOpeningHeard,
  isStealing,
  TABLE,
  type TabAction,
  tabAfter,
  type TabEvent,
  type TabState,
} from "../../src/browser/tabs/life.ts";
import { during, type Standing } from "../../src/browser/tabs/standing.ts";

/** The first comment's lines, without their stars. */
const COMMENT = readFileSync(new URL("../../src/browser/tabs/life.ts", import.meta.url), "utf8")
  .split("*/")[0]!
  .split("\n")
  .map((line) => line.replace(/^ \* ? ?/, ""));

/** What stands in the comment: the states that it explains, its groups of states, and the rows of its table. */
function written() {
  const indented = COMMENT.filter((line) => /^ \S/.test(line)).map((line) => line.trim());
  const groups = new Map<string, string[]>();
  const expand = (list: string): string[] => list.split(", ").flatMap((name) => groups.get(name) ?? [name]);
  const states: string[] = [];
  const rows: string[][] = [];
  for (const line of indented) {
    const [left, right] = line.split(" = ");
    const cells = line.split(/ {2,}/);
    if (right !== undefined) groups.set(left!, expand(right));
    else if (groups.size === 0) states.push(cells[0]!);
    else if (cells[0] !== "state")
      rows.push([expand(cells[0]!).sort().join(), cells[1]!, cells[2]!, ...(cells[3]?.split(", ") ?? [])]);
  }
  return { states, rows, groups };
}

const { states, rows, groups } = written();
const STATES = states as TabState[];
const EVENTS = [...new Set(TABLE.map(([, event]) => event))];
const WAITING = groups.get("waiting")!;
const HOLDING = [...groups.get("rising")!, ...groups.get("ruling")!];

/** Every pair that changes something. */
const PAIRS = STATES.flatMap((state) =>
  EVENTS.flatMap((event) => {
    const next = tabAfter(state, event);
    return next ? [{ state, event, next: next.state, actions: next.actions }] : [];
  }),
);

/** How each action that waits may end. */
const ENDS: Partial<Record<TabAction, readonly TabEvent[]>> = {
  depose: ["my turn"],
  steal: ["refused"],
  "await last": ["clear", "hangs"],
  "end terms": ["clear"],
  start: ["locked", "failed", "ended", "unloaded", "fatal"],
  "start again": ["locked", "failed", "ended", "unloaded", "fatal"],
  wait: ["hidden long"],
};

describe("the table of a tab's life", () => {
  it("is the one that the first comment shows, row by row", () => {
    expect(TABLE.map(([from, ...row]) => [[...from].sort().join(), ...row])).toEqual(rows);
    expect(STATES).toHaveLength(13);
    expect([...new Set(TABLE.flatMap(([from, , next]) => [...from, next]))].sort()).toEqual([...STATES, "same"].sort());
  });

  it("has one row at most for a pair of state and event, and every pair means what its row says or nothing", () => {
    const found = TABLE.flatMap(([from, event, next, ...actions]) =>
      from.map((state) => ({ state, event, next: next === "same" ? state : next, actions })),
    );
    const name = ({ state, event }: { state: string; event: string }): string => `${state} | ${event}`;
    expect(new Set(found.map(name)).size).toBe(found.length);
    const sorted = (pairs: typeof found): typeof found => pairs.sort((a, b) => name(a).localeCompare(name(b)));
    expect(sorted([...PAIRS] as typeof found)).toEqual(sorted(found));
    expect(STATES.length * EVENTS.length - PAIRS.length).toBeGreaterThan(200);
  });

  it("every state can be reached from where a tab begins, and each but the last can be left for the end", () => {
    const reach = (from: readonly TabState[]): string[] => {
      const seen = new Set(from);
      for (const state of seen) for (const pair of PAIRS) if (pair.state === state) seen.add(pair.next);
      return [...seen].sort();
    };
    expect(reach(["alone"])).toEqual([...STATES].sort());
    for (const state of STATES) expect(reach([state]), state).toContain("closed");
    expect(reach(["closed"])).toEqual(["closed"]);
  });

  it("a tab is in line for the lock while it waits, and at no other time", () => {
    for (const { state, event, next, actions } of PAIRS) {
      const [before, after] = [WAITING.includes(state), WAITING.includes(next)];
      if (before && !after) expect(actions, `${state} | ${event}`).toContain("unqueue");
      // What can't be loaded is waited for first.
      if (!before && after && event !== "unloaded") expect(actions, `${state} | ${event}`).toContain("queue");
      if (actions.includes("queue")) expect(WAITING, `${state} | ${event}`).toContain(next);
    }
  });

  it("a tab that had the lock, or took it from another, gives it back when it neither leads nor is about to", () => {
    for (const { state, event, next, actions } of PAIRS)
      if ((HOLDING.includes(state) || state === "deposing") && ![...HOLDING, "deposing"].includes(next))
        expect(actions, `${state} | ${event}`).toContain("let go");
    // A lock that is granted too late is given back at once.
    for (const state of ["asleep", "closed"] as const)
      expect(tabAfter(state, "granted")).toEqual({ state, actions: ["let go"] });
  });

  it("only a tab whose own worker opened leads, and it lets others in from then on", () => {
    for (const { state, event, next } of PAIRS)
      if (groups.get("ruling")!.includes(next) && !groups.get("ruling")!.includes(state)) expect(event).toBe("opened");
    for (const state of STATES) {
      const letsIn = tabAfter(state, "join")?.actions.includes("let in") === true;
      expect(letsIn, state).toBe(groups.get("ruling")!.includes(state));
      expect(tabAfter(state, "hail")?.actions.includes("announce") === true, state).toBe(letsIn);
    }
  });

  it("knows in the state in which a wait begins each event by which it may end", () => {
    const told = new Set<TabEvent>();
    for (const { state, event, next, actions } of PAIRS)
      for (const end of actions.flatMap((action) => ENDS[action] ?? [])) {
        told.add(end);
        expect(tabAfter(next, end), `${state} | ${event}, then ${end}`).toBeDefined();
      }
    expect(told).toEqual(new Set(Object.values(ENDS).flat()));
  });
});

describe("how a wait ends", () => {
  const standing = (isKnown: boolean) => {
    const told: unknown[] = [];
    const tell: Standing["tell"] = (...args) => told.push(args) > 0 && isKnown;
    return { told, me: { stay: {}, tell } };
  };

  it("is told in the state in which it began, and never in a later one", () => {
    const { told, me } = standing(true);
    const tell = during(me);
    tell("clear");
    expect(told).toEqual([["clear", undefined]]);
    me.stay = {};
    tell("clear");
    expect(told).toHaveLength(1);
  });

  it("is an assertion's failure where the table does not have it", () => {
    expect(() => during(standing(false).me)("clear")).toThrow(expect.objectContaining({ code: "INTERNAL" }));
  });
});

describe("a start that failed", () => {
  const first = { tries: 1, ends: 0, wasOpen: false };
  const closed = (reason?: string) => new TidemarkError("CLOSED", "", { reason });
  it.each([
    ["the files are locked", new TidemarkError("ALREADY_OPEN", ""), first, "locked"],
    [
      "the files are locked, for the fifth time",
      new TidemarkError("ALREADY_OPEN", ""),
      { ...first, tries: 5 },
      "fatal",
    ],
    ["what passes", new TidemarkError("TIMEOUT", ""), first, "failed"],
    ["what passes, for the fifth time", new TidemarkError("TIMEOUT", ""), { ...first, tries: 5 }, "fatal"],
    ["a file that can't be loaded", new TidemarkError("LOAD_FAILED", ""), first, "failed"],
    ["the same once the tide was open", new TidemarkError("LOAD_FAILED", ""), { ...first, wasOpen: true }, "unloaded"],
    ["its worker ended", closed("worker"), first, "ended"],
    ["its worker ended, for the fifth time", closed("worker"), { ...first, ends: 4 }, "fatal"],
    ["the data is gone", closed("cleared"), first, "fatal"],
    ["a catalog that is damaged", new TidemarkError("CORRUPT_CATALOG", ""), first, "fatal"],
  ] as const)("%s", (_, error, tries, event) => {
    expect(failureOf(error, tries)).toBe(event);
  });
});

it("a tab that says six times that it will lead, and does not, is no longer heard", () => {
  expect([0, 5, 6].map(isOpeningHeard)).toEqual([true, true, false]);
});

it("who deposes already is passed over after three tries", () => {
  expect([0, 2, 3].map(isStealing)).toEqual([false, false, true]);
});
