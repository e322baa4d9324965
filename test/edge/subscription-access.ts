/**
 * What the tests of access to subscriptions share inside workerd: an edge with open access off, tokens for it, and
 * subscriptions that have something to do.
 */
import { env } from "cloudflare:test";
import { SignJWT } from "jose";
import { expect } from "vitest";
import type { Env } from "../../worker/env.ts";
import { handle } from "../../worker/front/router.ts";

const SECRET = "a secret of at least thirty-two characters";
export const settings: Env = { ...env, TIDEMARK_OPEN_ACCESS: "", TIDEMARK_JWT_SECRETS: SECRET };
export const ORIGIN = "https://edge.example";
export const ROOT = "/v1/stream/__ds/subscriptions";

const tokenOf = (scope: string, tenant = "acme"): Promise<string> =>
  new SignJWT({ scope, tenant })
    .setProtectedHeader({ alg: "HS256" })
    .setExpirationTime("1m")
    .sign(new TextEncoder().encode(SECRET));

export async function ask(method: string, path: string, token?: string, body?: unknown): Promise<Response> {
  const headers: Record<string, string> = {
    "content-type": "application/json",
    ...(token !== undefined && { authorization: `Bearer ${token}` }),
  };
  const isWritten = typeof body === "string" || body === undefined || body instanceof Uint8Array;
  const sent = (isWritten ? body : JSON.stringify(body)) as BodyInit | undefined;
  return handle(new Request(ORIGIN + path, { method, headers, ...(sent !== undefined && { body: sent }) }), settings);
}
export const codeOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { error: { code: string } }).error.code;
export const messageOf = async (response: Response): Promise<string> =>
  ((await response.json()) as { error: { message: string } }).error.message;

export interface Claim {
  readonly wake_id: string;
  readonly generation: number;
  readonly token: string;
}

/** A token that allows everything, from `prepare` on. */
export let admin: string;
let count = 0;

/** Each suite calls this before its tests: workerd has neither a clock nor keys while a module loads. */
export async function prepare(): Promise<void> {
  admin = await tokenOf("read:** write:** admin:**");
  await ask("PUT", "/v1/stream/wakes", admin);
}

/** A new subscription whose stream has one message that is not yet acknowledged. */
export async function subscribed(): Promise<string> {
  const id = `s${++count}`;
  expect((await ask("PUT", `/v1/stream/in-${id}`, admin, "[1]")).status).toBe(201);
  const config = { type: "pull-wake", streams: [`in-${id}`], wake_stream: "wakes", lease_ttl_ms: 60_000 };
  expect((await ask("PUT", `${ROOT}/${id}`, admin, config)).status).toBe(201);
  expect((await ask("POST", `/v1/stream/in-${id}`, admin, "[2]")).status).toBe(204);
  return id;
}
export const claimed = async (id: string): Promise<Claim> =>
  (await ask("POST", `${ROOT}/${id}/claim`, admin, { worker: "w" })).json() as Promise<Claim>;
export const cursorOf = async (id: string): Promise<string> =>
  ((await (await ask("GET", `${ROOT}/${id}`, admin)).json()) as { streams: { acked_offset: string }[] }).streams[0]!
    .acked_offset;
export const at = (offset: number): string => `${String(offset).padStart(16, "0")}_${"0".repeat(16)}`;
export const base64url = (text: string): string =>
  btoa(text).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
