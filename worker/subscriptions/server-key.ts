/**
 * The server's public key in the Worker: the answer at `__ds/jwks.json`, and which tenant a wake's token belongs to.
 */
import type { Env } from "../env.ts";
import { subscriptionsOf } from "../rpc/subscription-peer.ts";
import { tenantOfWake } from "./calls.ts";
import { jwksOf } from "./webhook-signing.ts";

export const jwksResponse = async (env: Env): Promise<Response> =>
  new Response(JSON.stringify(jwksOf(await subscriptionsOf(env, undefined).signingKey())), {
    headers: { "content-type": "application/jwk-set+json", "cache-control": "public, max-age=300" },
  });

/** The key never changes, so an isolate fetches it once, and tokens that are made up wake no object. */
let publicKey: { readonly key: JsonWebKey; readonly at: number } | undefined;
/** A database that was thrown away gets a new key. The key is fetched again at the earliest after this time. */
const KEY_AGAIN_MS = 10_000;

async function publicKeyOf(env: Env): Promise<JsonWebKey> {
  publicKey ??= { key: (await subscriptionsOf(env, undefined).signingKey()).publicJwk, at: Date.now() };
  return publicKey.key;
}

/** The tenant that this token belongs to. Throws UNAUTHORIZED if this server did not make the token. */
export async function wakeTenantOf(env: Env, token: string | undefined): Promise<string> {
  try {
    return await tenantOfWake(token, () => publicKeyOf(env));
  } catch (thrown) {
    if (publicKey === undefined || Date.now() - publicKey.at < KEY_AGAIN_MS) throw thrown;
    publicKey = undefined;
    return tenantOfWake(token, () => publicKeyOf(env));
  }
}
