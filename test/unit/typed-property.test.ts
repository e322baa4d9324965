/**
 * 10,000 random values for each kind of topic with a schema, synchronous and not: what is in the log fits, what was
 * refused is not there, and the order is that of the calls. The same in a Worker: test/edge/typed.test.ts.
 */
import { type } from "arktype";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import * as z from "zod";
import { events, type RecordInput, type StandardSchema, TidemarkError, type Topic } from "../../src/browser/index.ts";
import { StreamSchemas } from "../../worker/log-object/stream-schemas.ts";
import { fits, typedValues, VALIBOT, ZOD, ZOD_ASYNC } from "../contract/typed-values.ts";
import { endPages, newPage } from "./page-fixtures.ts";

// Most of the time of a refusal is the stack of its error, which nobody reads here.
const { stackTraceLimit } = Error;
beforeAll(() => void (Error.stackTraceLimit = 1));
afterAll(() => void (Error.stackTraceLimit = stackTraceLimit));
afterEach(endPages);
const COUNT = 10_000;
const values = typedValues(COUNT);

const SCHEMAS = {
  zod: ZOD,
  "zod, asynchronous": ZOD_ASYNC,
  valibot: VALIBOT,
  arktype: type({ id: "string <= 5", "n?": "number | null" }),
} satisfies Record<string, StandardSchema>;

/** Appends all at once. What was taken, by its place among the values, in the order of the calls. */
async function appendAll<I>(topic: Pick<Topic<unknown, I>, "append">, inputOf: (i: number) => I): Promise<number[]> {
  const results = await Promise.allSettled(values.map((_, i) => topic.append(inputOf(i))));
  const refusals = new Set<string>();
  for (const result of results) if (result.status === "rejected") refusals.add((result.reason as TidemarkError).code);
  // INVALID_ARGUMENT: what JSON can't hold at all.
  expect([...refusals].sort()).toEqual(["INVALID_ARGUMENT", "SCHEMA_MISMATCH"]);
  const taken = results.flatMap(({ status }, i) => (status === "fulfilled" ? [i] : []));
  expect(taken.length).toBeGreaterThan(COUNT / 50);
  expect(taken.length).toBeLessThan(COUNT * 0.9);
  return taken;
}
const keyed = (i: number): RecordInput => ({ key: String(i), value: values[i], timestamp: i });

/** Reads what is stored, as it is: places among the values, and those of values that do not fit. */
async function stored(
  topic: Topic,
  schemaOf: (headers: Readonly<Record<string, unknown>>) => StandardSchema,
): Promise<{ found: number[]; wrong: number[] }> {
  const found: number[] = [];
  const wrong: number[] = [];
  for await (const { key, value: kept, headers } of topic.read()) {
    const i = Number(key);
    found.push(i);
    if (kept === null ? values[i] !== null : !(await fits(schemaOf(headers), kept))) wrong.push(i);
  }
  return { found, wrong };
}
async function countOf(records: AsyncIterable<{ readonly value: unknown }>): Promise<number> {
  let count = 0;
  for await (const record of records) if (record.value !== undefined) count++;
  return count;
}

test.each(Object.entries(SCHEMAS))("%s", async (_, schema) => {
  const { topic } = await newPage();
  const typed = topic("t", { schema, batchBytes: 16 * 1024 });
  const taken = await appendAll(typed, keyed);
  expect(await stored(topic("t"), () => schema)).toEqual({ found: taken, wrong: [] });
  expect(await countOf(typed.read())).toBe(taken.length);
});

test("events: each by the schema of its type", async () => {
  const types = { short: ZOD, dated: VALIBOT, checked: SCHEMAS.arktype };
  const names = ["short", "dated", "checked"] as const;
  const schema = events(types);
  const { topic } = await newPage();
  const typed = topic("t", { schema, batchBytes: 16 * 1024 });
  const nameOf = (i: number): (typeof names)[number] => names[i % names.length]!;
  const taken = await appendAll(typed, (i) => schema.record(nameOf(i), values[i] as never, { key: String(i) }));
  expect(new Set(taken.map(nameOf)).size).toBe(names.length);
  const schemaOf = (headers: Readonly<Record<string, unknown>>) => types[headers["tm.type"] as keyof typeof types];
  expect(await stored(topic("t"), schemaOf)).toEqual({ found: taken, wrong: [] });
  expect(await countOf(typed.read())).toBe(taken.length);
});

test("versions: what an earlier one wrote is read as its upcast, where that fits, and else left out", async () => {
  const { topic } = await newPage();
  const newer = z.object({ name: z.string().max(8), at: z.string().optional() });
  const upcast = ({ id, ...others }: { id: unknown }) => ({ name: id, ...others });
  const options = { batchBytes: 16 * 1024 };
  const taken = await appendAll(topic("t", { ...options, schema: VALIBOT }), keyed);
  expect(await stored(topic("t"), () => VALIBOT)).toEqual({ found: taken, wrong: [] });
  const today = topic("t", { ...options, schema: newer, version: 2, upcast: { 1: upcast }, onInvalid: "skip" });
  const { offset: last } = await today.append({ key: "today", value: { name: "today" } });
  const read: string[] = [];
  for await (const { key, value: given } of today.read()) {
    read.push(key!);
    if (given !== null && !newer.safeParse(given).success) expect(given).toBe("a value that fits");
  }
  const asOlder: string[] = [];
  for await (const { key, value: kept, offset } of topic("t").read())
    if (offset < last && (kept === null || newer.safeParse(upcast(kept as never)).success)) asOlder.push(key!);
  expect(asOlder.length).toBeGreaterThan(COUNT / 50);
  expect(asOlder.length).toBeLessThan(taken.length);
  expect(read).toEqual([...asOlder, "today"]);
});

test("at the edge, messages of a body: those that do not fit are refused, and no others", async () => {
  const encoder = new TextEncoder();
  let [taken, refused] = [0, 0];
  const schemas = Object.values(SCHEMAS);
  const streams = new StreamSchemas(Object.fromEntries(schemas.map((schema, i) => [`${i}/*`, schema])));
  for (const [i, each] of values.entries()) {
    let text: string | undefined;
    try {
      text = JSON.stringify([each]);
    } catch {
      continue;
    }
    const schema = schemas[i % schemas.length]!;
    const [message] = JSON.parse(text) as [unknown];
    const judge = streams.of(`${i % schemas.length}/orders`)!;
    const code = await Promise.resolve()
      .then(() => judge.body({ body: encoder.encode(text), contentType: "application/json" }))
      .then(
        () => undefined,
        (thrown: unknown) => TidemarkError.from(thrown).code,
      );
    if (code === undefined) taken++;
    else refused++;
    const expected = (await fits(schema, message)) ? undefined : "SCHEMA_MISMATCH";
    if (code !== expected) expect([text, code]).toEqual([text, expected]);
  }
  expect(taken).toBeGreaterThan(COUNT / 50);
  expect(refused).toBeGreaterThan(COUNT / 50);
});
