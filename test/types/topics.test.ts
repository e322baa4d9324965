/**
 * Types of typed topics, as an application's compiler sees them: in a page, at the edge and with middleware. The
 * functions are never called: `npm run typecheck` is the test, and a case that should not compile has to fail there.
 */
import { type as arktype } from "arktype";
import * as v from "valibot";
import { expectTypeOf, test } from "vitest";
import { z } from "zod";
import {
  type Ack,
  type EventTopic,
  events,
  type InferInput,
  type InferOutput,
  type Middleware,
  type RecordInput,
  type Tide,
  type Topic,
  type TopicRecord,
} from "../../src/browser/index.ts";
import type { TopicEnv } from "../../worker/client/api.ts";
import type { openTopic as OpenTopic } from "../../worker/client/topic.ts";
import type { withSchemas as WithSchemas } from "../../worker/library.ts";

// Only their types: in Node they can't be loaded.
declare const openTopic: typeof OpenTopic;
declare const withSchemas: typeof WithSchemas;
declare const tide: Tide;
declare const env: TopicEnv;

const Order = z.object({ total: z.string().transform(Number), tags: z.array(z.string()).default([]) });
type OrderInput = { total: string; tags?: string[] | undefined };
type OrderOutput = { total: number; tags: string[] };

const Added = v.object({ text: v.string() });
const Toggled = arktype({ done: "boolean" });
const Todo = events({ added: Added, toggled: Toggled });

/** Inference of both sides of a schema, over three libraries. */
export function inference(): void {
  expectTypeOf<InferInput<typeof Order>>().toEqualTypeOf<OrderInput>();
  expectTypeOf<InferOutput<typeof Order>>().toEqualTypeOf<OrderOutput>();
  expectTypeOf<InferInput<typeof Added>>().toEqualTypeOf<{ text: string }>();
  expectTypeOf<InferOutput<typeof Toggled>>().toEqualTypeOf<{ done: boolean }>();
}

export async function ofPages(): Promise<void> {
  const orders = tide.topic("orders", { schema: Order, version: 2, upcast: { 1: (old) => ({ ...old, tags: [] }) } });
  expectTypeOf(orders).toEqualTypeOf<Topic<OrderOutput, RecordInput<OrderInput>>>();
  expectTypeOf(await orders.append({ key: "o-17", value: { total: "42" } })).toEqualTypeOf<Ack>();
  await orders.append({ value: null });
  for await (const record of orders.read()) expectTypeOf(record.value).toEqualTypeOf<OrderOutput | null>();
  for await (const batch of orders.readBatches())
    for (const { value } of batch) expectTypeOf(value).toEqualTypeOf<OrderOutput | null>();
  for await (const change of orders.changes())
    if (change.type === "append") expectTypeOf(change.record.value).toEqualTypeOf<OrderOutput | null>();
  const sum = orders.view({ name: "sum", initial: () => 0, apply: (all, { value }) => all + (value?.total ?? 0) });
  expectTypeOf(sum.current).toEqualTypeOf<number>();

  // @ts-expect-error the schema's output is not its input
  await orders.append({ value: { total: 42 } });
  // @ts-expect-error a field is missing
  await orders.appendBatch([{ value: {} }]);
  // @ts-expect-error "keep" is no answer to a value that does not fit
  tide.topic("orders", { schema: Order, onInvalid: "keep" });
  // @ts-expect-error versions are numbers
  tide.topic("orders", { schema: Order, version: "2" });
  // @ts-expect-error no Standard Schema
  tide.topic("orders", { schema: { parse: () => 1 } });
  // @ts-expect-error a version is of a schema
  tide.topic("orders", { version: 2 });
  // @ts-expect-error a misspelled option
  tide.topic("orders", { retenton: { maxBytes: 1 } });

  const plain = tide.topic<{ total: number }>("plain");
  expectTypeOf(plain).toEqualTypeOf<Topic<{ total: number }>>();
  expectTypeOf(tide.topic("any")).toEqualTypeOf<Topic>();
  // @ts-expect-error another type than the topic is told
  await plain.append({ value: { total: "42" } });
}

/** A topic of events: `emit`, and records that are told apart by their `type`. */
export async function ofEvents(): Promise<void> {
  const todos = tide.topic("todos", { schema: Todo });
  expectTypeOf(todos).toEqualTypeOf<EventTopic<{ readonly added: typeof Added; readonly toggled: typeof Toggled }>>();
  await todos.emit("added", { text: "milk" }, { key: "a", acks: "flushed" });
  await todos.emit("toggled", null);
  await todos.append(Todo.record("toggled", { done: true }, { key: "a" }));
  for await (const record of todos.read()) {
    expectTypeOf(record.type).toEqualTypeOf<"added" | "toggled">();
    if (record.type === "added") expectTypeOf(record.value).toEqualTypeOf<{ text: string } | null>();
    else expectTypeOf(record.value).toEqualTypeOf<{ done: boolean } | null>();
    expectTypeOf(record.offset).toEqualTypeOf<number>();
  }

  // @ts-expect-error the value of another type
  await todos.emit("added", { done: true });
  // @ts-expect-error no such type
  await todos.emit("removed", null);
  // @ts-expect-error a record without a type
  await todos.append({ value: { text: "milk" } });
  // @ts-expect-error events of another topic
  await todos.append(events({ moved: Added }).record("moved", { text: "a" }));
  // @ts-expect-error a type has a schema
  events({ added: "text" });
}

export async function ofTheEdge(): Promise<void> {
  const orders = openTopic(env, "orders", { schema: Order, idempotent: true });
  await orders.append({ value: { total: "42" } });
  for await (const { value } of orders.read()) expectTypeOf(value).toEqualTypeOf<OrderOutput | null>();
  const todos = openTopic(env, "todos", { schema: Todo });
  await todos.emit("toggled", { done: true }, { ifEnd: 5 });
  for await (const record of todos.read())
    if (record.type === "toggled") expectTypeOf(record.value).toEqualTypeOf<{ done: boolean } | null>();
  // @ts-expect-error the schema's output is not its input
  await orders.append({ value: { total: 42 } });
  // @ts-expect-error the edge has no such ack
  await orders.append({ value: { total: "42" } }, { acks: "written" });

  const Logs = withSchemas({ "orders/*": Order, todos: { schema: Todo, version: 1 } });
  expectTypeOf<ConstructorParameters<typeof Logs>["length"]>().toEqualTypeOf<2>();
  // @ts-expect-error no Standard Schema
  withSchemas({ orders: 5 });
}

export function middleware(): void {
  const audit: Middleware = async (step, next) => {
    if (step.operation === "append") expectTypeOf(step.acks).toBeString();
    // @ts-expect-error only an append has it
    else step.acks.toString();
    for (const record of step.records) record.headers.set("seen", "yes");
    await next();
  };
  expectTypeOf(tide.topic("a", { use: [audit] }).use(audit)).toEqualTypeOf<Topic>();
  // @ts-expect-error no function
  tide.topic("a").use({});
  expectTypeOf<TopicRecord<number>["value"]>().toEqualTypeOf<number | null>();
}

test("the types of topics are checked by the compiler", () => undefined);
