/** Histories of the client's appends (client-history.ts): all hold, and each planted bug is seen. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { importPlanted } from "../support/bundle-planted.ts";
import type { PlantedBug } from "../support/planted-bug.ts";
import { type Call, FAULTS, type Fault, history } from "./client-history.ts";

const faults = fc.array(fc.constantFrom<Fault>("none", ...FAULTS), { maxLength: 25 });
const calls: fc.Arbitrary<Call[]> = fc.array(
  fc.record({
    records: fc.integer({ min: 1, max: 3 }),
    isBad: fc.integer({ min: 0, max: 5 }).map((n) => n === 0),
    abortAfter: fc.option(fc.integer({ min: 0, max: 3 }), { freq: 6 }),
    waits: fc.boolean(),
  }),
  { minLength: 1, maxLength: 12 },
);

it("500 histories: once or not at all, whole, in order, and every outcome is true", async () => {
  await fc.assert(fc.asyncProperty(faults, calls, history), { numRuns: 500 });
});

const SENDER = "src/client/sender.ts";
const BUGS: readonly PlantedBug[] = [
  {
    name: "what is sent again says not since when",
    file: SENDER,
    find: "since: batch.unknown && since",
    replace: "since: undefined",
  },
  {
    name: "a batch that was given up ends no epoch",
    file: SENDER,
    find: "if (batch.unknown || isStranger) this.#newEpoch();",
    replace: "if (isStranger) this.#newEpoch();",
  },
  {
    name: "each try has a producer of its own",
    file: SENDER,
    find: "batch.wasSent = true;",
    replace:
      "batch.wasSent = true; bytes = encodeBatch(batch.calls.flatMap((each) => each.records), " +
      "{ producerId: this.#host.newId(), producerEpoch: 0, baseSequence: 0 });",
  },
  {
    name: "a batch without an answer counts as not taken",
    file: SENDER,
    find: "if (batch.wasSent && mayBeTaken(error)) batch.unknown = error;",
    replace: "",
  },
  {
    name: "a producer that was forgotten does not begin anew",
    file: SENDER,
    find: "if (isStranger) return this.#deliver(open);",
    replace: "",
  },
  {
    name: "sequences are not counted on",
    file: SENDER,
    find: "baseSequence: (owner.baseSequence + records.length) % SEQUENCES",
    replace: "baseSequence: owner.baseSequence",
  },
];

describe("a planted bug is seen", () => {
  it.each(BUGS)("$name", async (bug) => {
    const planted = await importPlanted<{ history: typeof history }>("test/unit/client-history.ts", bug);
    const found = await fc.check(fc.asyncProperty(faults, calls, planted.history), {
      numRuns: 2_000,
      endOnFailure: true,
    });
    expect(found.failed).toBe(true);
  });
});
