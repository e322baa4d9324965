/**
 * A small share of `npm run crash`: five rounds in real Chromium, both engines. Planted bugs show that a loss and a
 * duplicate would be found.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { ANOMALIES, check, printFinding } from "../checker/checker.ts";
import type { Post } from "./events.ts";
import { Ledger } from "./ledger.ts";
import { strikeOf } from "./plan.ts";
import { type CrashResult, runRounds } from "./rounds.ts";

/**
 * With this seed the five rounds include a renderer's crash during recovery, a terminated worker, two kills, a freeze.
 */
const SEED = 296;

/** What it says tells where to look, also where another run of the seed does not fail. */
function shown({ failure, openings }: CrashResult): string {
  if (!failure) return "";
  const { round, engine, strike, problems, findings } = failure;
  const where = `round ${round} over ${engine}: ${JSON.stringify({ strike, openings: openings.slice(-3) })}`;
  return [where, ...problems, ...findings.map(printFinding)].join("\n");
}

describe("a browser that is struck while it writes", () => {
  it("loses nothing that was acked, doubles nothing, changes nothing", async () => {
    const result = await runRounds({ rounds: 5, seed: SEED, roundsPerProfile: 3 });
    expect(shown(result), `npm run crash -- --seed ${SEED}`).toBe("");
    expect(result.rounds).toBe(5);
    for (let round = 0; round < 5; round++) {
      const { kind, aim } = strikeOf(SEED, round);
      expect(result.strikes[`${kind}${aim ? `@${aim}` : ""}`]?.times, `round ${round}`).toBeGreaterThan(0);
    }
    // How much each task does before a strike depends on the machine, but each must have done something.
    for (const what of [
      "records acked flushed",
      "records acked written",
      "done: roll",
      "done: compaction",
      "records polled",
    ])
      expect(result.counts[what], what).toBeGreaterThan(0);
    expect(result.counts["freezes that held"]).toBe(1);
    expect(result.counts["names torn"]).toBeGreaterThan(0);
    expect(new Set(result.openings.map(({ engine }) => engine))).toEqual(new Set(["opfs", "indexeddb"]));
  });

  it.each([
    ["early-ack", ["lost-write", "unseen"]],
    ["resend", ["duplicate"]],
  ])("finds the planted bug %s", async (plant, expected) => {
    const { failure } = await runRounds({ rounds: 5, seed: SEED, plant });
    expect(failure?.problems).toEqual([]);
    const found = new Set(failure?.findings.map(({ anomaly }) => anomaly));
    expect(ANOMALIES.filter((anomaly) => found.has(anomaly) && expected.includes(anomaly)).length).toBeGreaterThan(0);
    for (const { history } of failure!.findings) expect(history.length).toBeLessThan(5);
  });
});

describe("a browser that is killed while it makes a file", () => {
  it("would lose the names of the files that it makes after its next start", async () => {
    const { failure } = await runRounds({ rounds: 3, seed: SEED, plant: "lost-names" });
    expect(failure?.problems.join()).toMatch(/CORRUPT_RANGE|CORRUPT_CATALOG/);
  });
});

describe("the ledger", () => {
  const take = async (ledger: Ledger, body: string): Promise<number> => {
    let status = 0;
    const response = { writeHead: (code: number) => ({ end: () => void (status = code) }) };
    await ledger.handle(Readable.from([body]) as IncomingMessage, response as unknown as ServerResponse);
    return status;
  };
  const append = {
    type: "append",
    id: 1,
    at: 1,
    process: "w",
    topic: "orders",
    acks: "flushed",
    records: [[7, null, 0]],
  } as const;
  const post = (events: Post["events"]): string => JSON.stringify({ life: 1, events } satisfies Post);

  it("counts an append as acked only when the page has reported the ack", async () => {
    const ledger = new Ledger();
    expect(await take(ledger, post([append]))).toBe(204);
    expect(ledger.history).toMatchObject([{ type: "append", outcome: "info", records: [{ value: 7 }] }]);
    await take(ledger, post([{ type: "done", id: 1, at: 2, outcome: "ok", offsets: [0] }]));
    expect(ledger.history).toMatchObject([{ type: "append", outcome: "ok", offsets: [0] }]);
    expect(check(ledger.history, {}).findings).toEqual([]);
  });

  it("takes nothing from half a request, and reports an end without a beginning", async () => {
    const ledger = new Ledger();
    expect(await take(ledger, post([append]).slice(0, -4))).toBe(400);
    expect(ledger.history).toEqual([]);
    await take(ledger, post([{ type: "done", id: 9, at: 2, outcome: "ok" }]));
    expect(ledger.problems).toHaveLength(1);
  });
});
