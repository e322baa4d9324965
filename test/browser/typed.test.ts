/**
 * Typed topics and middleware in real Chromium: the part that has them is loaded by the first topic that needs it, in
 * each tab, and calls that were made before it was there keep their order. Each open() is a tab of its own.
 */
import { afterEach, expect, it } from "vitest";
import * as z from "zod";
import { events, type Middleware, open, type Tide, TidemarkError } from "../../src/browser/index.ts";

const opened: Tide[] = [];
afterEach(async () => {
  for (const tide of opened.splice(0).reverse()) await tide.close();
});
async function tab(name: string): Promise<Tide> {
  const tide = await open(name, { segmentBytes: 64 * 1024 });
  opened.push(tide);
  return tide;
}
async function all<R>(records: AsyncIterable<R>): Promise<R[]> {
  const found: R[] = [];
  for await (const record of records) found.push(record);
  return found;
}
const loadedPart = (): boolean =>
  performance.getEntriesByType("resource").some(({ name }) => /\/typed(-topic)?\.(js|ts)/.test(name));

const Todo = events({ added: z.object({ id: z.string(), text: z.string() }), removed: z.string() });
const flip: Middleware = async (step, next) => {
  const turn = (): void => {
    for (const record of step.records) record.valueBytes = record.valueBytes?.map((byte) => byte ^ 0x5a) ?? null;
  };
  if (step.operation === "append") turn();
  await next();
  if (step.operation === "read") turn();
};

it("a topic with a schema, events and middleware, in two tabs, beside plain topics", async () => {
  const name = `typed-${Date.now()}`;
  const first = await tab(name);
  const second = await tab(name);
  const plain = first.topic<number>("plain");
  await plain.append({ value: 1 });
  expect(loadedPart()).toBe(false);

  const todos = first.topic("todos", { schema: Todo, use: [flip] });
  const record = { id: "0", text: "text 0" };
  // The part is being loaded while these are made; the record of each call counts.
  const acks = Array.from({ length: 100 }, (_, i) => {
    Object.assign(record, { id: String(i), text: `text ${i}` });
    return todos.emit("added", record, { key: String(i) });
  });
  const wrong = todos.emit("added", { id: "x" } as never).catch((thrown: unknown) => thrown);
  const last = todos.emit("removed", "7");
  expect((await Promise.all(acks)).map(({ offset }) => offset)).toEqual(Array.from({ length: 100 }, (_, i) => i));
  const error = await wrong;
  expect(error).toBeInstanceOf(TidemarkError);
  expect(error).toMatchObject({ code: "SCHEMA_MISMATCH", details: { type: "added", issues: [{ path: ["text"] }] } });
  expect((await last).offset).toBe(100);
  expect(loadedPart()).toBe(true);
  expect((await all(first.topic<Uint8Array>("plain").readBatches())).map(({ count }) => count)).toEqual([1]);

  // The other tab follows with a view and reads as it pleases.
  const theirs = second.topic("todos", { schema: Todo, use: [flip], onInvalid: "skip" });
  const list = theirs.view({
    name: "list",
    initial: () => [] as string[],
    apply: (texts, event) => {
      if (event.value === null) return texts;
      if (event.type === "added") return [...texts, event.value.text];
      return texts.filter((text) => text !== `text ${event.value}`);
    },
  });
  await list.ready();
  expect(list.current).toHaveLength(99);
  expect(list.current).not.toContain("text 7");
  const gone = new Promise<void>((resolve) =>
    list.subscribe((texts) => {
      if (!texts.includes("text 8")) resolve();
    }),
  );
  await todos.emit("removed", "8");
  await gone;
  list.close();
  const sealed = await all(second.topic("todos").read({ from: { last: 1 } }));
  expect(sealed.map((event) => event.value)).toEqual(["8"]);
  expect(await theirs.appendAll([Todo.record("removed", "9"), Todo.record("added", { id: "n", text: "new" })])).toEqual(
    { appended: 2, firstOffset: 102, lastOffset: 103 },
  );
  // Closing waits for what is still being judged.
  const slow = first.topic("slow", { schema: z.number().refine(async () => true) });
  const late = slow.append({ value: 5 });
  await first.close();
  expect((await late).offset).toBe(0);
});
