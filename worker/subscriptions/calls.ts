/**
 * Which call on a subscription a URL means, and who may make it. The router and the object both use this, so that they
 * can't understand a path differently.
 *
 *   PUT GET DELETE  __ds/subscriptions/<id>                   admin:**
 *   POST            __ds/subscriptions/<id>/streams           admin:**
 *   DELETE          __ds/subscriptions/<id>/streams/<path>    admin:**
 *   POST            __ds/subscriptions/<id>/claim             read:**
 *   POST            __ds/subscriptions/<id>/callback ack release    the wake's own token
 *
 * A wake's token is `<tenant>.<seal>.<secret>`. The seal is the server's signature of the tenant, so only a token that
 * this server made reaches a tenant's object. There the secret is compared with that of the current wake.
 */
import { textEncoder } from "../../src/record/bytes.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { decodePath, STREAM_PREFIX } from "../wire/paths.ts";
import { base64url, bytesOfBase64url, signText, verifyText } from "./webhook-signing.ts";
import type { SigningKey } from "../rpc/subscription-peer.ts";

export type SubscriptionAction =
  "put" | "get" | "delete" | "link" | "unlink" | "claim" | "callback" | "ack" | "release";

export interface SubscriptionCall {
  readonly id: string;
  readonly action: SubscriptionAction;
  /** For unlink: the stream. */
  readonly path: string;
}

/** Calls of a worker that was woken, which need the token of that wake. */
const OF_WAKES: ReadonlySet<SubscriptionAction> = new Set(["callback", "ack", "release"]);
export const isWakes = ({ action }: SubscriptionCall): boolean => OF_WAKES.has(action);

const ID_CHARS_MAX = 256;
const BY_METHOD = new Map<string, SubscriptionAction>([
  ["PUT", "put"],
  ["GET", "get"],
  ["DELETE", "delete"],
]);
const BY_NAME = new Map<string, SubscriptionAction>(
  (["claim", "callback", "ack", "release"] as const).map((name) => [name, name]),
);
const NO_CALL =
  "a subscription takes PUT, GET, DELETE; POST to …/claim, …/ack, …/callback, …/release, " +
  "…/streams; DELETE of …/streams/<path>";
const NO_RESOURCE =
  "no such resource: subscriptions are at __ds/subscriptions/<id>, keys at __ds/jwks.json, " +
  "the list of streams at __ds/streams";
const NO_WAKE_TOKEN = "this call needs the token of the wake: callback_token of the webhook, or token of the claim";

/** Throws NOT_FOUND for a URL that is not a subscription's, METHOD_NOT_ALLOWED for a call that does not exist. */
export function subscriptionCallOf(method: string, pathname: string): SubscriptionCall {
  // Split before it is decoded: an encoded slash belongs to a name.
  const [ds, kind, id, name, ...rest] = pathname.slice(STREAM_PREFIX.length).split("/").map(decodePath);
  if (!pathname.startsWith(STREAM_PREFIX) || ds !== "__ds" || kind !== "subscriptions" || !id) {
    throw new EdgeError("NOT_FOUND", NO_RESOURCE);
  }
  if (id.length > ID_CHARS_MAX) throw badRequest(`a subscription's id has 1 to ${ID_CHARS_MAX} characters`);
  const path = rest.join("/");
  let action: SubscriptionAction | undefined;
  if (name === undefined) action = BY_METHOD.get(method);
  else if (name === "streams" && path !== "") action = method === "DELETE" ? "unlink" : undefined;
  else if (rest.length === 0 && method === "POST") action = name === "streams" ? "link" : BY_NAME.get(name);
  if (action === undefined) {
    const allow = name === undefined ? "PUT, GET, DELETE" : name === "streams" && path !== "" ? "DELETE" : "POST";
    throw new EdgeError("METHOD_NOT_ALLOWED", NO_CALL, { allow: `${allow}, OPTIONS` });
  }
  return { id, action, path };
}

// --- tokens of wakes -----------------------------------------------------------------------------------------------

const sealed = (tenant: string): string => `tidemark-wake:${tenant}`;

/** The part `<tenant>.<seal>`, which all wake tokens of a tenant share. */
export async function wakeSealOf(key: SigningKey, tenant: string): Promise<string> {
  return `${base64url(textEncoder.encode(tenant))}.${base64url(await signText(key, sealed(tenant)))}`;
}

export const newWakeToken = (seal: string): string =>
  `${seal}.${base64url(crypto.getRandomValues(new Uint8Array(24)))}`;

const WAKE_TOKEN = /^([\w-]{1,700})\.([\w-]{86})\.[\w-]{32}$/;

/**
 * The tenant that a wake's token belongs to. The key is fetched only for a text that looks like a token. Throws
 * UNAUTHORIZED.
 */
export async function tenantOfWake(token: string | undefined, publicKey: () => Promise<JsonWebKey>): Promise<string> {
  const [, name = "", seal = ""] = WAKE_TOKEN.exec(token ?? "") ?? [];
  try {
    const tenant = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytesOfBase64url(name));
    if (name !== "" && (await verifyText(await publicKey(), sealed(tenant), bytesOfBase64url(seal)))) return tenant;
  } catch (thrown) {
    if (!(thrown instanceof TypeError) && !(thrown instanceof DOMException)) throw thrown;
  }
  throw new EdgeError("UNAUTHORIZED", NO_WAKE_TOKEN);
}

/** Compares two texts in a time that does not show how much of them is equal. */
export function sameText(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i % Math.max(1, b.length));
  return difference === 0 && b !== "";
}
