/** What others ask of the objects of subscriptions: one per tenant, and one that keeps the server's signing key. */
import { type Env, objectName } from "../env.ts";
import { jwksOf, type SigningKey } from "../subscriptions/webhook-signing.ts";
import { tenantOfWake } from "../subscriptions/calls.ts";

const KEYS = "keys";

/** A stream as it tells of itself: `id` is that of its creation. */
export interface StreamTold {
  readonly path: string;
  readonly id: string;
  readonly tail: number;
}

export interface SubscriptionPeer {
  created(tenant: string, stream: StreamTold): Promise<boolean>;
  moved(tenant: string, stream: StreamTold): Promise<void>;
  removed(path: string, id: string): Promise<void>;
  signingKey(): Promise<SigningKey>;
}

interface Fetcher {
  fetch(request: Request): Promise<Response>;
}

/** The object of a tenant's subscriptions, or of the server's signing key. */
export function subscriptionsOf(env: Env, tenant: string | undefined): SubscriptionPeer & Fetcher {
  const name = tenant === undefined ? KEYS : objectName(tenant, "");
  return env.SUBSCRIPTIONS.get(env.SUBSCRIPTIONS.idFromName(name)) as never;
}

export const jwksResponse = async (env: Env): Promise<Response> =>
  new Response(JSON.stringify(jwksOf(await subscriptionsOf(env, undefined).signingKey())), {
    headers: { "content-type": "application/jwk-set+json", "cache-control": "public, max-age=300" },
  });

/** The key is made once for all time, so that an isolate asks for it once; made-up tokens ask no object. */
let publicKey: { readonly key: JsonWebKey; readonly at: number } | undefined;
/** A database that was thrown away has a new key. It is asked for again no sooner than this. */
const KEY_AGAIN_MS = 10_000;

async function publicKeyOf(env: Env): Promise<JsonWebKey> {
  publicKey ??= { key: (await subscriptionsOf(env, undefined).signingKey()).publicJwk, at: Date.now() };
  return publicKey.key;
}

/** Whose wake this token is of. Throws UNAUTHORIZED for what this server has not made. */
export async function wakeTenantOf(env: Env, token: string | undefined): Promise<string> {
  try {
    return await tenantOfWake(token, () => publicKeyOf(env));
  } catch (thrown) {
    if (publicKey === undefined || Date.now() - publicKey.at < KEY_AGAIN_MS) throw thrown;
    publicKey = undefined;
    return tenantOfWake(token, () => publicKeyOf(env));
  }
}
