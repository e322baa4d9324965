/** What topics of events, and middleware, do on every host. */
import { describe, expect, test } from "vitest";
import * as z from "zod";
import { events, type Middleware, type Topic } from "../../src/browser/index.ts";
import { fails } from "./check.ts";
import type { TypedHost } from "./typed-contract.ts";

async function all<R>(records: AsyncIterable<R>): Promise<R[]> {
  const found: R[] = [];
  for await (const record of records) found.push(record);
  return found;
}
const Todo = events({ added: z.object({ id: z.string(), text: z.string() }), toggled: z.object({ id: z.string() }) });

/** Notes what it sees, under its name. */
const noting =
  (name: string, seen: string[]): Middleware =>
  async (step, next) => {
    seen.push(`${name} ${step.operation} ${step.records.length}`);
    const ack = await next();
    seen.push(`${name} ${ack ? `acked ${ack.offset}` : `read ${step.records[0]?.offset}`}`);
  };
const flip = (bytes: Uint8Array | null): Uint8Array | null => bytes && bytes.map((byte) => byte ^ 0xff);
const flipping: Middleware = async (step, next) => {
  if (step.operation === "append") for (const record of step.records) record.valueBytes = flip(record.valueBytes);
  await next();
  if (step.operation === "read") for (const record of step.records) record.valueBytes = flip(record.valueBytes);
};

