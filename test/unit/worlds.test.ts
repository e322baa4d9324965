/**
 * A short run of the small worlds: every history of a few operations, crashed at each volume call in every way
 * (test/worlds/explore.ts). `node tools/run/run-ts.mjs test/worlds/run.ts` takes histories with one more operation.
 */
import { expect, test } from "vitest";
import { kernelBytes, releaseKernel } from "../support/kernels.ts";
import { importPlanted } from "../support/bundle-planted.ts";
import { BUGS, SHARED_COUNT } from "../worlds/bugs.ts";
import type * as Entry from "../worlds/entry.ts";
import { explore, type Explored, historiesUpTo } from "../worlds/explore.ts";
import { BEGINNINGS, OPERATIONS } from "../worlds/world.ts";

const OWN = 4;
const failuresOf = ({ failures }: Explored): string[] =>
  failures.map(({ message, history }) => `${message} in ${history}`);

const kernel = await releaseKernel();
const counts: Record<string, number> = {};

test.each([
  ["new", 3, 50],
  ["used", 2, 50],
  ["full", 2, 50],
  ["recycled", 2, 50],
] as const)(
  "every history from %s, of up to %i operations, crashed anywhere, opens to what was promised",
  { timeout: 300_000 },
  async (beginning, depth, recrash) => {
    const explored = await explore({ kernel, depth, beginnings: [beginning], recrash, failuresMax: 5 });
    expect(failuresOf(explored)).toEqual([]);
    expect(explored.histories).toBe(historiesUpTo(depth) + 1);
    for (const [name, times] of Object.entries(explored.counts)) counts[name] = (counts[name] ?? 0) + times;
  },
);

test("each fault and each outcome occurred", () => {
  const fired = [
    "write kept",
    "write dropped",
    "write torn in half",
    "write torn at a sector",
    "write garbled",
    "crash behind write",
    "crash behind flush",
    "crash behind grow",
    "crash in recovery behind write",
    "crash in recovery behind flush",
  ];
  const outcomes = [
    "outcome kept",
    "outcome cut",
    "outcome unwritten",
    "outcome no log",
    "outcome kept, one catalog copy",
    "outcome cut, one catalog copy",
  ];
  expect([...fired, ...outcomes].filter((name) => !counts[name])).toEqual([]);
  expect(Object.keys(counts).filter((name) => /refused|failed/.test(name))).toEqual([]);
  expect(Object.keys(BEGINNINGS)).toHaveLength(4);
});

test("all sequences of operations are explored", () => {
  expect(OPERATIONS).toHaveLength(7);
  expect(historiesUpTo(4)).toBe(7 + 49 + 343 + 2401);
});

test("the simulation's list still has the shared planted bugs", () => {
  expect(BUGS.length).toBe(SHARED_COUNT + OWN);
});

test.each(BUGS.map((bug) => [bug.name, bug] as const))("planted bug is caught: %s", async (_, bug) => {
  const planted = await importPlanted<typeof Entry>("test/worlds/entry.ts", bug);
  const kernel = await planted.loadKernel(await kernelBytes("release"));
  const { failures, images } = await planted.explore({
    kernel,
    depth: bug.depth,
    beginnings: [bug.from],
    recrash: bug.recrash ?? 0,
    failuresMax: 1,
  });
  expect(failures[0]?.check, `survived ${images} images`).toBeDefined();
});
