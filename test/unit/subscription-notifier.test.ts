/** How a stream's object reports appends to the subscriptions' object when that object does not answer. */
import { describe, expect, it } from "vitest";
import type { Env } from "../../worker/env.ts";
import { SubscriptionNotifier } from "../../worker/log-object/subscription-notifier.ts";
import type { Stream } from "../../worker/stream/stream.ts";

function world() {
  const calls: number[] = [];
  const planned: number[] = [];
  const events: Record<string, unknown>[] = [];
  const pending: Promise<unknown>[] = [];
  const peer = { isAway: true };
  const stream = { config: { tenant: "t", path: "a", id: "0" }, log: { logEndOffset: 1 }, store: { isEnded: false } };
  // A stand-in for the table of pauses: a pause lasts until the test ends it.
  const retry = {
    failures: 0,
    at: 0,
    next: 0,
    failed: () => (Object.assign(retry, { failures: retry.failures + 1, at: Infinity, next: Infinity }), 7),
    succeeded: () => void Object.assign(retry, { failures: 0, at: 0, next: 0 }),
  };
  const moved = async (_: string, { tail }: { readonly tail: number }): Promise<void> => {
    calls.push(tail);
    if (peer.isAway) throw new Error("away");
  };
  const SUBSCRIPTIONS = { idFromName: (name: string) => name, get: () => ({ moved }) };
  const woken = (): SubscriptionNotifier =>
    new SubscriptionNotifier({
      env: { SUBSCRIPTIONS } as unknown as Env,
      retry,
      stream: async () => stream as Stream,
      planAt: (at) => void planned.push(at),
      event: (name, fields) => void events.push({ name, ...fields }),
      waitUntil: (work) => void pending.push(work),
    });
  const settled = (): Promise<unknown> => Promise.all(pending);
  return { calls, planned, events, peer, stream, retry, woken, settled };
}

describe("an object of subscriptions that is away", () => {
  it("is not called again before the pause is over, whatever is appended, also after a sleep", async () => {
    const { calls, planned, events, stream, woken, settled } = world();
    const notifier = woken();
    notifier.start(0);
    notifier.moved(1);
    await settled();
    expect([calls, events]).toEqual([[1], [expect.objectContaining({ name: "tell_failed", failures: 1, retryMs: 7 })]]);
    stream.log.logEndOffset = 2;
    notifier.moved(2);
    const again = woken();
    again.start(0);
    again.moved(2);
    await again.all();
    await settled();
    expect(calls).toEqual([1]);
    // Each append plans the alarm for the end of the pause, which the test has not ended.
    expect(planned.slice(1)).toEqual([Infinity, Infinity, Infinity, Infinity]);
  });

  it("gets everything by the alarm once it answers again, and nothing is left to report", async () => {
    const { calls, peer, stream, retry, woken, settled } = world();
    const notifier = woken();
    notifier.start(0);
    notifier.moved(1);
    await settled();
    stream.log.logEndOffset = 3;
    peer.isAway = false;
    const again = woken();
    again.start(0);
    Object.assign(retry, { at: 0 });
    await again.all();
    expect([calls, retry.failures]).toEqual([[1, 3], 0]);
    await again.all();
    expect(calls).toEqual([1, 3]);
  });

  it("is not called for a stream that was deleted in the meantime", async () => {
    const { events, stream, retry, woken, settled } = world();
    const notifier = woken();
    notifier.start(0);
    notifier.moved(1);
    stream.store.isEnded = true;
    await settled();
    expect([events, retry.failures]).toEqual([[], 0]);
  });
});
