/**
 * Every planted bug of every long run replaces a piece of a source, and that piece must be in its file exactly once.
 * The runs check it too, but most of them are not part of `npm test`: here a change that moves a piece away fails at
 * once.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { expect, test } from "vitest";
import { PLANTS as CRASH_PLANTS } from "../crash/plants.ts";
import { COUNTING, NO_GROUP_COMMIT } from "../bench/edge/plants.ts";
import { smallSegments } from "../edge/small-segments.ts";
import { KERNEL_PLANTS, PLANTS as FUZZ_PLANTS } from "../fuzz/plants.ts";
import { POWER_BUGS } from "../power/bugs.ts";
import { BUGS as ROT_BUGS } from "../rot/bugs.ts";
import { MUTANTS } from "../simulation/mutants.ts";
import { HARD_MUTANTS } from "../simulation/sync/hard-mutants.ts";
import { SYNC_MUTANTS } from "../simulation/sync/mutants.ts";
import { RULE_MUTANTS } from "../simulation/sync/rule-mutants.ts";
import { TOPIC_MUTANTS } from "../simulation/sync/topic-mutants.ts";
import { TABS_MUTANTS } from "../simulation/tabs/mutants.ts";
import { pieceOf } from "../support/planted-bug.ts";
import { VIEW_MUTANTS } from "./view-mutants.ts";
import { PLANTS as DEVICE_PLANTS } from "../sync/plants.ts";
import { BUGS as WORLD_BUGS } from "../worlds/bugs.ts";

const root = path.join(import.meta.dirname, "../..");

interface Piece {
  readonly name: string;
  readonly file: string;
  readonly find: string;
}

const LISTS: Readonly<Record<string, readonly Piece[]>> = {
  simulation: MUTANTS,
  sync: [...SYNC_MUTANTS, ...RULE_MUTANTS, ...HARD_MUTANTS, ...TOPIC_MUTANTS],
  views: VIEW_MUTANTS,
  tabs: TABS_MUTANTS,
  worlds: WORLD_BUGS,
  rot: ROT_BUGS,
  power: POWER_BUGS,
  edge: [smallSegments(96)],
  bench: [...COUNTING, ...NO_GROUP_COMMIT],
  fuzz: [...FUZZ_PLANTS, ...KERNEL_PLANTS],
  devices: Object.values(DEVICE_PLANTS).flatMap(({ bug }) => bug ?? []),
  crash: Object.values(CRASH_PLANTS).flatMap(({ bug }) => bug ?? []),
};

/** Bugs whose piece is not in its file exactly once, with how often it is. */
const astray = (bugs: readonly Piece[], read: (file: string) => string): string[] =>
  bugs
    .map(({ name, file, find }) => ({ name, file, times: [...read(file).matchAll(pieceOf(find))].length }))
    .filter(({ times }) => times !== 1)
    .map(({ name, file, times }) => `"${name}" is ${times} times in ${file}`);

test("a piece that is gone, and one that is there twice, are found", () => {
  const bug = { name: "b", file: "f", find: "if (a) return;" };
  expect(astray([bug], () => "if (a) {}")).toEqual(['"b" is 0 times in f']);
  expect(astray([bug], () => "if (a) return;\nif (a)\n  return;")).toEqual(['"b" is 2 times in f']);
  expect(astray([bug], () => "if (a)\n  return;")).toEqual([]);
});

test.each(Object.entries(LISTS))("%s: each planted bug's piece is in its file once", (_, bugs) => {
  expect(bugs.length).toBeGreaterThan(0);
  expect(astray(bugs, (file) => readFileSync(path.join(root, file), "utf8"))).toEqual([]);
});
