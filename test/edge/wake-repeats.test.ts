/** Wakes that nobody takes up, inside workerd: when they are repeated, and what would cause one without end. */
import { runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { call as rawCall } from "./archive-tools.ts";
import {
  JSON_TYPE,
  call,
  fresh,
  linksOf,
  make,
  object,
  rows,
  subscription,
  until,
  within,
} from "./subscription-tools.ts";

describe("a wake that nobody takes up", () => {
  afterEach(() => void vi.useRealTimers());
  const LEASE_MS = 30_000;
  const eventsOf = async (wakes: string): Promise<{ stream: string; generation: number; ts: number }[]> =>
    (await call(wakes, "GET")).json() as never;
  const untilOf = async (id: string): Promise<number> =>
    (
      JSON.parse(String((await rows("SELECT state FROM subscription WHERE id = ?", id))[0]!["state"])) as {
        until: number;
      }
    ).until;

  /** Seconds between wakes as the alarm comes exactly when it is due, `count` times. */
  async function pauses(id: string, wakes: string, count: number): Promise<number[]> {
    const found: number[] = [];
    for (let i = 0; i < count; i++) {
      const woken = (await eventsOf(wakes)).length;
      const [from, at] = [Date.now(), await untilOf(id)];
      vi.setSystemTime(at);
      await runDurableObjectAlarm(object());
      await until(async () => (await eventsOf(wakes)).length === woken + 1);
      found.push((at - from) / 1_000);
    }
    return found;
  }

  it("is repeated after the lease, then at doubled pauses up to ten minutes; a claim resets them", async () => {
    const [id, wakes, path] = [fresh(), await make(fresh("wakes")), await make(fresh("a"))];
    expect(
      (
        await call(subscription(id), "PUT", {
          type: "pull-wake",
          wake_stream: wakes,
          streams: [path],
          lease_ttl_ms: LEASE_MS,
        })
      ).status,
    ).toBe(201);
    vi.useFakeTimers({ toFake: ["Date"] });
    expect((await call(path, "POST", [1])).status).toBe(204);
    await until(async () => (await eventsOf(wakes)).length === 1);
    expect(await pauses(id, wakes, 8)).toEqual([30, 60, 120, 240, 480, 600, 600, 600]);
    // A worker that takes it and dies: the next is woken after its lease.
    const claimed = await call(subscription(id, "/claim"), "POST", { worker: "w" });
    expect([claimed.status, await untilOf(id)]).toEqual([200, Date.now() + LEASE_MS]);
    expect(await pauses(id, wakes, 3)).toEqual([30, 30, 60]);
    const generations = (await eventsOf(wakes)).map(({ generation }) => generation);
    expect([...new Set(generations)].sort((a, b) => a - b)).toEqual(generations);
    await call(subscription(id), "DELETE");
  });

  it("by a webhook that answers and never acknowledges, likewise; an acknowledgement begins anew", async () => {
    const [id, path] = [fresh(), await make(fresh("a"))];
    const bodies: { wake_id: string; generation: number; callback_token: string }[] = [];
    vi.stubGlobal(
      "fetch",
      async (_: string, { body }: { body: string }) => (bodies.push(JSON.parse(body) as never), new Response("{}")),
    );
    try {
      const config = {
        type: "webhook",
        webhook: { url: "https://example.com/hook" },
        streams: [path],
        lease_ttl_ms: LEASE_MS,
      };
      expect((await call(subscription(id), "PUT", config)).status).toBe(201);
      vi.useFakeTimers({ toFake: ["Date"] });
      expect((await call(path, "POST", [1])).status).toBe(204);
      const leased = (count: number): Promise<void> =>
        until(
          async () =>
            bodies.length === count &&
            JSON.parse(String((await rows("SELECT state FROM subscription WHERE id = ?", id))[0]!["state"])).phase ===
              "leased",
        );
      const found: number[] = [];
      const next = async (): Promise<void> => {
        await leased(bodies.length || 1);
        const [from, at] = [Date.now(), await untilOf(id)];
        const count = bodies.length;
        vi.setSystemTime(at);
        await runDurableObjectAlarm(object());
        await leased(count + 1);
        found.push((at - from) / 1_000);
      };
      await leased(1);
      for (let i = 0; i < 3; i++) await next();
      const { wake_id, generation, callback_token } = bodies.at(-1)!;
      const callback = await rawCall(
        subscription(id, "/callback"),
        "POST",
        { ...JSON_TYPE, authorization: `Bearer ${callback_token}` },
        JSON.stringify({ wake_id, generation }),
      );
      expect(callback.status).toBe(200);
      await next();
      expect(found).toEqual([30, 60, 120, 30]);
    } finally {
      vi.unstubAllGlobals();
      await call(subscription(id), "DELETE");
    }
  });
});

describe("a subscription and its own wake stream", () => {
  it.each([
    ["by name", { streams: ["own/wakes"] }],
    ["by a pattern", { pattern: "own/wakes" }],
    ["by *", { pattern: "own/*" }],
    ["by part of a segment", { pattern: "*/w*s" }],
    ["by **", { pattern: "**" }],
    ["by name beside a pattern", { pattern: "else/*", streams: ["a", "own/wakes"] }],
  ])("is refused: %s", async (_, of) => {
    const id = fresh();
    const response = await call(subscription(id), "PUT", { type: "pull-wake", wake_stream: "own/wakes", ...of });
    const { error } = (await response.json()) as { error: { code: string; message: string } };
    expect([response.status, error.code, error.message]).toEqual([
      400,
      "BAD_REQUEST",
      expect.stringContaining('wake_stream "own/wakes"'),
    ]);
    expect((await call(subscription(id), "GET")).status).toBe(404);
  });

  it("also when it is named later, and when an earlier version took it", async () => {
    const [id, path, wakes] = [fresh(), await make(fresh("a")), `${fresh("later")}/wakes`];
    expect(
      (await call(subscription(id), "PUT", { type: "pull-wake", wake_stream: wakes, streams: [path] })).status,
    ).toBe(201);
    expect((await call(subscription(id, "/streams"), "POST", { streams: [wakes] })).status).toBe(400);
    await within(
      (_, { storage: { sql } }) =>
        void sql.exec("UPDATE subscription SET config = json_set(config, '$.pattern', '**') WHERE id = ?", id),
    );
    await make(wakes);
    const other = await make(fresh("a"));
    expect(await linksOf(id)).toEqual([path, other].sort());
    await call(subscription(id), "DELETE");
  });

  it("a webhook's subscription has none, and takes any pattern", async () => {
    const id = fresh();
    expect(
      (
        await call(subscription(id), "PUT", {
          type: "webhook",
          webhook: { url: "https://example.com/hook" },
          pattern: "nobody/**",
        })
      ).status,
    ).toBe(201);
    await call(subscription(id), "DELETE");
  });
});
