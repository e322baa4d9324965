/** Topics with a schema, events and middleware inside a Worker, over real objects. */
import { env } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import * as z from "zod";
import { fits, typedValues, VALIBOT, ZOD, ZOD_ASYNC } from "../contract/typed-values.ts";
import { events, LogObject, type Middleware, openTopic, TidemarkError, withSchemas } from "../../worker/library.ts";

let topics = 0;
const fresh = (): string => `typed/${++topics}`;
const Order = z.object({ id: z.string(), total: z.number() });

async function all<T>(records: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const record of records) found.push(record);
  return found;
}
async function refused(work: Promise<unknown> | (() => unknown)): Promise<TidemarkError> {
  const thrown: unknown = await (typeof work === "function" ? Promise.resolve().then(work) : work).then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(thrown).toBeInstanceOf(TidemarkError);
  return thrown as TidemarkError;
}

describe("openTopic with a schema", () => {
  it("takes what fits, refuses the rest alone, and reads what the schema gives", async () => {
    const name = fresh();
    const orders = openTopic(env, name, { schema: Order.extend({ tags: z.array(z.string()).default([]) }) });
    const acks = await Promise.allSettled([
      orders.append({ value: { id: "a", total: 1 } }),
      orders.append({ value: { id: "b", total: "2" } as never }),
      orders.append({ value: { id: "c", total: 3 } }),
    ]);
    expect(acks.map((ack) => (ack.status === "fulfilled" ? ack.value.offset : ack.reason.code))).toEqual([
      0,
      "SCHEMA_MISMATCH",
      1,
    ]);
    const error = await refused(orders.appendBatch([{ value: { id: "d", total: 4 } }, { value: {} as never }]));
    expect(error.details).toMatchObject({ record: 1, topic: name });
    expect((await all(orders.read())).map(({ value }) => value)).toEqual([
      { id: "a", total: 1, tags: [] },
      { id: "c", total: 3, tags: [] },
    ]);
    expect((await all(openTopic(env, name).read()))[0]!.value).toEqual({ id: "a", total: 1 });
    const strict = openTopic(env, name, { schema: Order.extend({ total: z.number().min(2) }), onInvalid: "skip" });
    expect((await all(strict.read())).map(({ offset }) => offset)).toEqual([1]);
  });

  it("un-awaited appends are few requests, in order, also with an async schema and middleware", async () => {
    let asked = 0;
    const LOGS = {
      idFromName: (name: string) => env.LOGS.idFromName(name),
      get: (id: never) => (asked++, env.LOGS.get(id)),
    };
    const schema = z.number().refine(async () => true);
    const numbers = openTopic({ LOGS } as never, fresh(), { schema, use: [(_, next) => next()] });
    await numbers.append({ value: -1 });
    asked = 0;
    const acks = await Promise.all(Array.from({ length: 200 }, (_, value) => numbers.append({ value })));
    expect(acks.map(({ offset }) => offset)).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
    expect(asked).toBeLessThanOrEqual(5);
  });

  it("events and middleware: emit, types, headers both ways", async () => {
    const seen: string[] = [];
    const noting: Middleware = async (step, next) => {
      if (step.operation === "append") for (const { headers } of step.records) headers.set("by", "me");
      const ack = await next();
      seen.push(`${step.operation} ${ack?.offset ?? step.records.map(({ headers }) => headers.get("by")).join()}`);
    };
    const schema = events({ added: Order, removed: z.string() });
    const todos = openTopic(env, fresh(), { schema }).use(noting);
    await todos.emit("added", { id: "a", total: 1 }, { key: "k" });
    await todos.append(schema.record("removed", "a"));
    const read = await all(todos.read());
    expect(read.map((event) => (event.type === "added" ? event.value?.total : event.value))).toEqual([1, "a"]);
    expect(seen).toEqual(["append 0", "append 1", "read me", "read me"]);
  });

  it.each(Object.entries({ ZOD, ZOD_ASYNC, VALIBOT }))(
    "10,000 random values: what is in the log fits, in the order of the calls: %s",
    async (_, schema) => {
      const name = fresh();
      const values = typedValues(10_000);
      const typed = openTopic(env, name, { schema });
      const acks = await Promise.allSettled(
        values.map((value, i) => typed.append({ key: String(i), value: value as never })),
      );
      const taken = acks.flatMap(({ status }, i) => (status === "fulfilled" ? [String(i)] : []));
      const codes = acks.map((ack) => (ack.status === "rejected" ? (ack.reason as TidemarkError).code : ""));
      expect([...new Set(codes)].sort()).toEqual(["", "INVALID_ARGUMENT", "SCHEMA_MISMATCH"]);
      expect(taken.length).toBeGreaterThan(200);
      const wrong: unknown[] = [];
      const found: unknown[] = [];
      for await (const { key, value } of openTopic(env, name).read()) {
        found.push(key);
        if (value === null ? values[Number(key)] !== null : !(await fits(schema, value))) wrong.push(value);
      }
      expect([wrong, found]).toEqual([[], taken]);
    },
  );

  it("wrong options are refused at once, by name; also those of withSchemas", async () => {
    for (const [options, field] of [
      [{ schema: {} }, "schema"],
      [{ version: 2 }, "schema"],
      [{ schema: Order, upcast: { 1: 5 }, version: 2 }, "upcast.1"],
      [{ use: [5] }, "use[0]"],
    ] as const)
      expect((await refused(() => openTopic(env, fresh(), options as never))).details).toMatchObject({ field });
    expect((await refused(() => openTopic(env, fresh()).use(5 as never))).details).toMatchObject({ field: "use" });
    for (const [map, field] of [
      [5, "schemas"],
      [null, "schemas"],
      [LogObject, "schemas"],
      [[Order], "schemas"],
      [new Map([["a/*", Order]]), "schemas"],
      [Order, "schemas"],
      [{ "a/*": 5 }, "schema"],
      [{ "a/*": undefined }, "schema"],
      [{ "a/*": { schema: Order, version: 0 } }, "version"],
      [{ "": Order }, "a pattern"],
    ] as const)
      expect((await refused(() => withSchemas(map as never))).details).toMatchObject({ field });
  });
});
