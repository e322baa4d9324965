/** A topic as a collection of TanStack DB, over a real tide in a folder (tidemark/node). */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createCollection } from "@tanstack/db";
import { afterEach, expect, it } from "vitest";
import { OPENING, type OpenedStatus, type PageTide } from "../../src/bindings/page-tide.ts";
import { shared } from "../../src/bindings/shared.ts";
import { tidemarkCollectionOptions } from "../../src/bindings/tanstack-db.ts";
import type { Tide } from "../../src/browser/index.ts";
import { open } from "../../src/node/index.ts";
import { TidemarkError } from "../../src/errors.ts";
import { Random } from "../simulation/prng.ts";

interface Todo {
  readonly id: string;
  readonly text: string;
  readonly done: boolean;
}

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

async function opened(): Promise<Tide> {
  const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-collection-"));
  ends.push(() => rmSync(folder, { recursive: true, force: true }));
  const tide = await open(folder, { segmentBytes: 1 << 16 });
  ends.push(() => tide.close());
  return tide;
}
/** What providers and collections of this name share. */
function pageOf(name: string, status: OpenedStatus): PageTide {
  const page = Object.assign(
    shared<OpenedStatus>(status, () => () => undefined),
    { followers: new Map<string, unknown>() },
  );
  const registry: unknown = Reflect.get(globalThis, Symbol.for("tidemark.page-tides"));
  const { pages } = registry as { readonly pages: Map<string, PageTide> };
  pages.set(name, page);
  ends.push(() => pages.delete(name));
  return page;
}
function todosOf(tide: Tide | string) {
  const collection = createCollection(
    tidemarkCollectionOptions<Todo>({ tide, topic: "todos", getKey: ({ id }) => id, startSync: true }),
  );
  ends.push(() => collection.cleanup());
  return collection;
}
const todo = (id: string, done = false): Todo => ({ id, text: `todo ${id}`, done });
const rowsOf = (collection: ReturnType<typeof todosOf>): Todo[] =>
  collection.toArray.map(({ id, text, done }) => ({ id, text, done })).sort((a, b) => (a.id < b.id ? -1 : 1));

it("shows rows as the topic has them; transactions are records, optimistic until they have come back", async () => {
  const tide = await opened();
  const topic = tide.topic<Todo>("todos");
  await topic.appendBatch([
    { key: "a", value: todo("a") },
    { key: "b", value: todo("b") },
    { key: "a", value: todo("a", true) },
    { value: todo("keyless") },
    { key: "other", value: todo("c") },
    { key: "b", value: null },
  ]);
  const todos = todosOf(tide);
  await todos.preload();
  expect(rowsOf(todos)).toEqual([todo("a", true)]);

  const inserted = todos.insert([todo("d"), todo("e")]);
  // At once, before the ack.
  expect(rowsOf(todos).map(({ id }) => id)).toEqual(["a", "d", "e"]);
  await inserted.isPersisted.promise;
  const updated = todos.update("d", (row) => void Object.assign(row, { done: true }));
  const deleted = todos.delete("a");
  await Promise.all([updated.isPersisted.promise, deleted.isPersisted.promise]);
  expect(rowsOf(todos)).toEqual([todo("d", true), todo("e")]);

  const records = [];
  for await (const { key, value } of topic.read({ from: 6 })) records.push([key, value]);
  expect(records).toEqual([
    ["d", todo("d")],
    ["e", todo("e")],
    ["d", todo("d", true)],
    ["a", null],
  ]);
  // Another collection, as of another tab, sees the same, and what that one writes comes here.
  const others = todosOf(tide);
  await others.preload();
  expect(rowsOf(others)).toEqual(rowsOf(todos));
  await others.insert(todo("f")).isPersisted.promise;
  await expect.poll(() => rowsOf(todos).map(({ id }) => id)).toEqual(["d", "e", "f"]);
});

it("a transaction that is refused is rolled back with its error; the next one works", async () => {
  const tide = await opened();
  const todos = todosOf(tide);
  await todos.preload();
  const refused = todos.insert({ ...todo("a"), text: 1n as never });
  await expect(refused.isPersisted.promise).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  expect(rowsOf(todos)).toEqual([]);
  await todos.insert(todo("b")).isPersisted.promise;
  expect(rowsOf(todos)).toEqual([todo("b")]);
});

