/** For tests inside workerd: subscriptions of one tenant, and the rows of their object. */
import { runInDurableObject } from "cloudflare:test";
import { expect } from "vitest";
import { objectName } from "../../worker/rpc/stubs.ts";
import { call as rawCall, type Inside, real, type State } from "./archive-tools.ts";

export const JSON_TYPE = { "content-type": "application/json" };
let names = 0;
export const fresh = (kind = "sub"): string => `${kind}-${++names}`;
export const call = (path: string, method: string, body?: unknown): Promise<Response> =>
  rawCall(path, method, JSON_TYPE, body === undefined ? undefined : JSON.stringify(body));
export const subscription = (id: string, rest = ""): string => `__ds/subscriptions/${id}${rest}`;
export const object = (): never =>
  real.SUBSCRIPTIONS.get(real.SUBSCRIPTIONS.idFromName(objectName("dev", ""))) as never;
export const within = <T>(work: (instance: Inside, state: State) => T | Promise<T>): Promise<T> =>
  runInDurableObject(object(), work as never) as Promise<T>;
export const rows = (query: string, ...bindings: string[]): Promise<Record<string, unknown>[]> =>
  within((_, { storage: { sql } }) => sql.exec(query, ...bindings).toArray());
export const linksOf = async (id: string): Promise<string[]> =>
  (await rows("SELECT path FROM link WHERE subscription = ? ORDER BY path", id)).map(({ path }) => String(path));

export async function make(path: string, body: unknown = []): Promise<string> {
  expect((await call(path, "PUT", body)).status).toBe(201);
  return path;
}
export async function until(what: () => Promise<boolean>): Promise<void> {
  for (let turn = 0; turn < 500; turn++) {
    if (await what()) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error("it never came to that");
}
