/**
 * What others ask of the objects of subscriptions: one for each tenant, and one that keeps the server's signing key.
 */
import type { Env } from "../env.ts";
import type { DurableObjectStub } from "@cloudflare/workers-types";
import type { StreamTold } from "./stream-peer.ts";
import { type Answering, objectName } from "./stubs.ts";

const KEYS = "keys";

/** The server's key for webhooks and for tokens of wakes. */
export interface SigningKey {
  readonly kid: string;
  readonly privateJwk: JsonWebKey;
  readonly publicJwk: JsonWebKey;
}

export interface SubscriptionPeer {
  created(tenant: string, stream: StreamTold): Promise<boolean>;
  moved(tenant: string, stream: StreamTold): Promise<void>;
  removed(path: string, id: string): Promise<void>;
  /** Paths of the tenant's streams behind `after`, in order, at most `limit`. */
  paths(after: string, limit: number): Promise<readonly string[]>;
  signingKey(): Promise<SigningKey>;
}

/** The object of a tenant's subscriptions; without a tenant, the object of the server's signing key. */
export function subscriptionsOf(env: Env, tenant: string | undefined): SubscriptionPeer & Answering {
  const name = tenant === undefined ? KEYS : objectName(tenant, "");
  const stub = env.SUBSCRIPTIONS.get(env.SUBSCRIPTIONS.idFromName(name));
  return stub as SubscriptionPeer & Answering & DurableObjectStub;
}

const REMOVED_TRIES = 5;
const REMOVED_PAUSE_MS = 1_000;

/**
 * Tells that a stream has ended. Nothing of the stream is left that could be told again later, so the call is repeated
 * now: after 1, 2, 4 and 8 s.
 */
export async function tellRemoved(
  env: Env,
  stream: { readonly tenant: string; readonly path: string; readonly id: string },
): Promise<void> {
  for (let tries = 0; tries < REMOVED_TRIES; tries++) {
    if (tries > 0) await new Promise((resolve) => setTimeout(resolve, REMOVED_PAUSE_MS * 2 ** (tries - 1)));
    try {
      // A stub that has failed once may go on failing.
      return await subscriptionsOf(env, stream.tenant).removed(stream.path, stream.id);
    } catch {
      // The object is being reset, or has too much to do.
    }
  }
}
