/** The server's public key, as the Worker asks for it: the answer at `__ds/jwks.json`, and whose wake a token is of. */
import type { Env } from "../env.ts";
import { subscriptionsOf } from "../rpc/subscription-peer.ts";
import { tenantOfWake } from "./calls.ts";
import { jwksOf } from "./webhook-signing.ts";

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