it("a refused write is taken back alone: what is written beside it and after it stands", async () => {
  const tide = await opened();
  const todos = todosOf(tide);
  await todos.insert(todo("a")).isPersisted.promise;
  const refused = todos.update("a", (row) => void Object.assign(row, { text: 1n }));
  const other = todos.insert(todo("b"));
  expect(rowsOf(todos)).toEqual([{ ...todo("a"), text: 1n }, todo("b")]);
  await expect(refused.isPersisted.promise).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await other.isPersisted.promise;
  expect(rowsOf(todos)).toEqual([todo("a"), todo("b")]);
  await todos.update("a", (row) => void Object.assign(row, { done: true })).isPersisted.promise;
  expect(rowsOf(todos)).toEqual([todo("a", true), todo("b")]);
});

it("after a cleanup the next subscriber gets what was written meanwhile, and what was under way once", async () => {
  const tide = await opened();
  const [todos, others] = [todosOf(tide), todosOf(tide)];
  await todos.insert(todo("a")).isPersisted.promise;
  const under = todos.insert(todo("b"));
  await todos.cleanup();
  await under.isPersisted.promise;
  expect(rowsOf(todos)).toEqual([]);
  await others.update("a", (row) => void Object.assign(row, { done: true })).isPersisted.promise;
  await others.insert([todo("c"), todo("d")]).isPersisted.promise;
  await others.delete("c").isPersisted.promise;
  await todos.preload();
  expect(rowsOf(todos)).toEqual([todo("a", true), todo("b"), todo("d")]);
  // Two of one turn, of which only the second lasts.
  void todos.cleanup();
  await todos.preload();
  await todos.insert(todo("e")).isPersisted.promise;
  await expect.poll(() => rowsOf(others)).toEqual(rowsOf(todos));
  expect(rowsOf(todos).length).toBe(4);
});

it("the tide ends while it is shown: rows stay, a write is rolled back, and nothing is thrown", async () => {
  const caught: unknown[] = [];
  const hear = (thrown: unknown): void => void caught.push(thrown);
  process.on("uncaughtException", hear).on("unhandledRejection", hear);
  ends.push(() => process.off("uncaughtException", hear).off("unhandledRejection", hear));
  const tide = await opened();
  const todos = todosOf(tide);
  await todos.insert(todo("a")).isPersisted.promise;
  await tide.close();
  const refused = todos.insert(todo("b"));
  await expect(refused.isPersisted.promise).rejects.toMatchObject({ code: "CLOSED" });
  expect([rowsOf(todos), caught]).toEqual([[todo("a")], []]);
});

it("a tide that is opened again after its end is shown anew", async () => {
  const [first, second] = [await opened(), await opened()];
  await second.topic<Todo>("todos").append({ key: "z", value: todo("z") });
  const open: OpenedStatus = { ...OPENING, state: "open" };
  // As another tab's destroy() and the status's reopen() leave it.
  const page = pageOf("again", { ...open, tide: first });
  const todos = todosOf("again");
  await todos.insert(todo("a")).isPersisted.promise;
  await first.close();
  page.set({ ...OPENING, state: "closed", error: new TidemarkError("CLOSED", "planted") });
  page.set(OPENING);
  page.set({ ...open, tide: second });
  await expect.poll(() => rowsOf(todos)).toEqual([todo("z")]);
  await todos.insert(todo("b")).isPersisted.promise;
  expect(rowsOf(todos)).toEqual([todo("b"), todo("z")]);
});

it("a tide that can't be opened is an error with its cause; it is over once another try has opened it", async () => {
  const tide = await opened();
  await tide.topic<Todo>("todos").append({ key: "a", value: todo("a") });
  const error = new TidemarkError("ALREADY_OPEN", "planted");
  const failed: OpenedStatus = { ...OPENING, state: "failed", error };
  const page = pageOf("late", OPENING);
  const todos = todosOf("late");
  const ready = todos.preload();
  page.set(failed);
  await expect(ready).rejects.toBe(error);
  expect(todos.status).toBe("error");
  await expect(todos.preload()).rejects.toBe(error);
  // A try that fails as well, and one that does not.
  for (const status of [OPENING, failed, OPENING, { ...OPENING, state: "open", tide } as const]) page.set(status);
  await expect.poll(() => todos.status).toBe("ready");
  await todos.insert(todo("b")).isPersisted.promise;
  expect(rowsOf(todos)).toEqual([todo("a"), todo("b")]);
});