export function typedEventsContract(newHost: () => Promise<TypedHost>): void {
  describe("events", () => {
    test("emit and record append; a record has its type, which tells the type of its value", async () => {
      const { topic } = await newHost();
      const todos = topic("todos", { schema: Todo });
      expect(await todos.emit("added", { id: "1", text: "milk" }, { key: "1", timestamp: 7 })).toMatchObject({
        offset: 0,
        acks: "flushed",
        timestamp: 7,
      });
      await todos.appendBatch([
        Todo.record(
          "added",
          { id: "2", text: "tea" },
          {
            headers: [
              ["h", "x"],
              ["tm.type", "forged"],
            ],
          },
        ),
        Todo.record("toggled", { id: "1" }, { headers: new Map([["h", "y"]]) }),
      ]);
      await todos.append(Todo.record("toggled", null, { key: "1", headers: { h: "z" } }));
      const lines: string[] = [];
      for (const event of await all(todos.read())) {
        if (event.value === null) lines.push(`${event.type} nothing`);
        else if (event.type === "added") lines.push(`added ${event.value.text}`);
        else lines.push(`toggled ${event.value.id}`);
        expect(event.rawHeaders.filter(([name]) => name === "tm.type")).toHaveLength(1);
      }
      expect(lines).toEqual(["added milk", "added tea", "toggled 1", "toggled nothing"]);
      const view = todos.view({
        name: "open",
        initial: () => [] as string[],
        apply: (open, event) => (event.type === "added" && event.value ? [...open, event.value.text] : open),
      });
      await view.ready();
      expect(view.current).toEqual(["milk", "tea"]);
      view.close();
    });

    test("what has no type, another type, or a value of another type does not fit", async () => {
      const { topic } = await newHost();
      const todos = topic("todos", { schema: Todo });
      const wrong = await fails("SCHEMA_MISMATCH", todos.emit("added", { id: "1" } as never));
      expect(wrong.details).toMatchObject({ type: "added", topic: "todos", issues: [{ path: ["text"] }] });
      const plain: Topic = todos as never;
      for (const [headers, message] of [
        [{}, "the record has no event type: append it with emit() (added, toggled)"],
        [{ "tm.type": "toString" }, 'there is no event type "toString"; there are added, toggled'],
        [{ "tm.type": null }, "the record has no event type: append it with emit() (added, toggled)"],
      ] as const) {
        const error = await fails("SCHEMA_MISMATCH", plain.append({ value: { id: "1" }, headers }));
        expect(error.details["issues"]).toEqual([{ message, path: [] }]);
      }
      const none = await fails("INVALID_ARGUMENT", todos.emit("removed" as never, {} as never));
      expect(none.message).toContain('there is no event type "removed"; there are added, toggled');
      await fails("INVALID_ARGUMENT", todos.emit("toggled", { id: "1" }, { headers: 5 as never }));
      expect(await all(topic("todos").read())).toEqual([]);
    });

    test("an upcast gets the type", async () => {
      const { topic } = await newHost();
      const old = events({ added: z.string(), toggled: z.string() });
      const before = topic("todos", { schema: old });
      await before.emit("added", "milk");
      await before.emit("toggled", "1");
      const upcast = {
        1: (value: unknown, { type }: { readonly type: string | undefined }) =>
          type === "added" ? { id: "?", text: value } : { id: value },
      };
      const now = topic("todos", { schema: Todo, version: 2, upcast });
      expect((await all(now.read())).map(({ type, value }) => [type, value])).toEqual([
        ["added", { id: "?", text: "milk" }],
        ["toggled", { id: "1" }],
      ]);
    });
  });

  describe("middleware", () => {
    test("is an onion around the log, for append, appendBatch, appendAll and reads; use() adds inside", async () => {
      const { topic } = await newHost();
      const seen: string[] = [];
      const orders = topic<number>("orders", { use: [noting("outer", seen)] }).use(noting("inner", seen));
      await orders.append({ value: 1 });
      await orders.appendBatch([{ value: 2 }, { value: 3 }]);
      await orders.appendAll([{ value: 4 }]);
      expect(seen.splice(0)).toEqual([
        ...["outer append 1", "inner append 1", "inner acked 0", "outer acked 0"],
        ...["outer append 2", "inner append 2", "inner acked 2", "outer acked 2"],
        ...["outer append 1", "inner append 1", "inner acked 3", "outer acked 3"],
      ]);
      expect((await all(orders.read({ from: 1, to: 3 }))).map(({ value }) => value)).toEqual([2, 3]);
      expect(seen).toEqual(["outer read 2", "inner read 2", "inner read 1", "outer read 1"]);
    });

    test("use() turns a plain topic into one with middleware: what was appended before did not pass it", async () => {
      const { topic } = await newHost();
      const orders = topic<number>("orders");
      const before = orders.append({ value: 1 });
      const seen: string[] = [];
      orders.use(noting("late", seen));
      const after = orders.append({ value: 2 });
      expect([(await before).offset, (await after).offset]).toEqual([0, 1]);
      expect(seen).toEqual(["late append 1", "late acked 1"]);
    });

    test("seals values under a schema, with headers: the log has no plain value, readers and views do", async () => {
      const { topic, prepare } = await newHost();
      await prepare("orders");
      const sign: Middleware = async (step, next) => {
        if (step.operation === "append") {
          for (const { headers } of step.records) {
            headers.set("by", "me");
            headers.add("by", "you");
            headers.delete("secret");
          }
        }
        await next();
        if (step.operation === "read") for (const { headers } of step.records) headers.set("seen", headers.get("by")!);
      };
      const schema = z.object({ n: z.number() });
      const orders = topic("orders", { schema, use: [sign, flipping] });
      await Promise.all([0, 1, 2].map((n) => orders.append({ value: { n }, headers: { secret: "x", a: "b" } })));
      await fails("SCHEMA_MISMATCH", orders.append({ value: { n: "3" } as never }));
      const [stored] = await all(topic<Uint8Array>("orders", { serializer: "bytes" }).read());
      expect(new TextDecoder().decode(flip(stored!.value)!)).toBe('{"n":0}');
      expect(stored!.rawHeaders.map(([name, value]) => `${name}=${new TextDecoder().decode(value!)}`)).toEqual([
        "a=b",
        "by=me",
        "by=you",
      ]);
      const read = await all(orders.read());
      expect(read.map(({ value, headers }) => [value!.n, headers["seen"]])).toEqual([
        [0, "you"],
        [1, "you"],
        [2, "you"],
      ]);
      const sum = orders.view({ name: "sum", initial: () => 0, apply: (state, { value }) => state + value!.n });
      await sum.ready();
      expect(sum.current).toBe(3);
      sum.close();
    });

    test("keeps the order of appends, however long each takes before next()", async () => {
      const { topic } = await newHost();
      const waits: (() => void)[] = [];
      const slow: Middleware = async (step, next) => {
        if (step.operation === "append") await new Promise<void>((resolve) => waits.push(resolve));
        await next();
      };
      const orders = topic<number>("orders", { use: [slow] });
      const acks = [0, 1, 2, 3].map((value) => orders.append({ value }));
      while (waits.length < 4) await new Promise((resolve) => setTimeout(resolve, 1));
      for (const resolve of waits.toReversed()) resolve();
      expect((await Promise.all(acks)).map(({ offset }) => offset)).toEqual([0, 1, 2, 3]);
      expect((await all(topic("orders").readBatches())).map(({ count }) => count)).toEqual([4]);
    });

    test("errors: a throw refuses alone, no next() and two are named, a failed append can't be hidden", async () => {
      const { topic, tooLarge } = await newHost();
      let behave: (step: Parameters<Middleware>[0], next: Parameters<Middleware>[1]) => unknown = (_, next) => next();
      const orders = topic<number>("orders", { use: [(step, next) => behave(step, next)], ...tooLarge.options });
      const with_ = (how: typeof behave, value: unknown = 1): Promise<unknown> => {
        behave = how;
        return orders.append({ value: value as number });
      };
      const refusal = new Error("not allowed");
      await expect(with_(() => Promise.reject(refusal))).rejects.toBe(refusal);
      expect(
        (
          await fails(
            "INVALID_ARGUMENT",
            with_(() => undefined),
          )
        ).message,
      ).toMatch(/returned without next\(\)/);
      const twice = with_(async (_, next) => {
        await next();
        await next();
      });
      expect((await fails("INVALID_ARGUMENT", twice)).message).toMatch(/called next\(\) twice/);
      const hiding = with_((_, next) => next().catch(() => undefined), tooLarge.text);
      await fails("RECORD_TOO_LARGE", hiding);
      expect(await with_((_, next) => void next())).toMatchObject({ offset: 1 });
      await fails(
        "RECORD_TOO_LARGE",
        with_((_, next) => void next(), tooLarge.text),
      );
      await fails(
        "INVALID_ARGUMENT",
        with_((step) => step.records[0]!.headers.set("a", 5 as never)),
      );
      await fails(
        "INVALID_ARGUMENT",
        with_((step) => step.records[0]!.fail(refusal)),
      );
      expect((await all(topic("orders").read())).map(({ offset }) => offset)).toEqual([0, 1]);
      const atOnce = with_((_, next) => void Promise.all([next(), next()]).catch(() => undefined));
      expect((await fails("INVALID_ARGUMENT", atOnce)).message).toMatch(/called next\(\) twice/);
      behave = async (step, next) => {
        await next();
        step.records[1]!.fail(refusal);
      };
      await orders.appendBatch([{ value: 5 }, { value: 6 }]).catch(() => undefined);
      behave = async (step, next) => {
        await next();
        if (step.records.length > 1) step.records[1]!.fail(refusal);
      };
      const [good, bad] = await all(orders.read({ from: 3 }));
      expect(good!.value).toBe(5);
      expect(() => bad!.value).toThrow(refusal);
      behave = () => Promise.reject(refusal);
      await expect(all(orders.read())).rejects.toBe(refusal);
    });
  });

  describe("records that middleware spoils", () => {
    const spoilt: [string, (record: { keyBytes: unknown; valueBytes: unknown }) => void][] = [
      ["valueBytes", (record) => void (record.valueBytes = "text")],
      ["valueBytes", (record) => void (record.valueBytes = undefined)],
      ["valueBytes", (record) => void (record.valueBytes = new Uint16Array(2))],
      ["keyBytes", (record) => void (record.keyBytes = 5)],
    ];

    test.each(spoilt)(
      "%s that is no bytes: the append is refused alone, and a read fails that record",
      async (field, spoil) => {
        const { topic } = await newHost();
        let spoils: "append" | "read" = "append";
        const use: Middleware = async (step, next) => {
          if (step.operation === "append" && spoils === "append") spoil(step.records[0]!);
          await next();
          if (step.operation === "read" && spoils === "read") spoil(step.records[0]!);
        };
        const orders = topic<number>("orders", { use: [use] });
        const refused = await fails("INVALID_ARGUMENT", orders.append({ value: 1 }));
        expect(refused.details["field"]).toBe(`${field} of a middleware's record`);
        spoils = "read";
        await orders.appendBatch([
          { key: "a", value: 1 },
          { key: "b", value: 2 },
        ]);
        const [bad, good] = await all(orders.read());
        expect(() => bad!.value).toThrow(`${field} of a middleware's record must be bytes`);
        expect(good!.value).toBe(2);
      },
    );

    test("the list of a step's records can't be changed", async () => {
      const { topic } = await newHost();
      const use: Middleware = (step, next) => {
        (step.records as unknown[]).length = 0;
        return next();
      };
      const orders = topic<number>("orders", { use: [use] });
      await expect(orders.append({ value: 1 })).rejects.toThrow(TypeError);
      await topic<number>("orders").append({ value: 2 });
      expect((await all(topic<number>("orders").read())).map(({ value }) => value)).toEqual([2]);
    });
  });

  describe("bytes that the application uses again", () => {
    const shared = new Uint8Array(1);
    const bytesOf = (value: number): Uint8Array => (shared.fill(value), shared);
    const serializer = { serialize: bytesOf, deserialize: ([value]: Uint8Array) => value! };
    const numbers = [1, 2, 3].map((value) => ({ value }));
    const show = async (topic: Topic<number>): Promise<unknown[]> =>
      (await all(topic.read())).map(({ keyBytes, value, headers }) => [keyBytes && [...keyBytes], value, headers["h"]]);

    test("a serializer may give one buffer for all records of a batch", async () => {
      const { topic } = await newHost();
      await topic<number>("t", { serializer }).appendBatch(numbers);
      expect(await show(topic<number>("t", { serializer }))).toEqual(
        numbers.map(({ value }) => [null, value, undefined]),
      );
    });

    test("so may a generator of a batch, for keys, values and headers", async () => {
      const { topic } = await newHost();
      const made = function* () {
        for (const { value } of numbers) yield { key: bytesOf(value), value: shared, headers: { h: shared } };
      };
      await topic<Uint8Array>("t", { serializer: "bytes" }).appendBatch(made() as never);
      const plain = topic<Uint8Array>("t", { serializer: "bytes" });
      expect((await all(plain.read())).map(({ keyBytes, value, headers }) => [...keyBytes!, ...value!, headers["h"]]))
        // prettier-ignore
        .toEqual([
          [1, 1, "\u0001"],
          [2, 2, "\u0002"],
          [3, 3, "\u0003"],
        ]);
    });

    test("middleware may set headers from one buffer, and can not replace the headers themselves", async () => {
      const { topic } = await newHost();
      let replaces = false;
      const use: Middleware = (step, next) => {
        for (const [at, record] of step.records.entries())
          if (replaces) (record as { headers: unknown }).headers = [["h", "12"]];
          else record.headers.set("h", bytesOf(at + 65));
        return next();
      };
      const orders = topic<number>("t", { use: [use] });
      await orders.appendBatch(numbers);
      replaces = true;
      await expect(orders.append({ value: 4 })).rejects.toThrow(TypeError);
      replaces = false;
      expect(await show(orders)).toEqual(numbers.map(({ value }) => [null, value, "@ABC"[value]]));
    });
  });

  describe("options from plain JavaScript", () => {
    const schema = z.number();
    test.each<[object, string]>([
      [{ schema: 5 }, "schema"],
      [{ schema: { "~standard": { version: 2, validate: () => ({}) } } }, "schema"],
      [{ schema: { "~standard": { version: 1 } } }, "schema"],
      [{ schema: { ...Todo, types: { added: 5 } } }, "events.added"],
      [{ schema, version: 0 }, "version"],
      [{ schema, version: 1.5 }, "version"],
      [{ schema, version: "2" }, "version"],
      [{ schema, upcast: { 1: () => 1 } }, "version"],
      [{ schema, version: 2, upcast: 5 }, "upcast"],
      [{ schema, version: 2, upcast: [] }, "upcast"],
      [{ schema, version: 2, upcast: new Map([[1, () => 1]]) }, "upcast"],
      [{ schema, version: 2, upcast: { 1: 5 } }, "upcast.1"],
      [{ schema, version: 2, upcast: { 2: () => 1 } }, "upcast.2"],
      [{ schema, version: 2, upcast: { one: () => 1 } }, "upcast.one"],
      [{ schema, onInvalid: "ignore" }, "onInvalid"],
      [{ schema, schemaName: "" }, "schemaName"],
      [{ schema, schemaName: 5 }, "schemaName"],
      [{ use: [5] }, "use[0]"],
      [{ use: () => 1 }, "use"],
      [{ use: [], version: 2 }, "schema"],
      [{ version: 2 }, "schema"],
      [{ upcast: { 1: () => 1 } }, "schema"],
      [{ schemaName: "order" }, "schema"],
      [{ onInvalid: "skip" }, "schema"],
      [{ schema: null }, "schema"],
    ])("%j: each append and read is INVALID_ARGUMENT of %s", async (options, field) => {
      const { topic } = await newHost();
      const wrong = topic<number>("t", options as never);
      expect((await fails("INVALID_ARGUMENT", wrong.append({ value: 1 }))).details).toMatchObject({ field });
      await topic("t").append({ value: 1 });
      expect((await fails("INVALID_ARGUMENT", all(wrong.read()))).details).toMatchObject({ field });
    });

    test.each([undefined, null, 5, "audit", {}, [() => 1]])(
      "use(%j) is refused at once, and is as if it was not called",
      async (middleware) => {
        const { topic } = await newHost();
        const plain = topic<number>("t");
        const { details } = await fails("INVALID_ARGUMENT", () => plain.use(middleware as never));
        expect(details).toMatchObject({ field: "use", allowed: "a function" });
        await plain.append({ value: 1 });
        expect((await all(plain.read())).map(({ value }) => value)).toEqual([1]);
      },
    );
  });
}
