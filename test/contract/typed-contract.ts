/**
 * What a topic with a schema does on every host: what may be appended, what a reader gets, in which order, with which
 * errors. The schemas are those of zod, valibot and arktype, and some made by hand.
 */
import { type } from "arktype";
import * as v from "valibot";
import { describe, expect, test, vi } from "vitest";
import * as z from "zod";
import type { StandardSchema, TidemarkError, Tide, Topic } from "../../src/browser/index.ts";
import { fails } from "./check.ts";

/** A host without topics. */
export interface TypedHost {
  /** Each call gives an object of its own, over the same logs. */
  readonly topic: Tide["topic"];
  /** Makes a topic that takes any bytes, where the host has others. */
  prepare(name: string): Promise<unknown>;
  /** Options, and a text under which a record is too large then. */
  readonly tooLarge: { readonly options: object; readonly text: string };
}

async function all<R>(records: AsyncIterable<R>): Promise<R[]> {
  const found: R[] = [];
  for await (const record of records) found.push(record);
  return found;
}
const values = async (topic: Topic<never, never>) => (await all(topic.read())).map(({ value }) => value as unknown);

/** A schema made by hand. `answer` may be asynchronous, and may be wrong. */
const byHand = <T>(answer: (value: T) => unknown): StandardSchema<T, T> => ({
  "~standard": { version: 1, vendor: "test", validate: answer as never },
});

const ORDERS = {
  zod: z.object({ id: z.string(), total: z.number().min(0) }),
  valibot: v.object({ id: v.string(), total: v.pipe(v.number(), v.minValue(0)) }),
  arktype: type({ id: "string", total: "number >= 0" }),
  async: z.object({ id: z.string(), total: z.number().min(0) }).refine(async () => true),
};

