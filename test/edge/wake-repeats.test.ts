/** Wakes that no worker claims, inside workerd: when they are repeated, and what would repeat them without end. */
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

  /** The seconds between `count` wakes, when each alarm comes exactly when it is due. */
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
    // A worker claims the wake and dies. The next wake comes after its lease.
    const claimed = await call(subscription(id, "/claim"), "POST", { worker: "w" });
    expect([claimed.status, await untilOf(id)]).toEqual([200, Date.now() + LEASE_MS]);
    expect(await pauses(id, wakes, 3)).toEqual([30, 30, 60]);
    const generations = (await eventsOf(wakes)).map(({ generation }) => generation);
    expect([...new Set(generations)].sort((a, b) => a - b)).toEqual(generations);
    await call(subscription(id), "DELETE");
  });

  it("is repeated the same way for a webhook that never acknowledges, until it does", async () => {
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

  it("also when the stream is added later, and when an earlier version had taken it", async () => {
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

  describe("over those of others", () => {
    type Of = { readonly streams: string[] } | { readonly pattern: string };
    const put = (id: string, wake_stream: string, of: Of): Promise<Response> =>
      call(subscription(id), "PUT", { type: "pull-wake", wake_stream, ...of });

    /** Subscriptions in a row: each watches the wake stream of the one before it, as `of` says. */
    async function row(root: string, length: number, of: (path: string) => Of): Promise<string[]> {
      const ids = Array.from({ length }, () => fresh());
      for (const [i, id] of ids.entries())
        expect((await put(id, `${root}/w${i + 1}`, of(`${root}/w${i}`))).status).toBe(201);
      return ids;
    }
    const refusal = async (response: Response): Promise<unknown[]> => {
      const { error } = (await response.json()) as { error: { code: string; details: unknown; message: string } };
      return [response.status, error.code, error.details, error.message];
    };
    const byName = (path: string): Of => ({ streams: [path] });
    const byPattern = (path: string): Of => ({ pattern: `${path}*` });

    it.each([
      ["two, by name", 1, byName, byName],
      ["two, by a pattern", 1, byPattern, byPattern],
      ["four, by name and by a pattern", 3, byName, byPattern],
      ["four, by a pattern and by name", 3, byPattern, byName],
    ])("%s: what would close the circle is refused, and leaves nothing", async (_, length, of, last) => {
      const root = fresh("circle");
      await row(root, length, of);
      const id = fresh();
      const watched = `${root}/w${length}`;
      expect(await refusal(await put(id, `${root}/w0`, last(watched)))).toEqual([
        409,
        "CONFLICT",
        { wakeStream: `${root}/w0`, watched, steps: length },
        expect.stringContaining(`"${watched}"`),
      ]);
      expect([(await call(subscription(id), "GET")).status, await linksOf(id)]).toEqual([404, []]);
      // Beside the circle there is room for as many as ever.
      expect((await put(id, `${root}/w0`, { streams: [`${root}/else`] })).status).toBe(201);
      expect(
        (await refusal(await call(subscription(id, "/streams"), "POST", { streams: [watched] }))).slice(0, 2),
      ).toEqual([409, "CONFLICT"]);
      expect((await call(subscription(id, "/streams"), "POST", { streams: [`${root}/more`] })).status).toBe(204);
    });

    it("is taken once a subscription of the circle is gone, or has let its stream go", async () => {
      const root = fresh("circle");
      const [first, second] = (await row(root, 2, byName)) as [string, string];
      const id = fresh();
      const close = (): Promise<Response> => put(id, `${root}/w0`, byName(`${root}/w2`));
      expect((await close()).status).toBe(409);
      expect((await call(subscription(second, `/streams/${root}/w1`), "DELETE")).status).toBe(204);
      expect((await close()).status).toBe(201);
      // Now it is there, and linking anew what was let go would close it.
      expect((await call(subscription(second, "/streams"), "POST", { streams: [`${root}/w1`] })).status).toBe(409);
      expect((await call(subscription(first), "DELETE")).status).toBe(204);
      expect((await call(subscription(second, "/streams"), "POST", { streams: [`${root}/w1`] })).status).toBe(204);
    });

    it("two calls at once close none: one of them is refused", async () => {
      const root = fresh("circle");
      const both = await Promise.all([
        put(fresh(), `${root}/w0`, byName(`${root}/w1`)),
        put(fresh(), `${root}/w1`, byName(`${root}/w0`)),
      ]);
      expect(both.map(({ status }) => status).sort()).toEqual([201, 409]);
    });
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
