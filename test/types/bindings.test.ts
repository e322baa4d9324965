/**
 * Types of the bindings and of the client, as an application's compiler sees them. The functions are never called: `npm
 * run typecheck` is the test, and a case that should not compile has to fail there.
 */
import { createCollection } from "@tanstack/db";
import type { ComputedRef, MaybeRefOrGetter } from "vue";
import { computed, ref } from "vue";
import { expectTypeOf, test } from "vitest";
import { z } from "zod";
import {
  type Ack,
  events,
  type Middleware,
  type RecordInput,
  type Tide,
  type TidemarkError,
  type Topic,
  type TopicRecord,
} from "../../src/browser/index.ts";
import * as react from "../../src/bindings/react.ts";
import * as solid from "../../src/bindings/solid.ts";
import * as svelte from "../../src/bindings/svelte.ts";
import { tidemarkCollectionOptions } from "../../src/bindings/tanstack-db.ts";
import * as vue from "../../src/bindings/vue.ts";
import { type ClientAck, type ClientTopic, connect, events as clientEvents } from "../../src/client/index.ts";

declare const tide: Tide;

const Note = z.object({ text: z.string(), at: z.string().transform((text) => new Date(text)) });
type NoteInput = { text: string; at: string };
type NoteOutput = { text: string; at: Date };
const Todo = events({ added: z.object({ text: z.string() }), removed: z.object({}) });

const notes = react.defineTopic("notes", { schema: Note });
const todos = react.defineTopic("todos", { schema: Todo });
const plain = react.defineTopic<string>("plain");
const texts = react.defineView(notes, {
  name: "texts",
  initial: (): readonly string[] => [],
  apply: (all, { value }) => (value ? [...all, value.text, value.at.toISOString()] : all),
});
const added = react.defineView(todos, {
  name: "added",
  initial: () => 0,
  apply: (n, record) => (record.type === "added" && record.value ? n + record.value.text.length : n),
});

/** As a function gets it that passes it on. */
declare const given: (() => typeof texts) | typeof texts;
declare const wrapped: MaybeRefOrGetter<vue.ViewDefinition<readonly string[], NoteOutput, RecordInput<NoteInput>>>;

export function definitions(): void {
  expectTypeOf(notes).toEqualTypeOf<react.TopicDefinition<NoteOutput, RecordInput<NoteInput>>>();
  expectTypeOf(plain).toEqualTypeOf<react.TopicDefinition<string>>();
  expectTypeOf(texts.initial()).toEqualTypeOf<readonly string[]>();
  // @ts-expect-error the state has another type
  react.defineView(notes, { name: "bad", initial: () => 0, apply: () => "text" });
  // @ts-expect-error a definition is closed by its components, not by a signal
  react.defineView(notes, { name: "bad", initial: () => 0, apply: (n) => n, signal: new AbortController().signal });
}

export function ofReact(): void {
  expectTypeOf(react.useView(texts)).toEqualTypeOf<readonly string[]>();
  expectTypeOf(react.useView(added)).toEqualTypeOf<number>();
  const count = react.useView(texts, { select: (all, { isReady }) => (isReady ? all.length : undefined) });
  expectTypeOf(count).toEqualTypeOf<number | undefined>();
  const { append, pending, error } = react.useAppend(notes);
  expectTypeOf(append({ value: { text: "a", at: "2026-01-01" } })).toEqualTypeOf<Promise<Ack | undefined>>();
  expectTypeOf(pending[0]!.record.value).toEqualTypeOf<NoteInput | null>();
  expectTypeOf(error).toEqualTypeOf<TidemarkError | undefined>();
  expectTypeOf(react.useRecords(notes, { last: 3 })[0]!.value).toEqualTypeOf<NoteOutput | null>();
  expectTypeOf(react.useRecords<number>("numbers")).toEqualTypeOf<readonly TopicRecord<number>[]>();
  const [record] = react.useRecords(todos);
  if (record?.type === "added") expectTypeOf(record.value).toEqualTypeOf<{ text: string } | null>();
  void react.useAppend(todos).append(Todo.record("added", { text: "milk" }));
  react.TideProvider({ name: "a", options: { persist: true } });
  react.TideProvider({ tide });
  // @ts-expect-error the schema's output is not its input
  void append({ value: { text: "a", at: new Date() } });
  // @ts-expect-error a record without a type
  void react.useAppend(todos).append({ value: { text: "milk" } });
  // @ts-expect-error a name or a tide
  react.TideProvider({ name: "a", tide });
  // @ts-expect-error the selection is compared with its own type
  react.useView(added, { select: (n) => n, equals: (a: string, b: string) => a === b });
}