export function typedContract(newHost: () => Promise<TypedHost>): void {
  describe.each(Object.entries(ORDERS))("a schema of %s", (_, schema: StandardSchema) => {
    test("takes what fits; what does not is refused alone, with its issues, and is never in the log", async () => {
      const { topic } = await newHost();
      const orders = topic("orders", { schema });
      const wrong = { id: "b", total: -1 };
      const results = await Promise.allSettled([
        orders.append({ value: { id: "a", total: 1 } }),
        orders.append({ value: wrong }),
        orders.append({ key: "k", value: { id: "c", total: 3 }, headers: { h: "1" } }),
        orders.append({ value: "no order" }),
        orders.append({ key: "k", value: null }),
      ]);
      expect(
        results.map((result) => (result.status === "fulfilled" ? result.value.offset : result.reason.code)),
      ).toEqual([0, "SCHEMA_MISMATCH", 1, "SCHEMA_MISMATCH", 2]);
      const { reason } = results[1] as { reason: TidemarkError };
      expect(reason.kind).toBe("fix");
      expect(reason.details).toMatchObject({ topic: "orders", issueCount: 1, issues: [{ path: ["total"] }] });
      expect(reason.message).toMatch(/^SCHEMA_MISMATCH: the value does not fit the schema of the topic: total: /);
      const read = await all(orders.read());
      expect(read.map(({ value, key, headers }) => ({ value, key, headers: { ...headers } }))).toEqual([
        { value: { id: "a", total: 1 }, key: null, headers: {} },
        { value: { id: "c", total: 3 }, key: "k", headers: { h: "1" } },
        { value: null, key: "k", headers: {} },
      ]);
    });

    test("appendBatch is all or none and names the record; appendAll ends with one that does not fit", async () => {
      const { topic } = await newHost();
      const orders = topic("orders", { schema });
      const order = (id: string, total: unknown) => ({ value: { id, total } });
      const error = await fails("SCHEMA_MISMATCH", orders.appendBatch([order("a", 1), order("b", "2"), order("c", 3)]));
      expect(error.details).toMatchObject({ record: 1, issues: [{ path: ["total"] }] });
      expect(await values(orders as never)).toEqual([]);
      expect(await orders.appendBatch([order("a", 1), order("b", 2)])).toMatchObject({ baseOffset: 0, offset: 1 });
      await fails("SCHEMA_MISMATCH", orders.appendAll([order("c", 3), order("d", -4)]));
      expect(await values(orders as never)).toHaveLength(3);
      expect(await orders.appendAll([order("e", 5), order("f", 6)])).toEqual({
        appended: 2,
        firstOffset: 3,
        lastOffset: 4,
      });
    });
  });

  describe("appends", () => {
    test("keep their order when their judgements take different times; the record of before counts", async () => {
      const { topic } = await newHost();
      const pending = new Map<number, (result: unknown) => void>();
      const schema = byHand<{ n: number }>(
        (value) => new Promise((resolve) => pending.set(value.n, () => resolve({ value }))),
      );
      const orders = topic("orders", { schema });
      const record = { value: { n: 0 }, key: new Uint8Array([0]) };
      const acks = [0, 1, 2, 3].map((n) => {
        record.value.n = n;
        record.key[0] = n;
        return orders.append(record);
      });
      const batch = orders.appendBatch([{ value: { n: 4 } }, { value: { n: 5 } }]);
      while (pending.size < 6) await new Promise((resolve) => setTimeout(resolve, 1));
      for (const n of [5, 3, 1, 4, 2, 0]) pending.get(n)!(undefined);
      expect((await Promise.all(acks)).map(({ offset }) => offset)).toEqual([0, 1, 2, 3]);
      expect(await batch).toMatchObject({ baseOffset: 4, offset: 5 });
      const plain = topic<{ n: number }>("orders");
      expect((await all(plain.read())).map(({ value, keyBytes }) => [value!.n, keyBytes?.[0]])).toEqual([
        [0, 0],
        [1, 1],
        [2, 2],
        [3, 3],
        [4, undefined],
        [5, undefined],
      ]);
    });

    test("one that is refused late holds up nothing and leaves no hole", async () => {
      const { topic } = await newHost();
      const schema = byHand<number>(async (value) => (value === 1 ? { issues: [{ message: "odd" }] } : { value }));
      const numbers = topic("numbers", { schema });
      const results = await Promise.allSettled([0, 1, 2].map((value) => numbers.append({ value })));
      expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      expect((await all(numbers.read())).map(({ offset, value }) => [offset, value])).toEqual([
        [0, 0],
        [1, 2],
      ]);
    });

    test("that nobody awaits share a batch, with a schema that answers at once and with an async one", async () => {
      for (const schema of [byHand<number>((value) => ({ value })), byHand<number>(async (value) => ({ value }))]) {
        const { topic } = await newHost();
        const numbers = topic("numbers", { schema });
        await numbers.append({ value: -1 });
        await Promise.all(Array.from({ length: 100 }, (_, value) => numbers.append({ value })));
        const batches = await all(topic("numbers").readBatches());
        expect(batches.map(({ count }) => count)).toEqual([1, 100]);
      }
    });

    test("what is judged is what a reader will get: a date is a string in JSON by then", async () => {
      const { topic } = await newHost();
      const dates = topic("dates", { schema: z.object({ at: z.date() }) });
      const error = await fails("SCHEMA_MISMATCH", dates.append({ value: { at: new Date() } }));
      expect(error.details["issues"]).toEqual([{ path: ["at"], message: expect.stringMatching(/date.*string/i) }]);
      const coerced = topic("coerced", { schema: z.object({ at: z.coerce.date() }) });
      await coerced.append({ value: { at: new Date(5) } });
      expect((await all(coerced.read()))[0]!.value).toEqual({ at: new Date(5) });
    });

    test("the log holds the input: a transform whose output is not its input runs once, on each read", async () => {
      const { topic } = await newHost();
      const schema = z.object({ name: z.string().transform((text) => text.length), by: z.string().default("nobody") });
      const typed = topic("t", { schema });
      await typed.append({ value: { name: "four" } });
      expect((await all(topic("t").read()))[0]!.value).toEqual({ name: "four" });
      expect((await all(typed.read()))[0]!.value).toEqual({ name: 4, by: "nobody" });
    });

    test("a schema that throws or answers nonsense refuses the value", async () => {
      const { topic } = await newHost();
      const answers: [string, () => unknown][] = [
        [
          "the schema threw: Error: broken",
          () => {
            throw new Error("broken");
          },
        ],
        ["the schema threw: Error: late", () => Promise.reject(new Error("late"))],
        ["the schema gave neither a value nor issues", () => undefined],
        ["the schema gave neither a value nor issues", () => ({})],
        ["not valid", () => ({ issues: [null] })],
        ["the schema refused it, and names no issue", () => ({ issues: [] })],
        ["the schema threw: something that has no text", () => Promise.reject(Object.create(null))],
        [
          "the schema threw: something that has no text",
          () => {
            throw Object.create(null);
          },
        ],
      ];
      for (const [message, answer] of answers) {
        const typed = topic("t", { schema: byHand(answer) });
        const error = await fails("SCHEMA_MISMATCH", typed.append({ value: 1 }));
        expect(error.details["issues"]).toEqual([{ message, path: [] }]);
      }
      expect(await all(topic("t").read())).toEqual([]);
    });

    test("issues are bounded, and survive structured clone and JSON", async () => {
      const { topic } = await newHost();
      const issue = { message: "m".repeat(9999), path: ["a", 1, { key: Symbol("s") }, { key: "b" }, "c".repeat(500)] };
      const typed = topic("t", { schema: byHand(() => ({ issues: Array.from({ length: 1000 }, () => issue) })) });
      const { details, message } = await fails("SCHEMA_MISMATCH", typed.append({ value: 1 }));
      expect(details).toMatchObject({ issueCount: 1000 });
      expect(details["issues"]).toHaveLength(20);
      expect(structuredClone(details)).toEqual(JSON.parse(JSON.stringify(details)));
      expect(JSON.stringify(details).length).toBeLessThan(20_000);
      expect(message.length).toBeLessThan(2_000);
    });
  });

  describe("reads", () => {
    /** A topic of numbers in which not all is a number: offsets 1 and 3 are not, 4 is no JSON, 5 is a tombstone. */
    async function mixed() {
      const { topic, prepare } = await newHost();
      await prepare("n");
      const plain = topic("n");
      await plain.appendBatch([{ value: 0 }, { value: "one" }, { value: 2 }]);
      await plain.append({ value: "three" });
      await topic<string>("n", { serializer: "text" }).append({ value: "{" });
      await plain.append({ key: "k", value: null });
      const number = z.number();
      return (options: object) => topic("n", { schema: number, ...options });
    }
    const shown = async (records: AsyncIterable<{ readonly offset: number; readonly value: unknown }>) =>
      (await all(records)).map((record) => {
        try {
          return [record.offset, record.value];
        } catch (thrown) {
          return [record.offset, (thrown as TidemarkError).code];
        }
      });

    test("onInvalid throw: the value throws, and the records around it can be read", async () => {
      const topic = (await mixed())({});
      expect(await shown(topic.read())).toEqual([
        [0, 0],
        [1, "SCHEMA_MISMATCH"],
        [2, 2],
        [3, "SCHEMA_MISMATCH"],
        [4, "UNSUPPORTED_FORMAT"],
        [5, null],
      ]);
      const [, one] = await all(topic.read());
      expect(() => one!.value).toThrow(
        /^SCHEMA_MISMATCH: the record at offset 1 does not fit the schema of the topic: /,
      );
      expect(one!.valueBytes).toHaveLength(5);
      for (const onInvalid of ["skip", () => 7])
        expect(await shown((await mixed())({ onInvalid }).read())).toHaveLength(onInvalid === "skip" ? 3 : 6);
    });

    test("onInvalid skip: left out of reads, batches, changes and views; positions count offsets", async () => {
      const topic = (await mixed())({ onInvalid: "skip" });
      expect(await shown(topic.read())).toEqual([
        [0, 0],
        [2, 2],
        [5, null],
      ]);
      expect(await shown(topic.read({ from: { last: 3 } }))).toEqual([[5, null]]);
      expect(
        (await all(topic.readBatches())).map(({ count, baseOffset, nextOffset }) => [count, baseOffset, nextOffset]),
      ).toEqual([
        [2, 0, 3],
        [0, 3, 4],
        [0, 4, 5],
        [1, 5, 6],
      ]);
      const told: unknown[] = [];
      for await (const change of topic.changes()) {
        told.push(change.type === "append" ? change.record.offset : change);
        if (change.type === "level") break;
      }
      expect(told).toEqual([0, 2, 5, expect.objectContaining({ type: "level", watermark: 6, live: true })]);
      const sum = topic.view({ name: "sum", initial: () => 0, apply: (state, { value }) => state + (value ?? 0) });
      await sum.ready();
      expect([sum.current, sum.at]).toEqual([2, { offset: 6, provisional: 0 }]);
      sum.close();
    });

    test("onInvalid with a function, asynchronous or not: it gets record, value and issues", async () => {
      const seen: unknown[] = [];
      const onInvalid = (record: { readonly offset: number; readonly value: unknown }, issues: readonly unknown[]) => {
        const value = record.offset === 4 ? "unreadable" : record.value;
        seen.push([record.offset, value, issues.length]);
        return record.offset === 1 ? 1 : Promise.resolve(record.offset);
      };
      const topic = (await mixed())({ onInvalid });
      expect((await shown(topic.read())).map(([, value]) => value)).toEqual([0, 1, 2, 3, 4, null]);
      expect(seen).toEqual([
        [1, "one", 1],
        [3, "three", 1],
        [4, "unreadable", 1],
      ]);
      const failing = (await mixed())({
        onInvalid: () => {
          throw new Error("no value");
        },
      });
      await expect(all(failing.read())).rejects.toThrow("no value");
    });

    test("a view ends with a value that does not fit, if its function reads that", async () => {
      const view = (await mixed())({}).view({
        name: "sum",
        initial: () => 0,
        apply: (state: number, { value }: { readonly value: unknown }) => state + (value as number),
      });
      const reported = vi.fn();
      vi.stubGlobal("reportError", reported);
      const error = await fails("SCHEMA_MISMATCH", view.ready());
      expect(reported).toHaveBeenCalledExactlyOnceWith(error);
      vi.unstubAllGlobals();
    });
  });

  describe("versions", () => {
    const upcast = { 1: (n: unknown) => [n], 2: async (list: unknown) => ({ list }) };
    const schema = z.object({ list: z.array(z.number()) });

    test("a header names the version; older ones go through one upcast after the other", async () => {
      const { topic } = await newHost();
      await topic("t").append({ value: 1 });
      await topic("t", { schema: z.array(z.number()), version: 2, schemaName: "list" }).append({ value: [2] });
      const newest = topic("t", { schema, version: 3, schemaName: "list", upcast });
      await newest.append({ value: { list: [3] }, headers: { "tm.schema": "1", other: "x" } });
      const read = await all(newest.read());
      expect(read.map(({ value }) => value)).toEqual([{ list: [1] }, { list: [2] }, { list: [3] }]);
      expect(read.map(({ headers }) => ({ ...headers }))).toEqual([
        {},
        { "tm.schema": "list/2" },
        { "tm.schema": "list/3", other: "x" },
      ]);
    });

    test.each([
      ["9", "it is of version 9; this application knows versions up to 3"],
      ["other/2", 'it was written under the schema "other/2", and this topic has "list"'],
      ["two", 'its header tm.schema is "two", which names no version'],
      ["1", "it is of version 1, and there is no upcast from there: give upcast: { 1: … }"],
      ["2", "the upcast from version 2 threw: Error: broken"],
    ])("a record of the version %s does not fit: %s", async (header, message) => {
      const { topic } = await newHost();
      await topic("t").append({ value: 1, headers: { "tm.schema": header } });
      const broken = { 2: () => Promise.reject(new Error("broken")) };
      const typed = topic("t", { schema, version: 3, schemaName: "list", upcast: broken });
      const [record] = await all(typed.read());
      await fails("SCHEMA_MISMATCH", () => record!.value);
      const issues: unknown[] = [];
      const asked = {
        schema,
        version: 3,
        schemaName: "list",
        upcast: broken,
        onInvalid: (_: unknown, all: unknown) => issues.push(all),
      };
      await all(topic("t", asked).read());
      expect(issues).toEqual([[{ message, path: [] }]]);
    });
  });
}
