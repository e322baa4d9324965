/**
 * A small share of `npm run tabs`: eight tabs, and each fault strikes the leader once. A planted bug shows that the
 * suite would find a loss.
 */
import { expect, it } from "vitest";
import { printFinding } from "../checker/checker.ts";
import { runLong } from "./long.ts";
import { FAULTS } from "./nemesis.ts";

const SEED = 1;

it("eight tabs under every fault lose nothing that was acked, double nothing, change nothing", async () => {
  const result = await runLong({ seconds: 15, stepsMin: FAULTS.length, seed: SEED });
  const times = Object.entries(result.faults).map(([fault, count]) => `${fault} ${count}`);
  console.log(
    `${result.steps} strikes: ${times.join(", ")}\nfail-over, ms: ` +
      `${result.failOvers.map(({ fault, ackedMs }) => `${fault} ${Math.round(ackedMs)}`).join(", ")}`,
  );
  expect([...result.problems, ...result.findings.map(printFinding)].join("\n"), `npm run tabs -- --seed ${SEED}`).toBe(
    "",
  );
  for (const fault of FAULTS)
    expect(
      Object.keys(result.faults).filter((name) => name.startsWith(fault)),
      fault,
    ).not.toEqual([]);
  for (const held of ["hang that held", "frozen that held"]) expect(result.faults[held], held).toBeGreaterThan(0);
  // A setting bounds the wait for a hanging leader. No fail-over may take longer than that and some seconds.
  for (const { fault, ackedMs } of result.failOvers) expect(ackedMs, fault).toBeLessThan(10_000);
  expect(result.counts["records acked flushed"]).toBeGreaterThan(500);
});

it("finds a planted bug: a producer that sends what was acked once more", async () => {
  const missed: string[] = [];
  // Chance decides which batches a tab re-sends; five seconds of faults have some hundred of them.
  for (let seed = SEED; missed.length < 4; seed++) {
    const { findings, problems, counts } = await runLong({ seconds: 5, seed, tabs: 3, plant: "resend" });
    if (findings.some(({ anomaly }) => anomaly === "duplicate")) return;
    missed.push([`seed ${seed}: ${counts["records acked flushed"]} acked`, ...problems].join("\n"));
  }
  expect(missed.join("\n"), "not found").toBe("");
});
