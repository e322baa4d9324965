/** The option `check` of views (src/sync/view-check.ts): what is impure, and states that can't be compared. */
import { expect, it } from "vitest";
import { PROVISIONAL_FROM } from "../../src/log/provisional-layout.ts";
import { checkedApply } from "../../src/sync/view-check.ts";
import { ViewFold } from "../../src/sync/view-fold.ts";

const record = { id: "a-1" };
/** The error for a view of this state. */
function errorOf<S>(state: S, apply: (state: S) => S = (same) => same): unknown {
  try {
    checkedApply("cart", apply)(state, record);
  } catch (thrown) {
    return thrown;
  }
  return "none";
}

class Cart {
  items = 0;
}

it.each<[string, unknown, RegExp]>([
  ["a function", { add: () => 1 }, /DataCloneError/],
  ["a proxy, as frameworks make them", { list: new Proxy([], {}) }, /DataCloneError/],
  ["a symbol", { kind: Symbol("x") }, /DataCloneError/],
  ["an object of a class", new Cart(), /an object of a class/],
  ["one inside a map", new Map([["a", new Cart()]]), /an object of a class/],
])("a state with %s is no impure view: the error names the view and says what to do", (_, state, why) => {
  expect(errorOf(state)).toMatchObject({
    code: "INVALID_ARGUMENT",
    details: { field: "check", view: "cart" },
    message: expect.stringMatching(/check can't copy the state of the view cart .*: leave check out, or use/) as string,
  });
  expect((errorOf(state) as Error).message).toMatch(why);
});

it("a getter of the state that throws is told in the same way", () => {
  const state = Object.defineProperty({}, "total", {
    enumerable: true,
    get() {
      throw new RangeError("planted");
    },
  });
  expect(errorOf(state)).toMatchObject({
    code: "INVALID_ARGUMENT",
    message: expect.stringContaining("planted") as string,
  });
});

it("an impure view is named, and a pure one of plain data passes", () => {
  const impure = { code: "VIEW_IMPURE", details: { id: "a-1", view: "cart" } };
  expect(errorOf([1], (list) => (list.push(2), list))).toMatchObject(impure);
  expect(errorOf(1, () => Math.random())).toMatchObject(impure);
  const state = { at: new Date(5), bytes: new Uint8Array(2), all: new Map([[1, new Set([NaN, -0])]]), none: undefined };
  expect(errorOf(state, (before) => ({ ...before }))).toBe("none");
});

it("an apply that is asynchronous ends the fold at its first result, which is left to nobody", async () => {
  const unhandled: unknown[] = [];
  const note = (thrown: unknown): void => void unhandled.push(thrown);
  process.on("unhandledRejection", note);
  const given = { code: "INVALID_ARGUMENT", details: { field: "apply" } };
  const committed = { id: "a-1", offset: 0 };
  const own = { id: "b-1", offset: PROVISIONAL_FROM };
  const kinds = [
    (fold: ViewFold<unknown, typeof own>) => fold.take({ type: "append", record: committed }),
    (fold: ViewFold<unknown, typeof own>) => fold.take({ type: "append", record: own }),
    (fold: ViewFold<unknown, typeof own>) => {
      fold.pending.set(own.id, own);
      fold.refold().next();
    },
  ];
  const apply = (): Promise<number> => Promise.reject(new Error("nobody hears this"));
  for (const take of kinds) {
    const fold = new ViewFold<unknown, typeof own>({ initial: () => 0, apply }, 0, 0);
    expect(() => take(fold)).toThrow(expect.objectContaining(given) as Error);
  }
  expect(() => checkedApply("cart", apply as never)(0, record)).toThrow(expect.objectContaining(given) as Error);
  await new Promise((resolve) => setImmediate(resolve));
  process.off("unhandledRejection", note);
  expect(unhandled).toEqual([]);
});
