/** For tests of object storage inside workerd: fills streams with segments, and reports what is in rows and in R2. */
import { env, runDurableObjectAlarm, runInDurableObject, SELF } from "cloudflare:test";
import type { Env } from "../../worker/env.ts";
import { objectName } from "../../worker/rpc/stubs.ts";

export const real = env as Env & { readonly SEGMENTS: TestBucket };
export interface TestBucket {
  put(key: string, value: Uint8Array, options?: unknown): Promise<object | null>;
  get(key: string, options?: unknown): Promise<{ arrayBuffer(): Promise<ArrayBuffer> } | null>;
  delete(keys: string | string[]): Promise<void>;
  list(options: { prefix: string }): Promise<{ objects: { key: string }[] }>;
}
/** Private fields of an object that the tests use. */
export interface Inside {
  env: Record<string, unknown>;
  ctx: { abort(reason: string): void };
}
export interface State {
  readonly storage: {
    readonly sql: {
      exec(query: string, ...bindings: unknown[]): { toArray(): Record<string, unknown>[] };
      readonly databaseSize: number;
    };
    transactionSync<T>(work: () => T): T;
    getAlarm(): Promise<number | null>;
    deleteAlarm(): Promise<void>;
  };
}

const TEXT = { "content-type": "text/plain" };
export const objectOf = (path: string): never => real.LOGS.get(real.LOGS.idFromName(objectName("dev", path))) as never;

export async function call(
  path: string,
  method: string,
  headers: Record<string, string> = {},
  body?: string | Uint8Array,
): Promise<Response> {
  const response = await SELF.fetch(`http://localhost/v1/stream/${path}`, {
    method,
    headers: { ...TEXT, ...headers },
    ...(body !== undefined && { body: body as BodyInit }),
  });
  const bytes = await response.arrayBuffer();
  return new Response([204, 304].includes(response.status) ? null : bytes, response);
}

/** A text that numbers its parts, so that a wrong place is noticed. */
export function textOf(from: number, bytes = 900_000): string {
  let text = "";
  for (let i = 0; text.length < bytes; i++) text += `${from}.${i};`;
  return text.slice(0, bytes);
}

/** Fills `segments` segments and a little more, repeating appends after resets. Returns the whole text. */
export async function fill(path: string, segments: number, first = 0): Promise<string> {
  let all = "";
  for (let i = 0; i < segments * 5 + 1; i++) {
    const text = textOf(first + i);
    const producer = { "producer-id": `p${first}`, "producer-epoch": "0", "producer-seq": String(i) };
    let status = 503;
    for (let tries = 0; status === 503 && tries < 10; tries++) ({ status } = await call(path, "POST", producer, text));
    if (status !== 200 && status !== 204) throw new Error(`append: ${status}`);
    all += text;
  }
  return all;
}

/** Reads the whole stream by catch-up reads. */
export async function readAll(
  path: string,
  ask: (url: string) => Promise<Response> = (url) => SELF.fetch(url),
): Promise<string> {
  let all = "";
  for (let offset = "-1"; ;) {
    const response = await ask(`http://localhost/v1/stream/${path}?offset=${offset}`);
    if (response.status !== 200) throw new Error(`read: ${response.status} ${await response.text()}`);
    all += await response.text();
    offset = response.headers.get("stream-next-offset")!;
    if (response.headers.get("stream-up-to-date") === "true") return all;
  }
}

export const inside = <T>(path: string, work: (instance: Inside, state: State) => T | Promise<T>): Promise<T> =>
  runInDurableObject(objectOf(path), work as never) as Promise<T>;

export interface Look {
  readonly sealed: number;
  readonly chunks: number;
  /** Rows of the archive by state: begun, kept, doomed. */
  readonly states: readonly number[];
  readonly keys: readonly string[];
}

export async function look(path: string): Promise<Look> {
  const found = await inside(path, (_, { storage: { sql } }) => {
    const has = (table: string) => sql.exec("SELECT 1 FROM sqlite_master WHERE name = ?", table).toArray().length > 0;
    const count = (query: string) => Number(sql.exec(query).toArray()[0]!["n"]);
    return {
      sealed: has("segment") ? count("SELECT count(*) AS n FROM segment") : 0,
      chunks: has("chunk") ? count("SELECT count(*) AS n FROM chunk") : 0,
      states: [0, 1, 2].map((state) =>
        has("archive") ? count(`SELECT count(*) AS n FROM archive WHERE state = ${state}`) : 0,
      ),
    };
  });
  const { objects } = await real.SEGMENTS.list({ prefix: `dev/${path}/` });
  return { ...found, keys: objects.map(({ key }) => key) };
}

/**
 * Runs alarms until every sealed segment is in R2 and nothing is left to delete. Rows that only began are made old, so
 * that the next run takes them up.
 */
export async function settle(path: string): Promise<Look> {
  for (const end = Date.now() + 15_000; Date.now() < end;) {
    // Wakes the object, which reads from its tables what is left to do.
    await call(path, "HEAD");
    await inside(path, (_, { storage: { sql } }) => {
      if (sql.exec("SELECT 1 FROM sqlite_master WHERE name = 'archive'").toArray().length > 0)
        void sql.exec("UPDATE archive SET at = 0 WHERE state = 0").toArray();
    });
    await runDurableObjectAlarm(objectOf(path));
    const found = await look(path);
    if (found.states[0] === 0 && found.states[2] === 0 && found.states[1] === found.sealed) return found;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  throw new Error(`the archive of ${path} is not settled after 15 s: ${JSON.stringify(await look(path))}`);
}
