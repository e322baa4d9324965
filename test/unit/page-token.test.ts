/** A page's token function that never answers authenticate(), by a clock that is turned by hand. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { pageSync } from "../../src/browser/sync/page-sync.ts";
import type { SyncAsk } from "../../src/browser/sync/words.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("is a TIMEOUT after ten seconds, the worker is asked nothing, and the next call counts", async () => {
  const asked: SyncAsk[] = [];
  const tide = { ended: undefined, syncing: undefined, tell: () => undefined };
  const sync = pageSync({ ask: async (ask) => void asked.push(ask), tide, topics: new Map() });
  const late = sync.authenticate(() => new Promise<null>(() => undefined)).catch((thrown: unknown) => thrown);
  await vi.advanceTimersByTimeAsync(9_999);
  expect(await Promise.race([late, "waits"])).toBe("waits");
  await vi.advanceTimersByTimeAsync(1);
  expect(await late).toMatchObject({ code: "TIMEOUT", kind: "retry", details: { field: "token", ms: 10_000 } });
  expect(asked.map(({ ask }) => ask)).not.toContain("authenticate");
  await sync.authenticate(() => "t");
  expect([asked.at(-1), vi.getTimerCount()]).toEqual([{ ask: "authenticate", token: "t" }, 0]);
});
