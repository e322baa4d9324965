/**
 * A tenant's subscriptions inside workerd: changes while a subscription is being linked to its streams, and how much
 * one tenant may subscribe to.
 */
import { runDurableObjectAlarm } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { StreamPeer } from "../../worker/rpc/stream-peer.ts";
import { objectName } from "../../worker/rpc/stubs.ts";
import { LINK_BYTES_MAX, LINKS_MAX, SUBSCRIPTIONS_MAX } from "../../worker/subscriptions/limits.ts";
import { real } from "./archive-tools.ts";
import { offsetText } from "./sse-reader.ts";
import { call, fresh, linksOf, make, object, rows, subscription, until, within } from "./subscription-tools.ts";

/**
 * Holds the object's question to one stream back: `asked` resolves when the stream has answered, and the object gets
 * the answer only after `letGo`.
 */
async function holding(path: string): Promise<{ asked: Promise<void>; letGo(): Promise<void> }> {
  let [tell, go] = [(): void => {}, (): void => {}];
  const asked = new Promise<void>((resolve) => (tell = resolve));
  const gate = new Promise<void>((resolve) => (go = resolve));
  const held = String(real.LOGS.idFromName(objectName("dev", path)));
  await within((instance) => {
    const { LOGS } = instance.env as typeof instance.env & typeof real;
    const get = (id: never) => {
      const stub = LOGS.get(id) as ReturnType<typeof LOGS.get> & StreamPeer;
      if (String(id) !== held) return stub;
      return {
        appendJson: (text: string) => stub.appendJson(text),
        // The stream has answered, and the object waits for it.
        watched: async () => {
          const answer = await stub.watched();
          tell();
          // Polls, because a promise that is resolved in another request does not wake this one.
          while (await Promise.race([gate.then(() => false), new Promise((resolve) => setTimeout(resolve, 5, true))]));
          return answer;
        },
      };
    };
    instance.env = { ...instance.env, LOGS: { idFromName: (name: string) => LOGS.idFromName(name), get } };
  });
  const letGo = (): Promise<void> =>
    within((instance) => {
      instance.env = { ...instance.env, LOGS: real.LOGS };
      go();
    });
  return { asked, letGo };
}

describe("a subscription that is deleted while it is linked", () => {
  it.each(["PUT", "POST …/streams"])("leaves nothing behind: %s", async (by) => {
    const [id, wakes, path, other] = [
      fresh(),
      await make(fresh("wakes")),
      await make(fresh("a")),
      await make(fresh("b")),
    ];
    const config = { type: "pull-wake", wake_stream: wakes };
    if (by !== "PUT") expect((await call(subscription(id), "PUT", { ...config, streams: [other] })).status).toBe(201);
    const { asked, letGo } = await holding(path);
    const linking =
      by === "PUT"
        ? call(subscription(id), "PUT", { ...config, streams: [path, other] })
        : call(subscription(id, "/streams"), "POST", { streams: [path] });
    await asked;
    const gone = await call(subscription(id), "DELETE");
    await letGo();
    // The DELETE comes before the PUT has made the subscription, so the PUT counts as the later one.
    expect([by, gone.status, (await linking).status]).toEqual([by, ...(by === "PUT" ? [404, 201] : [204, 404])]);
    if (by === "PUT")
      expect([await linksOf(id), (await call(subscription(id), "DELETE")).status]).toEqual([[path, other].sort(), 204]);
    expect(await linksOf(id)).toEqual([]);
  });

  it("and made anew with the same name has what the later call says", async () => {
    const [id, wakes, path, other] = [
      fresh(),
      await make(fresh("wakes")),
      await make(fresh("a")),
      await make(fresh("b")),
    ];
    const { asked, letGo } = await holding(path);
    const first = call(subscription(id), "PUT", { type: "pull-wake", wake_stream: wakes, streams: [path] });
    await asked;
    expect(
      (await call(subscription(id), "PUT", { type: "pull-wake", wake_stream: wakes, streams: [other] })).status,
    ).toBe(201);
    await letGo();
    expect([(await first).status, await linksOf(id)]).toEqual([409, [other]]);
  });
});

