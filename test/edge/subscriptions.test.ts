/** A tenant's subscriptions inside workerd: what a call that is cut short leaves behind, and how much one tenant may ask for. */
import { runInDurableObject } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { objectName } from "../../worker/env.ts";
import { call as rawCall, type Inside, real, type State } from "./archive-tools.ts";
import { offsetText } from "./sse-reader.ts";

const JSON_TYPE = { "content-type": "application/json" };
let names = 0;
const fresh = (kind = "sub"): string => `${kind}-${++names}`;
const call = (path: string, method: string, body?: unknown): Promise<Response> =>
  rawCall(path, method, JSON_TYPE, body === undefined ? undefined : JSON.stringify(body));
const subscription = (id: string, rest = ""): string => `__ds/subscriptions/${id}${rest}`;
const object = (): never => real.SUBSCRIPTIONS.get(real.SUBSCRIPTIONS.idFromName(objectName("dev", ""))) as never;
const within = <T>(work: (instance: Inside, state: State) => T | Promise<T>): Promise<T> =>
  runInDurableObject(object(), work as never) as Promise<T>;
const rows = (query: string, ...bindings: string[]): Promise<Record<string, unknown>[]> =>
  within((_, { storage: { sql } }) => sql.exec(query, ...bindings).toArray());
const linksOf = async (id: string): Promise<string[]> =>
  (await rows("SELECT path FROM link WHERE subscription = ? ORDER BY path", id)).map(({ path }) => String(path));

async function make(path: string, body: unknown = []): Promise<string> {
  expect((await call(path, "PUT", body)).status).toBe(201);
  return path;
}
async function until(what: () => Promise<boolean>): Promise<void> {
  for (let turn = 0; turn < 500; turn++) {
    if (await what()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("it never came to that");
}

/** Asked for one stream, the object waits for its answer until it is let go: `asked` resolves when it is. */
async function holding(path: string): Promise<{ asked: Promise<void>; letGo(): Promise<void> }> {
  let [tell, go] = [(): void => {}, (): void => {}];
  const asked = new Promise<void>((resolve) => (tell = resolve));
  const gate = new Promise<void>((resolve) => (go = resolve));
  const held = String(real.LOGS.idFromName(objectName("dev", path)));
  await within((instance) => {
    const { LOGS } = instance.env as unknown as typeof real;
    const get = (id: never) => {
      const stub = LOGS.get(id) as unknown as { watched(): Promise<unknown>; appendJson(text: string): Promise<void> };
      if (String(id) !== held) return stub;
      return {
        appendJson: (text: string) => stub.appendJson(text),
        // The answer is there, and on its way.
        watched: async () => {
          const answer = await stub.watched();
          tell();
          // A promise of the test's own request would not wake this one.
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
    // Not there yet, a PUT is of a subscription that comes after the DELETE.
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

  it("one whose object does not answer: nothing of the subscription is there, and the call may come again", async () => {
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
