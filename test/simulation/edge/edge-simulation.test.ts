/**
 * Histories of the whole edge beside a model: requests of all kinds, alarms, evictions and resets between them.
 * `npm run sim -- --edge` runs more of them.
 */
import { describe, expect, it } from "vitest";
import type { PlantedBug } from "../../support/planted-bug.ts";
import { importEdge } from "./bundle.ts";
import { runHistories } from "./run-histories.ts";

const SEEDS = 24;
const STEPS = 80;
/** A planted bug that survives this many seeds fails the test. */
const PLANTED_SEEDS = 60;

/** Features that the histories must have used: else they prove nothing about them. */
const NEEDED = [
  "all is acknowledged",
  "appended",
  "batches next",
  "burst",
  "cut DELETE 503 of log:",
  "cut PUT 503 of log:",
  "compacted",
  "deleted",
  "event archive",
  "evicted",
  "expired",
  "follow credits",
  "follow is level",
  "fork",
  "imported through cuts",
  "leftovers looked for",
  "lines appended",
  "long-poll woken",
  "pull all is done",
  "pull claimed already",
  "pull cut claim",
  "pull done",
  "pull fenced",
  "pull late",
  "pull released",
  "pull stranger",
  "read 304",
  "reset",
  "sse with appends",
  "struck PUT is given up",
  "struck PUT is made",
  "struck append",
  "trim",
  "webhook fails",
  "webhook slow",
];

const PLANTED: readonly PlantedBug[] = [
  {
    name: "two bodies have one ETag",
    file: "worker/stream/stream.ts",
    find: "return swaps === 0 ? this.#config.id : `${this.#config.id}.${swaps}`;",
    replace: "return this.#config.id;",
  },
  {
    name: "one fork does not hold its source",
    file: "worker/stream/stream.ts",
    find: "return this.forks.paths.length > 0;",
    replace: "return this.forks.paths.length > 1;",
  },
  {
    name: "a stream whose PUT was cut short stays",
    file: "worker/log-object/lifecycle.ts",
    find: 'if (stream) this.#go(stream, "cut short");',
    replace: "",
  },
  {
    name: "a webhook that has taken a wake has done it",
    file: "worker/subscriptions/wakes.ts",
    find: 'kind: answer.done ? "finished" : "taken"',
    replace: 'kind: "finished"',
  },
  {
    name: "a claim takes a wake that another worker holds",
    file: "worker/subscriptions/life.ts",
    find: 'return phase === "leased" && state.until > nowMs ? undefined :',
    replace: "return",
  },
  {
    name: "a wake that is over is acknowledged",
    file: "worker/subscriptions/subscription-object.ts",
    find: 'if (!isPresent) throw new EdgeError("FENCED", "a later wake has taken over");',
    replace: "if (!isPresent) return subscription;",
  },
  {
    name: "the work of a worker that fell silent is given to nobody",
    file: "worker/subscriptions/wakes.ts",
    find: 'if (state.phase !== "idle") this.#host.plan(state.until);',
    replace: "",
  },
  {
    name: "a cursor goes back",
    file: "worker/subscriptions/tables.ts",
    find: "SET acked = max(acked, ?)",
    replace: "SET acked = ?",
  },
  {
    name: "any token of the tenant is that of the wake",
    file: "worker/subscriptions/subscription-object.ts",
    find: 'if (bearer === undefined || !sameText(bearer, state.token ?? ""))',
    replace: "if (bearer === undefined)",
  },
];

describe("histories of the edge", () => {
  it(`${SEEDS} from seed 1 on are as the model says`, async () => {
    const { failures, counts } = await runHistories(await importEdge(), { seed: 1, seeds: SEEDS, steps: STEPS });
    expect(failures.map(({ seed, why }) => `${seed}: ${why}`)).toEqual([]);
    expect(NEEDED.filter((name) => !counts[name])).toEqual([]);
  });

  it.each(PLANTED.map((plant) => [plant.name, plant] as const))("a planted bug is found: %s", async (name, plant) => {
    const edge = await importEdge([plant], name);
    const asked = { seed: 1, seeds: PLANTED_SEEDS, steps: STEPS, failuresMax: 1 };
    expect((await runHistories(edge, asked)).failures).toHaveLength(1);
  });
});
