/** How the Worker finds the object of a stream: by a name that is made of tenant and path. */
import type { DurableObjectId, DurableObjectStub } from "@cloudflare/workers-types";
import type { Env } from "../env.ts";

/** The tenant of requests without a token, where open access is set. */
export const OPEN_TENANT = "dev";

/** The object of a stream. Tenant and path are joined so that no two pairs give one name. */
export const objectName = (tenant: string, path: string): string => `${encodeURIComponent(tenant)}/${path}`;

/** Ids by name. A name becomes an id by a keyed hash, which costs more than the rest of the routing. */
const ids = new Map<string, DurableObjectId>();
const IDS_MAX = 10_000;

function idOf(env: Env, name: string): DurableObjectId {
  const known = ids.get(name);
  if (known) return known;
  if (ids.size >= IDS_MAX) ids.clear();
  const id = env.LOGS.idFromName(name);
  ids.set(name, id);
  return id;
}

/** A stub whose object was reset stays broken, so each request takes a new one. */
export const stubOf = (env: Env, tenant: string, path: string): DurableObjectStub =>
  env.LOGS.get(idOf(env, objectName(tenant, path)));

export function send(env: Env, tenant: string, path: string, request: Request): Promise<Response> {
  return stubOf(env, tenant, path).fetch(request as never) as unknown as Promise<Response>;
}