describe("a stream that changes while a subscription is linked to others", () => {
  it("made anew meanwhile, it tells of its appends", async () => {
    const [id, wakes, slow, path] = [
      fresh(),
      await make(fresh("wakes")),
      await make(fresh("slow")),
      await make(fresh("anew"), [1]),
    ];
    const { asked, letGo } = await holding(slow);
    const linking = call(subscription(id), "PUT", { type: "pull-wake", wake_stream: wakes, streams: [slow, path] });
    await asked;
    await until(async () => (await rows("SELECT id FROM identity WHERE path = ?", path)).length === 1);
    const [before] = await rows("SELECT id FROM identity WHERE path = ?", path);
    expect((await call(path, "DELETE")).status).toBe(204);
    await until(async () => (await rows("SELECT id FROM identity WHERE path = ?", path)).length === 0);
    await make(path, [1, 2]);
    expect(await rows("SELECT id FROM identity WHERE path = ?", path)).not.toEqual([before]);
    await letGo();
    expect((await linking).status).toBe(201);
    expect((await call(path, "POST", [3])).status).toBe(204);
    await until(async () =>
      ((await (await call(wakes, "GET")).json()) as { stream: string }[]).some(({ stream }) => stream === path),
    );
    const { streams } = (await (await call(subscription(id), "GET")).json()) as {
      streams: { path: string; acked_offset: string }[];
    };
    expect(streams.find((stream) => stream.path === path)).toMatchObject({ acked_offset: offsetText(2) });
  });

  it("made meanwhile, by name and by a pattern, it is linked and tells of its appends", async () => {
    const root = fresh("root");
    const [id, wakes, slow, named, matched] = [
      fresh(),
      await make(fresh("wakes")),
      await make(`${root}/slow`),
      fresh("named"),
      `${root}/new`,
    ];
    const { asked, letGo } = await holding(slow);
    const linking = call(subscription(id), "PUT", {
      type: "pull-wake",
      wake_stream: wakes,
      streams: [named],
      pattern: `${root}/*`,
    });
    await asked;
    await make(named);
    await make(matched);
    await letGo();
    expect((await linking).status).toBe(201);
    expect(await linksOf(id)).toEqual([named, slow, matched].sort());
    for (const path of [named, matched]) {
      expect((await call(path, "POST", [1])).status).toBe(204);
      await until(async () => (await rows("SELECT tail FROM stream WHERE path = ?", path))[0]?.["tail"] === 1);
    }
  });

  it("one whose object does not answer: nothing of the subscription stays, and the call may be repeated", async () => {
    const [id, wakes, path, other] = [
      fresh(),
      await make(fresh("wakes")),
      await make(fresh("a")),
      await make(fresh("b")),
    ];
    const held = String(real.LOGS.idFromName(objectName("dev", path)));
    const away = { watched: () => Promise.reject(new Error("reset")) };
    await within(
      (instance) =>
        void (instance.env = {
          ...instance.env,
          LOGS: {
            idFromName: (name: string) => real.LOGS.idFromName(name),
            get: (each: never) => (String(each) === held ? away : real.LOGS.get(each)),
          },
        }),
    );
    const config = { type: "pull-wake", wake_stream: wakes, streams: [other, path] };
    const refused = await call(subscription(id), "PUT", config);
    expect([refused.status, refused.headers.get("tidemark-error")]).toEqual([503, "CLOSED"]);
    expect([await linksOf(id), (await call(subscription(id), "GET")).status]).toEqual([[], 404]);
    await within((instance) => void (instance.env = { ...instance.env, LOGS: real.LOGS }));
    expect((await call(subscription(id), "PUT", config)).status).toBe(201);
  });
});

