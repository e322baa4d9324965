/** How the object of a stream is found, by a name that is made of tenant and path, and what it answers. */
import type { DurableObjectId, DurableObjectStub } from "@cloudflare/workers-types";
import type { Env } from "../env.ts";
import type { AppendCall } from "./append-call.ts";
import type { Peer } from "./fork-peer.ts";
import type { StreamPeer } from "./stream-peer.ts";

/** The tenant of requests without a token, where open access is set. */
export const OPEN_TENANT = "dev";

/** The object of a stream. Tenant and path are joined so that no two pairs give one name. */
export const objectName = (tenant: string, path: string): string => `${encodeURIComponent(tenant)}/${path}`;

/** Requests and answers in the words of this program; a stub's own are those of the package of Workers' types. */
export interface Answering {
  fetch(request: Request): Promise<Response>;
}

/** A stream's object, as others see it (log-object.ts). */
export type StreamObject = Answering & AppendCall & Peer & StreamPeer;

/** An object's methods are what its class has: no type of a stub says so. */
const asStream = (stub: DurableObjectStub): StreamObject => stub as StreamObject & DurableObjectStub;

export const streamObject = ({ LOGS }: Pick<Env, "LOGS">, tenant: string, path: string): StreamObject =>
  asStream(LOGS.get(LOGS.idFromName(objectName(tenant, path))));

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

/** The same with ids that are kept. A stub whose object was reset stays broken, so each request takes a new one. */
export const stubOf = (env: Env, tenant: string, path: string): StreamObject =>
  asStream(env.LOGS.get(idOf(env, objectName(tenant, path))));
