/**
 * Components that are gone, or come again, in the midst of it, over a real tide in a folder (tidemark/node): the tide
 * of a name is opened and closed by them alone.
 */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { createCollection } from "@tanstack/db";
import { afterEach, expect, it, vi } from "vitest";
import * as z from "zod";
import { appendingTo } from "../../src/bindings/appending.ts";
import { defineTopic, defineView, viewSource } from "../../src/bindings/followers.ts";
import { tideSource } from "../../src/bindings/page-tide.ts";
import { tidemarkCollectionOptions } from "../../src/bindings/tanstack-db.ts";
import { open } from "../../src/node/index.ts";

vi.mock("../../src/browser/index.ts", async (original) => ({
  ...(await original<object>()),
  open: (name: string) => open(name),
}));

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});
function newName(): string {
  folders.push(mkdtempSync(path.join(os.tmpdir(), "tidemark-gone-")));
  return folders.at(-1)!;
}
async function stored(name: string, topic: string): Promise<unknown[]> {
  // The binding closes it by itself.
  await expect
    .poll(() =>
      open(name).then(
        (tide) => tide.close().then(() => true),
        () => false,
      ),
    )
    .toBe(true);
  const tide = await open(name);
  const values: unknown[] = [];
  for await (const { value } of tide.topic(topic).read()) values.push(value);
  await tide.close();
  return values;
}

const slow = z.string().refine(() => new Promise((resolve) => setTimeout(resolve, 5, true)));
it.each([
  ["before the tide is open", false, defineTopic("t")],
  ["while the tide is open", true, defineTopic("t")],
  ["while a schema that waits judges it", true, defineTopic("t", { schema: slow })],
])("an append of a component that goes %s is acked, and then the tide is closed", async (_, isOpen, topic) => {
  const name = newName();
  const tide = tideSource(name);
  const leave = tide.subscribe(() => undefined);
  if (isOpen) await expect.poll(() => tide.current.state).toBe("open");
  const { calls } = appendingTo(tide, topic as ReturnType<typeof defineTopic>);
  const acked = calls.append({ value: "a" });
  leave();
  expect(await acked).toMatchObject({ offset: 0 });
  // Nobody listens any more: the append itself opens the tide, and closes it.
  expect(await calls.append({ value: "b" })).toMatchObject({ offset: 1 });
  expect(await stored(name, "t")).toEqual(["a", "b"]);
});

it("a row that is inserted by a collection without subscribers, which is cleaned up at once, is stored", async () => {
  const name = newName();
  const rows = createCollection(
    tidemarkCollectionOptions<{ id: string }>({ tide: name, topic: "rows", getKey: ({ id }) => id, startSync: true }),
  );
  await rows.preload();
  const { isPersisted } = rows.insert({ id: "a" });
  void rows.cleanup();
  await isPersisted.promise;
  expect(await stored(name, "rows")).toEqual([{ id: "a" }]);
});

it("a view that has ended with an error begins anew where a component that shows it is mounted again", async () => {
  const tide = tideSource(newName());
  const leaveProvider = tide.subscribe(() => undefined);
  let isBad = true;
  const counted = defineView("t", {
    name: "count",
    initial: () => 0,
    apply(count) {
      if (isBad) throw new RangeError("planted");
      return count + 1;
    },
  });
  const caught = new Promise((resolve) => process.once("uncaughtException", resolve));
  const source = viewSource(tide, counted);
  const leave = source.subscribe(() => undefined);
  await appendingTo(tide, "t").calls.append({ value: "a" });
  await expect.poll(() => source.current.error?.code).toBe("INTERNAL");
  expect(String(await caught)).toBe("RangeError: planted");
  isBad = false;
  // A changed key: the old component goes and the new one comes in one turn.
  leave();
  const leaveAgain = viewSource(tide, counted).subscribe(() => undefined);
  await expect.poll(() => [source.current.value, source.current.error]).toEqual([1, undefined]);
  leaveAgain();
  leaveProvider();
});
