/**
 * Calls below the reserved prefix, on their way to the object of a tenant's subscriptions: who may make them is decided
 * here.
 */
import type { Env } from "../env.ts";
import { TENANT_HEADER } from "../rpc/internal-headers.ts";
import { subscriptionsOf } from "../rpc/subscription-peer.ts";
import { isWakes, subscriptionCallOf } from "../subscriptions/calls.ts";
import { jwksResponse, wakeTenantOf } from "../subscriptions/server-key.ts";
import { askedAgain, lostCall } from "../rpc/lost.ts";
import { onlyRead } from "../wire/durable-streams.ts";
import { bearerOf } from "../wire/bearer.ts";
import { STREAM_PREFIX } from "../wire/paths.ts";
import { callerOf } from "./auth.ts";
import { bodyIn, isReading } from "./forward.ts";
import { checkBody, type Seen } from "./request-limits.ts";
import { LIST_PATH, streamList } from "./stream-list.ts";

const KEYS_PATH = `${STREAM_PREFIX}__ds/jwks.json`;
const INTERNAL = /^x-tidemark-/i;

/** Requests below the reserved prefix: subscriptions, the key that signs their webhooks, and the list of streams. */
export async function subscriptionResponse(
  request: Request,
  env: Env,
  seen: Seen,
  pathname: string,
): Promise<Response> {
  if (pathname === KEYS_PATH || pathname === LIST_PATH) {
    if (!isReading(request)) throw onlyRead();
    return pathname === LIST_PATH
      ? streamList(request, env)
      : askedAgain(() => jwksResponse(env), subscriptionsOf(env, undefined));
  }
  const call = subscriptionCallOf(request.method, pathname);
  checkBody(seen);
  const headers = new Headers([...request.headers].filter(([name]) => !INTERNAL.test(name)));
  let tenant: string;
  // A worker that was woken has the wake's own token. Its seal by the server is checked here; the object checks that it
  // belongs to the current wake.
  if (isWakes(call)) tenant = await tenantOfCall(env, request);
  else {
    const caller = await callerOf(request, env);
    // A pattern may match every stream of the tenant.
    caller.require(call.action === "claim" ? "read" : "admin", "**");
    tenant = caller.tenant;
    headers.set(TENANT_HEADER, encodeURIComponent(tenant));
  }
  const asked = new Request(request.url, { method: request.method, headers, body: bodyIn(request) });
  const ask = (): Promise<Response> => subscriptionsOf(env, tenant).fetch(asked);
  return call.action === "get" ? askedAgain(ask) : ask().catch((thrown: unknown) => Promise.reject(lostCall(thrown)));
}

/** The key is in an object of its own, and what a token lacks is told as it is. */
const tenantOfCall = (env: Env, { headers }: Request): Promise<string> =>
  askedAgain(() => wakeTenantOf(env, bearerOf(headers)), subscriptionsOf(env, undefined));
