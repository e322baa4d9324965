/** A stream's end is told to the tenant's subscriptions again when that fails (worker/rpc/subscription-peer.ts). */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { tellRemoved } from "../../worker/rpc/subscription-peer.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

const STREAM = { tenant: "t", path: "orders", id: "7" };

/** Objects of which the first `failures` calls fail, each by a stub of its own. */
function subscriptions(failures: number) {
  const calls: string[] = [];
  let stubs = 0;
  const get = () => {
    const stub = ++stubs;
    return {
      removed: async (path: string, id: string) => {
        calls.push(`${stub} ${path} ${id}`);
        if (stub <= failures) throw new Error("the object is being reset");
      },
    };
  };
  return { calls, env: { SUBSCRIPTIONS: { get, idFromName: (name: string) => name } } as never };
}

it.each([
  [0, 0, 1],
  [2, 3_000, 3],
  // It is given up, and nobody hears of it.
  [9, 15_000, 5],
])("%i calls fail: over after %i ms and %i calls", async (failures, ms, calls) => {
  const found = subscriptions(failures);
  let isOver = false;
  void tellRemoved(found.env, STREAM).then(() => (isOver = true));
  await vi.advanceTimersByTimeAsync(Math.max(ms - 1, 0));
  expect(isOver).toBe(ms === 0);
  await vi.advanceTimersByTimeAsync(1);
  expect(isOver).toBe(true);
  expect(found.calls).toEqual(Array.from({ length: calls }, (_, i) => `${i + 1} orders 7`));
});
