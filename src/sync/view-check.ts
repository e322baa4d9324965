/** Looks whether a view's function is pure, with the first records: an impure one makes devices differ. */
import { TidemarkError } from "../errors.ts";
import { noPromise } from "./view-fold.ts";

/** Records that are applied twice. */
const CHECKED_RECORDS = 100;

function impure(view: string, id: string, what: string): TidemarkError {
  const must = "it must give the same for the same state and record, and leave both as they are";
  return new TidemarkError("VIEW_IMPURE", `apply() of ${view} ${what}: ${must}`, { id, view });
}

/** Whether two values hold the same: plain data, maps, sets, dates and bytes. */
export function isAlike(a: unknown, b: unknown): boolean {
  if (Object.is(a, b)) return true;
  if (typeof a !== "object" || typeof b !== "object" || !a || !b) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  if (a instanceof Date) return a.getTime() === (b as Date).getTime();
  if (a instanceof Map || a instanceof Set) return isAlike([...a], [...(b as Set<unknown>)]);
  const [inA, inB] = [Object.keys(a), Object.keys(b)];
  return (
    inA.length === inB.length &&
    inA.every((key) => Object.hasOwn(b, key) && isAlike((a as never)[key], (b as never)[key]))
  );
}

/**
 * A copy of a view's state. Functions, proxies and the like can't be copied, and an object of a class loses its class:
 * what is not the state could not be compared with it.
 */
function copyOf<S>(view: string, state: S): S {
  let why: unknown = "it has an object of a class";
  try {
    const copy = structuredClone(state);
    if (isAlike(state, copy)) return copy;
  } catch (thrown) {
    why = thrown;
  }
  throw new TidemarkError(
    "INVALID_ARGUMENT",
    `check can't copy the state of the view ${view} (${String(why)}): leave check out, or use plain data and maps`,
    { field: "check", view },
  );
}

/**
 * Applies the first records a second time, to a copy of the state. VIEW_IMPURE where that differs; INVALID_ARGUMENT
 * where the state can't be copied. `view` is its name.
 */
export function checkedApply<S, R extends { readonly id: string }>(
  view: string,
  apply: (state: S, record: R) => S,
): (state: S, record: R) => S {
  let left = CHECKED_RECORDS;
  return (state, record) => {
    if (left <= 0) return apply(state, record);
    left--;
    const before = copyOf(view, state);
    const after = noPromise(apply(state, record));
    if (!isAlike(state, before)) throw impure(view, record.id, "changes its state");
    if (!isAlike(apply(before, record), after)) throw impure(view, record.id, "gives another state each time");
    return after;
  };
}