it("after a failure, cleanup() and the next subscriber try anew", async () => {
  const error = new TidemarkError("ALREADY_OPEN", "planted");
  pageOf("anew", { ...OPENING, state: "failed", error });
  const todos = todosOf("anew");
  await expect(todos.preload()).rejects.toBe(error);
  await todos.cleanup();
  pageOf("anew", { ...OPENING, state: "open", tide: await opened() });
  await todos.preload();
  expect([todos.status, rowsOf(todos)]).toEqual(["ready", []]);
});

it.each([
  ["config", undefined],
  ["config", 5],
  ["tide", { topic: "todos", getKey: String }],
  ["tide", { tide: { topic: () => undefined }, topic: "todos", getKey: String }],
  ["options", { tide: "x", options: 5, topic: "todos", getKey: String }],
  ["topic", { tide: "x", getKey: String }],
  ["getKey", { tide: "x", topic: "todos" }],
  ...["sync", "onInsert", "onUpdate", "onDelete"].map((name): [string, unknown] => [
    name,
    { tide: "x", topic: "todos", getKey: String, [name]: () => undefined },
  ]),
])("options that are none are refused at once: %s is named", (field, config) => {
  const message = expect.stringContaining(`${field}: give `) as string;
  const refused = expect.objectContaining({ code: "INVALID_ARGUMENT", details: { field }, message });
  expect(() => tidemarkCollectionOptions(config as never)).toThrow(refused as Error);
});

it("a deleted topic is an empty collection, and is filled anew", async () => {
  const tide = await opened();
  const todos = todosOf(tide);
  await todos.insert(todo("a")).isPersisted.promise;
  await tide.deleteTopic("todos");
  await expect.poll(() => rowsOf(todos)).toEqual([]);
  await todos.insert(todo("b")).isPersisted.promise;
  expect(rowsOf(todos)).toEqual([todo("b")]);
});

it.each([1, 2, 3])("seed %i: after any transactions of two collections both are the fold of the log", async (seed) => {
  const random = new Random(seed);
  const tide = await opened();
  const both = [todosOf(tide), todosOf(tide)] as const;
  await Promise.all(both.map((each) => each.preload()));
  const under: Promise<unknown>[] = [];
  for (let step = 0; step < 120; step++) {
    const collection = both[random.int(2)]!;
    const id = `k${random.int(12)}`;
    const write = !collection.has(id)
      ? collection.insert(todo(id))
      : random.int(3) === 0
        ? collection.delete(id)
        : collection.update(id, (row) => void Object.assign(row, { done: !row.done, text: `step ${step}` }));
    under.push(write.isPersisted.promise);
    if (random.int(3) === 0) await Promise.all(under.splice(0));
  }
  await Promise.all(under);
  const folded = new Map<string, Todo>();
  for await (const { key, value } of tide.topic<Todo>("todos").read()) {
    if (value === null) folded.delete(key!);
    else folded.set(key!, value);
  }
  const wanted = [...folded.values()].sort((a, b) => (a.id < b.id ? -1 : 1));
  for (const each of both) await expect.poll(() => rowsOf(each)).toEqual(wanted);
  expect(wanted.length).toBeGreaterThan(0);
});

it("own rows without a place stand on top of committed ones, until they settle or are retracted", async () => {
  const record = (id: string, value: Todo, provisional: boolean) => ({ id, key: value.id, value, provisional });
  const level = { type: "level", watermark: 0, live: true };
  const told = [
    { type: "append", record: record("r1", todo("a"), false) },
    { type: "append", record: record("r2", todo("a", true), true) },
    { type: "append", record: record("r3", { ...todo("a"), text: "others" }, false) },
    level,
  ];
  const later = [{ type: "retract", id: "r2", provisionalOffset: 2 ** 52, why: "discarded" }, level];
  let go = (): void => undefined;
  const gate = new Promise<void>((resolve) => (go = resolve));
  async function* changes() {
    yield* told;
    await gate;
    yield* later;
  }
  const made: object = { topic: () => ({ changes }), on: () => () => undefined, storage: {}, role: "leader" };
  const todos = todosOf(made as Tide);
  await todos.preload();
  expect(rowsOf(todos)).toEqual([todo("a", true)]);
  go();
  await expect.poll(() => rowsOf(todos)).toEqual([{ ...todo("a"), text: "others" }]);
});
