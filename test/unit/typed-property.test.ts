/**
 * 10,000 random values for topics with schemas, synchronous and not: what is in the log fits, what was refused is not
 * there, and the order is that of the calls.
 */
import fc from "fast-check";
import * as v from "valibot";
import { afterEach, expect, test } from "vitest";
import * as z from "zod";
import type { StandardSchema, TidemarkError } from "../../src/browser/index.ts";
import { endPages, newPage } from "./page-fixtures.ts";

afterEach(endPages);
const COUNT = 10_000;
const SEED = 20_261_129;
/** Values near the schemas, and any others that JavaScript has. */
const near = fc.record(
  { id: fc.oneof(fc.string(), fc.integer()), n: fc.oneof(fc.double(), fc.integer(), fc.constant(null)), at: fc.date() },
  { requiredKeys: [] },
);
const value = fc.oneof({ weight: 3, arbitrary: near }, { weight: 1, arbitrary: fc.anything({ withDate: true }) });

const SCHEMAS: Record<string, StandardSchema> = {
  zod: z.object({ id: z.string().max(5), n: z.number().int().optional() }),
  "zod, asynchronous": z.looseObject({ id: z.string() }).refine(async ({ id }) => id !== ""),
  valibot: v.object({ id: v.union([v.string(), v.number()]), at: v.optional(v.string()) }),
};

test.each(Object.entries(SCHEMAS))("%s", async (_, schema) => {
  const { topic } = await newPage();
  const typed = topic("t", { schema, batchBytes: 16 * 1024 });
  const values = fc.sample(value, { numRuns: COUNT, seed: SEED });
  const taken: number[] = [];
  const codes = new Set<string>();
  const results = await Promise.allSettled(
    values.map((each, i) => typed.append({ key: String(i), value: each, timestamp: i })),
  );
  results.forEach((result, i) => {
    if (result.status === "fulfilled") taken.push(i);
    else codes.add((result.reason as TidemarkError).code);
  });
  // INVALID_ARGUMENT: what JSON can't hold at all.
  expect([...codes].sort()).toEqual(["INVALID_ARGUMENT", "SCHEMA_MISMATCH"]);
  expect(taken.length).toBeGreaterThan(COUNT / 50);
  expect(taken.length).toBeLessThan(COUNT * 0.9);
  const found: number[] = [];
  for await (const { key, value: stored } of topic("t").read()) {
    found.push(Number(key));
    if (stored === null) expect(values[Number(key)]).toBeNull();
    else expect(await schema["~standard"].validate(stored)).not.toHaveProperty("issues", expect.anything());
  }
  expect(found).toEqual(taken);
  let read = 0;
  for await (const record of typed.read()) if (record.value !== undefined) read++;
  expect(read).toBe(taken.length);
});
