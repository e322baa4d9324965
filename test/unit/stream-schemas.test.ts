/** A stream's schema that never answers holds up the appends behind it for a bounded time. */
import { afterEach, expect, it, vi } from "vitest";
import { JUDGING_MS } from "../../src/typed/turns.ts";
import { StreamSchemas } from "../../worker/log-object/stream-schemas.ts";

afterEach(() => void vi.useRealTimers());

it("its append is TIMEOUT, nothing of it is appended, and the others go on in their order", async () => {
  vi.useFakeTimers();
  const never = new Promise<never>(() => undefined);
  const validate = (value: unknown) => (value === "slow" ? never : Promise.resolve({ value }));
  const streams = new StreamSchemas({ "orders/*": { "~standard": { version: 1, vendor: "test", validate } } });
  const judge = streams.of("orders/1")!;
  const taken: string[] = [];
  const append = (text: string): Promise<unknown> =>
    judge
      .append({ body: new TextEncoder().encode(JSON.stringify(text)), contentType: "application/json" }, async () =>
        taken.push(text),
      )
      .catch((thrown: { code: string }) => thrown.code);
  const outcomes = Promise.all(["a", "slow", "b", "c"].map(append));
  await vi.advanceTimersByTimeAsync(JUDGING_MS - 1);
  expect(taken).toEqual(["a"]);
  await vi.advanceTimersByTimeAsync(1);
  expect(await outcomes).toEqual([1, "TIMEOUT", 2, 3]);
  expect([taken, vi.getTimerCount()]).toEqual([["a", "b", "c"], 0]);
});
