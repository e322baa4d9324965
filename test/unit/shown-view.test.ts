/** A view as the application holds it (src/topic/shown-view.ts), beside what folds: that is not there, or not yet. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { runEdgeView } from "../../src/client/views.ts";
import { runView } from "../../src/browser/page/topic-view.ts";
import { serializerOf } from "../../src/topic/serializer.ts";
import { KeptSignal } from "../support/every-turn.ts";
import { kernel } from "./log-fixtures.ts";
import {
  type FoldOptions,
  type RunningView,
  type ShownView,
  shownView,
  type View,
} from "../../src/topic/shown-view.ts";
import { laterTurn } from "../../src/browser/platform/timing.ts";

const OPTIONS: FoldOptions<number, never> = { name: "count", initial: () => 0, apply: (n) => n + 1 };
const lost = new TidemarkError("LOAD_FAILED", "planted");
const caught: string[] = [];
const hear = (thrown: unknown): void => void caught.push(String(thrown));
beforeEach(() => {
  caught.length = 0;
  process.on("uncaughtException", hear);
});
afterEach(() => void process.off("uncaughtException", hear));

const unloaded = (): View<number> => shownView(OPTIONS, () => Promise.reject(lost));

describe("a view whose code can't be loaded", () => {
  it("tells its listeners; one that throws fails alone, and one that has left is not told", async () => {
    const view = unloaded();
    const told: (readonly [string, number])[] = [];
    view.subscribe((current) => void told.push(["first", current]));
    view.subscribe(() => {
      throw new RangeError("planted");
    });
    view.subscribe((current) => void told.push(["last", current]));
    view.subscribe(() => void told.push(["left", -1]))();
    await expect(view.ready()).rejects.toBe(lost);
    await laterTurn();
    expect(told).toEqual([
      ["first", 0],
      ["last", 0],
    ]);
    expect(caught).toEqual(["RangeError: planted"]);
  });

  it("a view that was closed before tells nobody, nor does one whose change waits to be told", async () => {
    const view = unloaded();
    view.subscribe(() => caught.push("told"));
    view.close();
    await laterTurn();
    expect(caught).toEqual([]);
  });

  it("nobody listens: ready() alone rejects", async () => {
    const view = unloaded();
    await laterTurn();
    await expect(view.ready()).rejects.toBe(lost);
    await expect(view.save()).rejects.toBe(lost);
    expect(caught).toEqual([]);
  });
});

/** A view of a topic of the client. Each call of `next` brings a record, and resolves when it was told. */
function fed(): { readonly view: View<number>; readonly next: () => Promise<void> } {
  const level = { type: "level", watermark: 0, live: true, copy: null } as const;
  let put: (value?: unknown) => void;
  let offset = 0;
  async function* changes() {
    for (;;) {
      yield [level];
      await new Promise((resolve) => (put = resolve));
      yield [{ type: "append", record: { id: String(offset), offset: offset++ } as never } as const, level];
    }
  }
  const closing = new AbortController().signal;
  const view = shownView(OPTIONS, async (shown) =>
    runEdgeView(shown, { ...OPTIONS, apply: (n: number) => n + 1 }, async () => changes(), closing),
  );
  const next = async (): Promise<void> => {
    await view.ready();
    const before = view.current;
    put();
    for (let turns = 0; view.current === before && turns < 100; turns++) await laterTurn();
    for (const _ of [1, 2, 3]) await new Promise((resolve) => setTimeout(resolve));
  };
  return { view, next };
}

describe("listeners of a view", () => {
  it("a function that listens twice is told twice, and what ends one call, also again, ends no other", async () => {
    const { view, next } = fed();
    const told: number[] = [];
    const listener = (now: number): void => void told.push(now);
    const leave = view.subscribe(listener);
    const second = view.subscribe(listener);
    await next();
    leave();
    leave();
    await next();
    second();
    await next();
    expect(told).toEqual([1, 1, 2]);
    view.close();
  });

  it.each(["left", "closed"])("one that a listener before it has %s is not told", async (how) => {
    const { view, next } = fed();
    const told: string[] = [];
    view.subscribe(() => {
      told.push("first");
      if (how === "left") leave();
      else view.close();
    });
    const leave = view.subscribe(() => told.push("second"));
    await next();
    expect(told).toEqual(["first"]);
    view.close();
  });
});

it.each([undefined, null, 5, { handleEvent: () => undefined }])("subscribe(%o) names the listener", (given) => {
  const refused = expect.objectContaining({
    code: "INVALID_ARGUMENT",
    details: expect.objectContaining({ field: "listener", allowed: "a function" }) as unknown,
  });
  expect(() => unloaded().subscribe(given as never)).toThrow(refused as Error);
});

it.each([
  ["the options of view()", undefined],
  ["the options of view()", null],
  ["the options of view()", [OPTIONS]],
  ["initial", {}],
  ["initial", { ...OPTIONS, initial: 0 }],
  [
    "initial",
    Object.defineProperty({ ...OPTIONS }, "initial", { enumerable: true, get: () => expect.fail("planted") }),
  ],
])("view() is refused at once, and names %s", (field, options) => {
  const refused = expect.objectContaining({
    code: "INVALID_ARGUMENT",
    details: expect.objectContaining({ field }) as unknown,
  });
  expect(() => shownView(options as never, () => expect.fail("it runs"))).toThrow(refused as Error);
});

/** Views of each host, whose topic can't be read. */
const UNREAD: Readonly<
  Record<string, (shown: ShownView<number>, options: FoldOptions<number, unknown>) => RunningView>
> = {
  "in a page": (shown, options) => {
    const refuse = (): Promise<never> => Promise.reject(lost);
    const tide = { name: "test", opened: undefined, topic: () => expect.fail("no snapshots here") };
    const serializer = serializerOf<never>("json");
    const topic = { name: "t", tide, born: () => 1, kernel, serializer, fetch: refuse, resolve: refuse };
    return runView(shown, topic, options);
  },
  "of the client": (shown, options) =>
    runEdgeView(shown, options, () => Promise.reject(lost), new AbortController().signal),
};

it.each(Object.keys(UNREAD))("a view %s that has ended by itself hears its signal no more", async (host) => {
  const kept = new KeptSignal();
  const options = { ...OPTIONS, apply: (n: number) => n + 1, signal: kept.signal };
  const view = shownView(options, async (shown) => UNREAD[host]!(shown, options));
  await expect(view.ready()).rejects.toBe(lost);
  for (let turn = 0; kept.listeners > 0 && turn < 10; turn++) await laterTurn();
  expect(kept.listeners).toBe(0);
});
