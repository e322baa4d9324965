/**
 * A small share of `npm run sync`: three devices with two tabs each, and every fault strikes and has an effect. A
 * planted bug shows that the run would find a doubled record.
 */
import { expect, it } from "vitest";
import { SYNC_FAULTS } from "./plan.ts";
import { runSync } from "./rounds.ts";

const SEED = 1;
const CONVERGE_MS = 10_000;

it("devices under every fault lose nothing, double nothing, keep their order and become equal", async () => {
  const result = await runSync({ seconds: 5, each: true, seed: SEED, tabs: 2 });
  const { rounds, faults, counts, problems, findings } = result;
  const times = Object.entries(faults).map(([fault, count]) => `${fault} ${count}`);
  console.log(
    `${rounds.length} rounds, ${counts["records acked"]} records acked: ${times.join(", ")}\n` +
      `level after, ms: ${rounds.map(({ convergeMs }) => Math.round(convergeMs)).join(", ")}`,
  );
  expect([...problems, ...findings].join("\n"), `npm run sync -- --seed ${SEED} --tabs 2`).toBe("");
  expect(result).toMatchObject({ lost: 0, doubled: 0, reordered: 0 });
  const unfelt = SYNC_FAULTS.filter((fault) => !(faults[fault]! > 0));
  expect(unfelt, "faults that had no effect, each time that they struck").toEqual([]);
  for (const { convergeMs } of rounds) expect(convergeMs).toBeLessThan(CONVERGE_MS);
  expect(counts["records acked"]).toBeGreaterThan(500);
});

it("finds a planted bug: a producer that sends what was acked once more", async () => {
  const found = await runSync({ seconds: 3, seed: SEED, profiles: 1, tabs: 1, plant: "resend", pauseMs: 5 });
  expect(found.doubled, found.problems.join("\n")).toBeGreaterThan(0);
});
