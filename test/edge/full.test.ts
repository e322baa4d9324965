/**
 * An object whose database is full, inside workerd: each call says so, or is done, and memory says what the tables say.
 * Room that a trim, a deletion or the operator has made is used again.
 */
import { env, runInDurableObject, SELF } from "cloudflare:test";
import { expect, it } from "vitest";
import { objectName } from "../../worker/rpc/stubs.ts";
import { at, batchOf, bind, fresh, make, objectOf, take, TEXT } from "./socket-tools.ts";

interface Instance {
  env: object;
}
interface State {
  readonly storage: { sql: { readonly databaseSize: number; exec(query: string, ...values: unknown[]): unknown } };
}

const inside = (path: string, work: (instance: Instance, state: State) => void): Promise<void> =>
  runInDurableObject(objectOf(path), (instance: unknown, state: State) => work(instance as Instance, state));

/** The object takes no more records than it has, or as many as ever. It has no bucket. */
const fill = (path: string, isFull = true): Promise<void> =>
  inside(path, (instance, { storage }) => {
    const bytes = isFull ? { TIDEMARK_DATABASE_BYTES: String(storage.sql.databaseSize) } : {};
    instance.env = { ...instance.env, SEGMENTS: undefined, TIDEMARK_DATABASE_BYTES: undefined, ...bytes };
  });

async function told(method: string, path: string, headers: object = {}, body?: string): Promise<unknown[]> {
  const init = { method, headers: { ...TEXT, ...headers }, ...(body !== undefined && { body }) };
  const response = await SELF.fetch(at(path), init);
  await response.arrayBuffer();
  return [response.status, response.headers.get("tidemark-error")];
}

const FULL = [507, "QUOTA_EXCEEDED"];
const producer = (seq: number) => ({ "producer-id": "p", "producer-epoch": "0", "producer-seq": String(seq) });
const offset = (number: number): string => `${String(number).padStart(16, "0")}_${"0".repeat(16)}`;

it("refuses each append as what it is, and takes it once there is room; follows and sockets stay", async () => {
  const path = await make(fresh(), "a");
  const log = await bind(path);
  const follow = log.follow("earliest");
  expect(await take(follow, 1)).toEqual(["a"]);
  await fill(path);
  expect(await told("POST", path, {}, "b")).toEqual(FULL);
  expect(await told("POST", path, producer(0), "b")).toEqual(FULL);
  await expect(log.append([batchOf(["b"])])).rejects.toMatchObject({ code: "QUOTA_EXCEEDED" });
  const three = ["b", "c", "d"].map((body) => told("POST", path, {}, body));
  for (const each of await Promise.all(three)) expect(each).toEqual(expect.toBeOneOf([FULL, [503, "CLOSED"]]));
  expect(await (await SELF.fetch(`${at(path)}?offset=-1`)).text()).toBe("a");
  await fill(path, false);
  // Not a duplicate: it was never taken.
  expect(await told("POST", path, producer(0), "b")).toEqual([200, null]);
  expect(await told("POST", path, producer(0), "b")).toEqual([204, null]);
  expect(await log.append([batchOf(["c"])])).toMatchObject([{ baseOffset: 2 }]);
  expect(await take(follow, 2)).toEqual(["b", "c"]);
  await fill(path);
  expect(await told("POST", path, { "stream-closed": "true" })).toEqual([204, null]);
  expect((await follow.next()).done).toBe(true);
  log.close();
});

it("is trimmed and deleted, and both make room", async () => {
  const path = await make(fresh(), "");
  await fill(path, false);
  const large = "x".repeat(900_000);
  for (let i = 0; i < 6; i++) expect(await told("POST", path, {}, large)).toEqual([204, null]);
  await fill(path);
  expect(await told("POST", path, {}, large)).toEqual(FULL);
  expect(await told("POST", path, { "tidemark-trim-before": offset(5), "content-type": "" })).toEqual([204, null]);
  expect(await told("POST", path, {}, large)).toEqual([204, null]);
  expect(await told("DELETE", path)).toEqual([204, null]);
  await make(path, large);
});

/** The platform refuses such statements. Undefined: none. */
const refuse = (object: never, refused: RegExp | undefined): Promise<void> =>
  runInDurableObject(object, (_: unknown, { storage: { sql } }: State) => {
    const { exec } = Object.getPrototypeOf(sql) as typeof sql;
    const value = (query: string, ...values: unknown[]): unknown => {
      if (refused?.test(query)) throw new Error("database or disk is full: SQLITE_FULL");
      return exec.call(sql, query, ...values);
    };
    Object.defineProperty(sql, "exec", { configurable: true, value });
  });

it("that the platform itself can't write says so to whoever makes a stream, a fork or a subscription", async () => {
  const path = fresh();
  const object = objectOf(path);
  await refuse(object, /^(CREATE|INSERT)/);
  expect(await told("PUT", path, {}, "a")).toEqual(FULL);
  await refuse(object, undefined);
  expect(await told("PUT", path, {}, "a")).toEqual([201, null]);
  await refuse(object, /^INSERT/);
  expect(await told("PUT", `${path}-fork`, { "stream-forked-from": `/v1/stream/${path}` })).toEqual(FULL);
  expect(await told("POST", path, { "stream-closed": "true" })).toEqual(FULL);
  const { SUBSCRIPTIONS } = env;
  const subscriptions = SUBSCRIPTIONS.get(SUBSCRIPTIONS.idFromName(objectName("dev", ""))) as never;
  const asked = JSON.stringify({ type: "pull-wake", wake_stream: "wakes", pattern: `${path}/*` });
  const subscribe = () => told("PUT", `__ds/subscriptions/${path.replace("/", "-")}`, {}, asked);
  await refuse(subscriptions, /^INSERT/);
  expect(await subscribe()).toEqual(FULL);
  await refuse(subscriptions, undefined);
  expect(await subscribe()).toEqual([201, null]);
});
