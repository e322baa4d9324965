/**
 * A PUT whose object ends in the middle, inside workerd: before its records are stored there is no stream; behind that
 * there is one, and subscriptions are told of it.
 */
import { evictDurableObject } from "cloudflare:test";
import { afterEach, describe, expect, it, vi } from "vitest";
import { Stream } from "../../worker/stream/stream.ts";
import { call as rawCall, inside, objectOf } from "./archive-tools.ts";
import { call, fresh, JSON_TYPE, make, subscription, until } from "./subscription-tools.ts";

const put = async (path: string, headers: Record<string, string> = {}, body: string | null = "[1,2]") =>
  (await rawCall(path, "PUT", { ...JSON_TYPE, ...headers }, body ?? undefined)).status;
const tablesOf = (path: string): Promise<number> =>
  inside(
    path,
    (_, { storage: { sql } }) =>
      sql.exec("SELECT name FROM sqlite_master WHERE name IN ('meta', 'chunk')").toArray().length,
  );
async function read(path: string): Promise<unknown> {
  const response = await rawCall(path, "GET");
  return response.status === 200 ? response.json() : response.status;
}

/** Sends a PUT that fails where it is about to store its records, or to note that it is done. Then its object ends. */
async function cut(at: "begin" | "done", path: string, ...sent: [Record<string, string>?, (string | null)?]) {
  const end = (): never => {
    throw new Error("the object ends");
  };
  const { save } = Stream.prototype;
  if (at === "begin") vi.spyOn(Stream.prototype, "begin").mockImplementation(end);
  else
    vi.spyOn(Stream.prototype, "save").mockImplementation(function (this: Stream, change) {
      return "creating" in change ? end() : save.call(this, change);
    });
  expect(await put(path, ...sent)).toBe(500);
  vi.restoreAllMocks();
  await evictDurableObject(objectOf(path));
}

afterEach(() => void vi.restoreAllMocks());

describe("a PUT whose object ends", () => {
  it("before its records are stored has made nothing, and makes it when it is sent again", async () => {
    const path = fresh("cut");
    await cut("begin", path);
    expect([await read(path), await tablesOf(path)]).toEqual([404, 0]);
    expect(await put(path)).toBe(201);
    expect(await read(path)).toEqual([1, 2]);
  });

  it("as that of a fork does not hold its source", async () => {
    const [source, fork] = [fresh("source"), fresh("fork")];
    expect(await put(source)).toBe(201);
    const headers = { "stream-forked-from": `/v1/stream/${source}` };
    await cut("begin", fork, headers, "[3]");
    expect(await read(fork)).toBe(404);
    const forks = (): Promise<number> =>
      inside(
        source,
        (_, { storage: { sql } }) => sql.exec("SELECT key FROM meta WHERE key LIKE 'fork:%'").toArray().length,
      );
    await until(async () => (await forks()) === 0);
    expect(await put(fork, headers, "[3]")).toBe(201);
    expect(await read(fork)).toEqual([1, 2, 3]);
  });

  it("behind that has made it whole: a stream that is closed without a record is closed at once", async () => {
    const path = fresh("cut");
    const headers = { "stream-closed": "true" };
    await cut("done", path, headers, null);
    expect((await rawCall(path, "HEAD")).headers.get("stream-closed")).toBe("true");
    expect(await put(path, headers, null)).toBe(200);
  });

  it("before it has noted that somebody subscribes notes it later", async () => {
    const [id, wakes, path] = [fresh(), await make(fresh("wakes")), `${fresh("cut")}/a`];
    const config = { type: "pull-wake", wake_stream: wakes, pattern: `${path.slice(0, -1)}*` };
    expect((await call(subscription(id), "PUT", config)).status).toBe(201);
    await cut("done", path);
    expect(await read(path)).toEqual([1, 2]);
    await until(async () => ((await (await call(wakes, "GET")).json()) as unknown[]).length === 1);
    await call(subscription(id), "DELETE");
  });
});