export function ofVue(): void {
  const { state, isReady, error } = vue.useView(texts);
  expectTypeOf(state).toEqualTypeOf<ComputedRef<readonly string[]>>();
  expectTypeOf(isReady.value).toEqualTypeOf<boolean>();
  expectTypeOf(error.value).toEqualTypeOf<TidemarkError | undefined>();
  expectTypeOf(vue.useView(() => added, { select: (n) => `${n}` }).state.value).toEqualTypeOf<string>();
  expectTypeOf(vue.useView(() => texts).state.value).toEqualTypeOf<readonly string[]>();
  expectTypeOf(vue.useView(ref(texts)).state.value).toEqualTypeOf<readonly string[]>();
  expectTypeOf(vue.useView(computed(() => added)).state.value).toEqualTypeOf<number>();
  expectTypeOf(
    vue.useView(tide.topic("a").view({ name: "n", initial: () => 0, apply: (n) => n })).state.value,
  ).toEqualTypeOf<number>();
  expectTypeOf(vue.useView(given).state.value).toEqualTypeOf<readonly string[]>();
  expectTypeOf(vue.useView(wrapped, { select: (all) => all.length }).state.value).toEqualTypeOf<number>();
  expectTypeOf(vue.useRecords(ref("numbers")).state.value[0]!.value).toEqualTypeOf<unknown>();
  const { append, pending } = vue.useAppend(() => notes);
  expectTypeOf(pending.value[0]!.record).toEqualTypeOf<RecordInput<NoteInput>>();
  // @ts-expect-error a field is missing
  void append({ value: { text: "a" } });
  // @ts-expect-error a ref is read by its value
  void vue.useView(added).state.toFixed();
}

export function ofSvelte(): void {
  const all = svelte.useView(texts);
  expectTypeOf(all.current).toEqualTypeOf<readonly string[]>();
  expectTypeOf(svelte.useView(() => added, { select: (n) => `${n}` }).current).toEqualTypeOf<string>();
  expectTypeOf(svelte.useView(given).current).toEqualTypeOf<readonly string[]>();
  all.subscribe((current) => expectTypeOf(current).toEqualTypeOf<readonly string[]>());
  expectTypeOf(svelte.useRecords(() => notes).current[0]!.value).toEqualTypeOf<NoteOutput | null>();
  const appends = svelte.useAppend(notes);
  expectTypeOf(appends.pending[0]!.record).toEqualTypeOf<RecordInput<NoteInput>>();
  // @ts-expect-error the schema's output is not its input
  void appends.append({ value: { text: "a", at: new Date() } });
}

export function ofSolid(): void {
  const all = solid.useView(texts);
  expectTypeOf(all()).toEqualTypeOf<readonly string[]>();
  expectTypeOf(solid.useView(() => added, { select: (n) => `${n}` })()).toEqualTypeOf<string>();
  expectTypeOf(solid.useView(given)()).toEqualTypeOf<readonly string[]>();
  expectTypeOf(all.loading).toEqualTypeOf<boolean>();
  const { append, pending, error } = solid.useAppend(() => notes);
  expectTypeOf(pending()[0]!.record).toEqualTypeOf<RecordInput<NoteInput>>();
  expectTypeOf(error()).toEqualTypeOf<TidemarkError | undefined>();
  // @ts-expect-error the schema's output is not its input
  void append({ value: { text: "a", at: new Date() } });
}

