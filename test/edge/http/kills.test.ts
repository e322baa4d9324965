/** A bounded share of the kills, and the proof that they find a server that forgets. */
import { expect, test } from "vitest";
import { judge, runKills } from "../kills.ts";

test("kill -9 under 16 writers: nothing acknowledged is lost, nothing is there twice, order holds", async () => {
  const figures = await runKills({ rounds: 20, seed: 20 });
  console.log(JSON.stringify(figures));
  expect(figures).toMatchObject({ lost: 0, duplicated: 0, reordered: 0 });
  expect(figures.acked).toBeGreaterThan(100);
  // Else no kill came between the disk and the answer, and nothing was tried.
  expect(figures.repeated).toBeGreaterThan(20);
});

test("planted: without sequences the same kills leave messages twice", async () => {
  const { duplicated } = await runKills({ rounds: 30, seed: 21, forgets: true });
  expect(duplicated).toBeGreaterThan(0);
});

test("the judge sees a loss, a repetition and a wrong order", () => {
  expect(judge(["0:0", "0:1"], [["0:0", "0:1"]])).toEqual({ lost: 0, duplicated: 0, reordered: 0 });
  expect(judge(["0:0", "0:2", "0:1", "0:1"], [["0:0", "0:1", "0:3"]])).toEqual({ lost: 1, duplicated: 1, reordered: 1 });
});