describe("how much a tenant may subscribe to", () => {
  interface Refusal {
    readonly error: { readonly code: string; readonly message: string; readonly details: Record<string, number> };
  }
  const refusal = async (response: Response): Promise<unknown[]> => {
    const { error } = (await response.json()) as Refusal;
    return [response.status, error.code, error.details, error.message];
  };
  const numbered = (prefix: string, count: number): string[] =>
    Array.from({ length: count }, (_, i) => `${prefix}/${i}`);
  /** Writes rows as if these streams had been reported and linked. */
  const known = (paths: string[], id?: string): Promise<void> =>
    within((_, { storage: { sql } }) => {
      for (const path of paths) {
        sql.exec("INSERT INTO stream VALUES (?, 0)", path);
        if (id !== undefined) sql.exec("INSERT INTO link VALUES (?, ?, 0, 1, 0)", path, id);
      }
    });
  const wokenBy = async (wakes: string): Promise<string[]> =>
    ((await (await call(wakes, "GET")).json()) as { stream: string }[]).map(({ stream }) => stream);

  it("subscriptions: one more is refused and leaves nothing; after a deletion there is room", async () => {
    const [wakes, path] = [await make(fresh("wakes")), await make(fresh("a"))];
    const config = { type: "pull-wake", wake_stream: wakes, streams: [path] };
    const first = fresh();
    expect((await call(subscription(first), "PUT", config)).status).toBe(201);
    const present = Number((await rows("SELECT count(*) AS n FROM subscription"))[0]!["n"]);
    await within((_, { storage: { sql } }) => {
      for (let i = present; i < SUBSCRIPTIONS_MAX; i++)
        sql.exec(
          "INSERT INTO subscription SELECT ?, config, origin, created_at, state FROM subscription WHERE id = ?",
          `copy-${i}`,
          first,
        );
    });
    const id = fresh();
    expect(await refusal(await call(subscription(id), "PUT", config))).toEqual([
      429,
      "LIMIT_EXCEEDED",
      { subscriptions: 1_000, subscriptionsMax: 1_000 },
      expect.stringContaining("delete one"),
    ]);
    expect([await linksOf(id), (await call(subscription(id), "GET")).status]).toEqual([[], 404]);
    // The same call for a subscription that exists.
    expect((await call(subscription(first), "PUT", config)).status).toBe(200);
    expect((await call(subscription(first), "DELETE")).status).toBe(204);
    expect((await call(subscription(id), "PUT", config)).status).toBe(201);
    await within((_, { storage: { sql } }) => void sql.exec("DELETE FROM subscription WHERE id LIKE 'copy-%'"));
  });

  it("streams that a pattern matches: refused before any of them is asked", async () => {
    const [id, wakes, root] = [fresh(), await make(fresh("wakes")), fresh("root")];
    const paths = numbered(root, LINKS_MAX + 1);
    await known(paths);
    const config = { type: "pull-wake", wake_stream: wakes, pattern: `${root}/*` };
    expect(await refusal(await call(subscription(id), "PUT", config))).toEqual([
      429,
      "LIMIT_EXCEEDED",
      { streams: 1_001, streamsMax: 1_000 },
      expect.stringContaining("narrower patterns"),
    ]);
    expect([
      (await rows("SELECT path FROM stream WHERE path LIKE ?", `${root}/%`)).length,
      (await call(subscription(id), "GET")).status,
    ]).toEqual([1_001, 404]);
  });

  it("streams that are linked by name: all of a call, or none", async () => {
    const [id, wakes, root] = [fresh(), await make(fresh("wakes")), fresh("root")];
    const [one, two] = [await make(fresh("a")), await make(fresh("b"))];
    expect(
      (await call(subscription(id), "PUT", { type: "pull-wake", wake_stream: wakes, pattern: `${root}/*` })).status,
    ).toBe(201);
    await known(numbered(root, LINKS_MAX - 1), id);
    const link = (streams: string[]): Promise<Response> => call(subscription(id, "/streams"), "POST", { streams });
    expect(await refusal(await link([one, two]))).toEqual([
      429,
      "LIMIT_EXCEEDED",
      { streams: 1_001, streamsMax: 1_000 },
      expect.stringContaining("may have 1000"),
    ]);
    expect((await linksOf(id)).length).toBe(LINKS_MAX - 1);
    expect([(await link([one])).status, (await link([one])).status, (await link([two])).status]).toEqual([
      204, 204, 429,
    ]);
    expect((await call(subscription(id, `/streams/${one}`), "DELETE")).status).toBe(204);
    expect((await link([two])).status).toBe(204);
  });

  it("the bytes of their paths: what is allowed fits a row twice", async () => {
    const [wakes, root] = [await make(fresh("wakes")), fresh("root")];
    const paths = numbered(root, 765).map((path) => path.padEnd(1_000, "x"));
    const config = { type: "pull-wake", wake_stream: wakes };
    const id = fresh();
    const more = [...paths, ...numbered(`${root}/more`, 10).map((path) => path.padEnd(1_000, "x"))];
    expect(await refusal(await call(subscription(id), "PUT", { ...config, streams: more }))).toEqual([
      429,
      "LIMIT_EXCEEDED",
      { streams: 775, bytes: 775 * 1_026, bytesMax: LINK_BYTES_MAX },
      expect.stringContaining("bytes"),
    ]);
    // Streams that do not exist count as well.
    await within(
      (instance) =>
        void (instance.env = {
          ...instance.env,
          LOGS: { idFromName: (name: string) => name, get: () => ({ watched: async () => undefined }) },
        }),
    );
    expect((await call(subscription(id), "PUT", { ...config, streams: paths })).status).toBe(201);
    await within((instance) => void (instance.env = { ...instance.env, LOGS: real.LOGS }));
    await make(paths[0]!, [1]);
    await until(async () => (await wokenBy(wakes)).length === 1);
    const [{ bytes }] = (await rows(
      "SELECT length(CAST(config || origin || state AS BLOB)) AS bytes FROM subscription WHERE id = ?",
      id,
    )) as [{ bytes: number }];
    expect([bytes > 1_500_000, bytes < 2_000_000]).toEqual([true, true]);
    expect((await call(subscription(id), "DELETE")).status).toBe(204);
  });

  it("a stream that is made when there is no room works, as other subscriptions do; this one reports it", async () => {
    const [full, other, root] = [fresh(), fresh(), fresh("root")];
    const [fullWakes, wakes] = [await make(fresh("wakes")), await make(fresh("wakes"))];
    const known1 = await make(`${root}/known`);
    for (const [id, wake_stream] of [
      [full, fullWakes],
      [other, wakes],
    ] as const) {
      expect(
        (await call(subscription(id), "PUT", { type: "pull-wake", wake_stream, pattern: `${root}/*` })).status,
      ).toBe(201);
    }
    await known(numbered(`${root}/deep`, LINKS_MAX - 1), full);
    const path = await make(`${root}/late`);
    expect((await call(path, "POST", [1])).status).toBe(204);
    await until(async () => (await wokenBy(wakes)).includes(path));
    const describe = async (id: string) =>
      (await (await call(subscription(id), "GET")).json()) as { refused_streams?: number; streams: { path: string }[] };
    expect((await describe(full)).refused_streams).toBe(1);
    expect((await describe(other)).refused_streams).toBeUndefined();
    expect(await linksOf(full)).not.toContain(path);
    // Its other streams still work.
    expect((await call(known1, "POST", [1])).status).toBe(204);
    await until(async () => (await wokenBy(fullWakes)).includes(known1));
    expect((await call(subscription(full), "DELETE")).status).toBe(204);
    expect(await rows("SELECT * FROM refused WHERE subscription = ?", full)).toEqual([]);
  });

  describe("a subscription whose row can't be written", () => {
    afterEach(async () => {
      vi.useRealTimers();
      await within((_, { storage: { sql } }) => void sql.exec("DROP TRIGGER IF EXISTS full"));
    });

    it("holds up no other, nor the stream, and is tried again", async () => {
      const [bad, good] = [`a-${fresh()}`, `b-${fresh()}`];
      const [badWakes, wakes, path] = [await make(fresh("wakes")), await make(fresh("wakes")), await make(fresh("a"))];
      for (const [id, wake_stream] of [
        [bad, badWakes],
        [good, wakes],
      ] as const) {
        expect(
          (
            await call(subscription(id), "PUT", {
              type: "pull-wake",
              wake_stream,
              streams: [path],
              lease_ttl_ms: 1_000,
            })
          ).status,
        ).toBe(201);
      }
      await within(
        (_, { storage: { sql } }) =>
          void sql.exec(
            `CREATE TRIGGER full BEFORE UPDATE ON subscription WHEN NEW.id = '${bad}' BEGIN SELECT RAISE(ABORT, ` +
              `'too large'); END`,
          ),
      );
      expect((await call(path, "POST", [1])).status).toBe(204);
      await until(async () => (await wokenBy(wakes)).length === 1);
      vi.useFakeTimers({ toFake: ["Date"] });
      vi.setSystemTime(Date.now() + 5_000);
      await runDurableObjectAlarm(object());
      expect([await wokenBy(wakes), await wokenBy(badWakes)]).toEqual([[path, path], []]);
      await within((_, { storage: { sql } }) => void sql.exec("DROP TRIGGER full"));
      vi.setSystemTime(Date.now() + 61_000);
      await runDurableObjectAlarm(object());
      await until(async () => (await wokenBy(badWakes)).length === 1);
      for (const id of [bad, good]) await call(subscription(id), "DELETE");
    });
  });
});
