/**
 * What others ask of the objects of subscriptions: one for each tenant, and one that keeps the server's signing key.
 */
import type { Env } from "../env.ts";
import { objectName } from "./stubs.ts";

const KEYS = "keys";

/** The server's key for webhooks and for tokens of wakes. */
export interface SigningKey {
  readonly kid: string;
  readonly privateJwk: JsonWebKey;
  readonly publicJwk: JsonWebKey;
}

/** What a stream tells about itself. `id` is the id of its creation. */
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

/** The object of a tenant's subscriptions; without a tenant, the object of the server's signing key. */
export function subscriptionsOf(env: Env, tenant: string | undefined): SubscriptionPeer & Fetcher {
  const name = tenant === undefined ? KEYS : objectName(tenant, "");
  return env.SUBSCRIPTIONS.get(env.SUBSCRIPTIONS.idFromName(name)) as never;
}
