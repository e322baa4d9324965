/** What plain JavaScript may give the bindings wrongly: a typed error names the field and says what to give. */
import { mkdtempSync, rmSync } from "node:fs";
import os from "node:os";
import path from "node:path";
import { expect, it } from "vitest";
import { appendingTo } from "../../src/bindings/appending.ts";
import {
  defineTopic,
  defineView,
  picking,
  recordsKey,
  recordsSource,
  viewKey,
  viewSource,
} from "../../src/bindings/followers.ts";
import { tideSource } from "../../src/bindings/page-tide.ts";
import type { Tide } from "../../src/browser/index.ts";
import { open } from "../../src/node/index.ts";

const words = defineTopic<string>("t", { serializer: "text" });
const list = defineView(words, { name: "list", initial: () => 0, apply: (count) => count + 1 });

it.each<[string, () => unknown]>([
  ["tide", () => tideSource(undefined)],
  ["tide", () => tideSource({} as Tide)],
  ["tide", () => tideSource({ topic: () => undefined } as never)],
  ["view", () => viewSource(tideSource("x"), undefined as never)],
  ["view", () => viewSource(tideSource("x"), { topic: "t", name: "v" } as never)],
  ["view", () => viewKey(5 as never)],
  ["topic", () => viewSource(tideSource("x"), { ...list, topic: { name: "t" } as never })],
  ["topic", () => recordsSource(tideSource("x"), undefined as never)],
  ["topic", () => appendingTo(tideSource("x"), (() => words) as never)],
  ["topic", () => recordsKey((() => words) as never, { last: 1 })],
  ...[5, "text", [1], () => ({}), true, 1n, Symbol("x")].flatMap((given): [string, () => unknown][] => [
    ["options", () => picking(given as never)],
    ["options", () => tideSource("x", given as never)],
    ["options", () => recordsKey(words, given as never)],
    ["options", () => recordsSource(tideSource("x"), words, given as never)],
  ]),
  ["select", () => picking({ select: "length" as never })],
  ["equals", () => picking({ equals: null as never })],
  ["equals", () => picking({ equals: 1 as never })],
  ["selct: give a known option", () => picking({ selct: (state: unknown) => state } as never)],
  ...["3", null, 3n, Symbol("x"), {}].map((last): [string, () => unknown] => [
    "last",
    () => recordsKey(words, { last: last as never }),
  ]),
  ...["no", 1, null].map((follow): [string, () => unknown] => [
    "follow",
    () => recordsKey(words, { follow: follow as never }),
  ]),
  ["first: give a known option", () => recordsKey(words, { first: 3 } as never)],
])("%s is named", (named, call) => {
  const [field] = named.split(":") as [string];
  const message = expect.stringContaining(named === field ? `${field}: give ` : named) as string;
  const refused = expect.objectContaining({ code: "INVALID_ARGUMENT", details: { field }, message });
  expect(call).toThrow(refused as Error);
});

it("no options are null or undefined, and an option without a value is left out", () => {
  const none = { last: undefined, follow: undefined };
  expect([null, undefined, {}, none].map((given) => recordsKey(words, given))).toEqual(
    Array.from({ length: 4 }, () => recordsKey(words, { last: 100, follow: true })),
  );
  const followed = { value: 5, isReady: true, at: { offset: 0, provisional: 0 } };
  expect([null, undefined, { select: undefined }].map((given) => picking(given)(followed))).toEqual([5, 5, 5]);
  tideSource("x", null);
});

it("what changes() refuses is in `error`", async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-bindings-"));
  const tide = await open(folder);
  for (const last of [-1, 0.5, NaN, Infinity]) {
    const source = recordsSource(tideSource(tide), words, { last });
    const leave = source.subscribe(() => undefined);
    await expect.poll(() => source.current.error).toBeDefined();
    expect(source.current.error!.message).toMatch(/^INVALID_ARGUMENT: from\.last must be /);
    leave();
  }
  await tide.close();
  rmSync(folder, { recursive: true });
});

it("a tide that has ended before it is given is not shown as open; it has its error, also after reopen()", async () => {
  const folder = mkdtempSync(path.join(os.tmpdir(), "tidemark-bindings-"));
  const tide = await open(folder);
  await tide.close();
  const source = tideSource(tide);
  const leave = source.subscribe(() => undefined);
  const shown = expect.objectContaining({
    state: "failed",
    error: expect.objectContaining({ code: "CLOSED" }) as Error,
  });
  await expect.poll(() => source.current).toEqual(shown);
  await expect(source.whenOpen()[0]).rejects.toMatchObject({ code: "CLOSED" });
  source.current.reopen();
  expect(source.current.state).toBe("opening");
  await expect.poll(() => source.current).toEqual(shown);
  leave();
  rmSync(folder, { recursive: true });
});
