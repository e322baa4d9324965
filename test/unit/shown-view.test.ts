/** A view as the application holds it (src/topic/shown-view.ts), beside what folds: that is not there, or not yet. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TidemarkError } from "../../src/errors.ts";
import { type FoldOptions, shownView, type View } from "../../src/topic/shown-view.ts";
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
