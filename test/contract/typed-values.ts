/** Random values for topics with schemas, some of which fit, and the schemas: on every host the same. */
import fc from "fast-check";
import * as v from "valibot";
import * as z from "zod";
import type { StandardSchema } from "../../src/typed/standard-schema.ts";

const SEED = 20_261_129;
/** Values near the schemas, and any others that JavaScript has. */
const near = fc.record(
  { id: fc.oneof(fc.string(), fc.integer()), n: fc.oneof(fc.double(), fc.integer(), fc.constant(null)), at: fc.date() },
  { requiredKeys: [] },
);
const value = fc.oneof({ weight: 3, arbitrary: near }, { weight: 1, arbitrary: fc.anything({ withDate: true }) });
export const typedValues = (count: number): readonly unknown[] => fc.sample(value, { numRuns: count, seed: SEED });

export const ZOD = z.object({ id: z.string().max(5), n: z.number().int().optional() });
export const ZOD_ASYNC = z.looseObject({ id: z.string() }).refine(async ({ id }) => id !== "");
export const VALIBOT = v.object({ id: v.union([v.string(), v.number()]), at: v.optional(v.string()) });

/** By the schema itself. */
export async function fits(schema: StandardSchema, stored: unknown): Promise<boolean> {
  const judged = schema["~standard"].validate(stored);
  return !(judged instanceof Promise ? await judged : judged).issues;
}