export async function ofTanStack(): Promise<void> {
  interface Row {
    readonly id: string;
    readonly text: string;
  }
  const rows = createCollection(tidemarkCollectionOptions<Row>({ tide: "app", topic: "rows", getKey: ({ id }) => id }));
  expectTypeOf(rows.get("a")!.text).toEqualTypeOf<string>();
  await rows.insert({ id: "a", text: "milk" }).isPersisted.promise;
  const numbered = tidemarkCollectionOptions<{ n: number }, number>({ tide, topic: "n", getKey: ({ n }) => n });
  expectTypeOf(numbered.getKey).toEqualTypeOf<(item: { n: number }) => number>();
  // @ts-expect-error a field is missing
  rows.insert({ id: "a" });
  // @ts-expect-error the key is a text
  tidemarkCollectionOptions<{ n: number }>({ tide, topic: "n", getKey: ({ n }) => n });
  // @ts-expect-error writing is the topic's
  tidemarkCollectionOptions<Row>({ tide, topic: "rows", getKey: ({ id }) => id, onInsert: async () => undefined });
}

export async function ofTheClient(): Promise<void> {
  const orders = connect("https://edge.example", { token: (reason) => reason }).topic<{ total: number }>("orders");
  expectTypeOf(orders).toEqualTypeOf<ClientTopic<{ total: number }>>();
  expectTypeOf(await orders.append({ value: { total: 42 } })).toEqualTypeOf<ClientAck>();
  for await (const { value } of orders.read({ from: { last: 5 } }))
    expectTypeOf(value).toEqualTypeOf<{ total: number } | null>();
  // Code that takes a browser's topic takes one of the client, but for what only storage on this device has.
  expectTypeOf(orders).toExtend<Shared<{ total: number }>>();
  // @ts-expect-error another type than the topic is told
  await orders.append({ value: { total: "42" } });
  // @ts-expect-error the edge has one ack
  await orders.append({ value: { total: 42 } }, { acks: "written" });
}

/** What topics of every host have. Options of a call, its ack and what state() tells are the host's own. */
type Shared<V> = Pick<
  Topic<V>,
  "name" | "append" | "appendBatch" | "read" | "readBatches" | "changes" | "export" | "importSegments" | "trim"
> & { use(middleware: Middleware): unknown };

export async function ofTypedClientTopics(): Promise<void> {
  const edge = connect("https://edge.example");
  const typed = edge.topic("notes", { schema: Note, version: 2, upcast: { 1: (old) => ({ ...old, at: "" }) } });
  expectTypeOf(typed).toEqualTypeOf<ClientTopic<NoteOutput, RecordInput<NoteInput>>>();
  expectTypeOf(await typed.append({ value: { text: "a", at: "" } }, { ifEnd: 5 })).toEqualTypeOf<ClientAck>();
  for await (const { value } of typed.read()) expectTypeOf(value).toEqualTypeOf<NoteOutput | null>();
  for await (const batch of typed.readBatches())
    for (const { value } of batch) expectTypeOf(value).toEqualTypeOf<NoteOutput | null>();
  for await (const change of typed.changes())
    if (change.type === "append") expectTypeOf(change.record.value).toEqualTypeOf<NoteOutput | null>();
  const last = typed.view({ name: "last", initial: () => "", apply: (_, { value }) => value?.at.toISOString() ?? "" });
  expectTypeOf(last.current).toEqualTypeOf<string>();
  const list = edge.topic("todos", { schema: clientEvents({ added: Note, removed: z.string() }), use: [] });
  expectTypeOf(await list.emit("removed", "a", { key: "a", ifEnd: 1 })).toEqualTypeOf<ClientAck>();
  for await (const event of list.read())
    if (event.type === "removed") expectTypeOf(event.value).toEqualTypeOf<string | null>();
  // @ts-expect-error the schema's output is not its input
  await typed.append({ value: { text: "a", at: new Date() } });
  // @ts-expect-error no such type
  await list.emit("moved", null);
  // @ts-expect-error no Standard Schema
  edge.topic("orders", { schema: { parse: () => 1 } });
  // @ts-expect-error the client stores no snapshots
  typed.view({ name: "v", initial: () => 0, apply: () => 0, snapshot: {} });
}

test("the types of bindings and client are checked by the compiler", () => undefined);
