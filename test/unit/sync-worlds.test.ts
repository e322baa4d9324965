/**
 * Small worlds of sync: every short history of the rules of docs/sync.md, walked to its end; and each wrong rule, which
 * must be found. `npm run worlds -- --sync` walks larger ones.
 */
import { expect, test } from "vitest";
import { configOf, LARGE, SMALL } from "../worlds/sync/configurations.ts";
import { decode, encode, STATE_BYTES_MAX } from "../worlds/sync/codec.ts";
import { RULES } from "../worlds/sync/rules.ts";
import { search } from "../worlds/sync/search.ts";
import { begin, make } from "../worlds/sync/steps.ts";
import { moves } from "../worlds/sync/moves.ts";
import { newState } from "../worlds/sync/state.ts";
import { Bad, BUDGETS, type World } from "../worlds/sync/world.ts";
import { isFound, REVIEWED, WRONG_RULES } from "../worlds/sync/wrong-rules.ts";

test.each(SMALL)("nothing is found in $name", ({ given, states }) => {
  const searched = search({ config: configOf(given), rules: RULES });
  expect(searched.violation).toBeUndefined();
  expect(searched.complete).toBe(true);
  // Another number means that a rule, a step or a budget has changed.
  expect(searched.states).toBe(states);
});

test.each(WRONG_RULES)("planted, and found: $name", (wrong) => {
  const { given, rules, after } = wrong;
  const { violation } = search({ config: configOf(given), rules: { ...RULES, ...rules }, after, statesMax: 400_000 });
  expect(isFound(wrong, violation), `found ${violation?.what}`).toBe(true);
});

test("the earlier explorer of an earlier text saw as many states", () => {
  const given = { budgets: { append: 3, cut: 1, crash: 1 }, window: 2, frame: 2 };
  const { states, depth, complete } = search({ config: configOf(given), rules: REVIEWED });
  expect({ states, depth, complete }).toEqual({ states: 51_621, depth: 25, complete: true });
});

test("a state comes back from its bytes", () => {
  const config = configOf({ budgets: { append: 2, cut: 1, backup: 1, copy: 1, forget: 1, foreign: 1 }, wide: true });
  const w: World = { state: newState(config, BUDGETS.length), rules: RULES, config, bad: Bad.NONE };
  begin(w);
  const bytes = new Uint8Array(STATE_BYTES_MAX);
  const out: number[] = [];
  for (let step = 0; step < 60; step++) {
    moves(w, out);
    if (out.length === 0) break;
    make(w, out[(step * 7) % out.length]!);
    const length = encode(w.state, bytes);
    expect(decode(bytes.slice(0, length), config, BUDGETS.length)).toEqual(w.state);
  }
});

test("no two worlds have one name", () => {
  const names = [...SMALL, ...LARGE, ...WRONG_RULES].map(({ name }) => name);
  expect(new Set(names).size).toBe(names.length);
});
