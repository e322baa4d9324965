/**
 * The Durable Object of one tenant's subscriptions. Streams tell it when they are made and when they have moved; it wakes
 * workers, by webhook or by an event on a wake stream, and fences them.
 *
 *   idle ── something pending ──▶ waking ── claim, or webhook answered ──▶ leased ── done, released, or time is up ──▶ idle
 *                                   └── webhook failed ──▶ retrying ── 1 s … 60 s, 20 % jitter ──▶ waking
 *
 * Every wake has a generation of its own, one higher than the last; who comes with another is FENCED and changes nothing. All of
 * it is in the tables before anybody is told, so an evicted object goes on where it was; the alarm is the earliest `until`.
 */
import { DurableObject } from "cloudflare:workers";
import { type Env, objectName, TENANT_HEADER } from "./env.ts";
import { badRequest, errorResponse, HttpError, json } from "./http.ts";
import { formatOffset, parseOffset } from "./protocol.ts";
import { base64url, jwksOf, newSigningKey, signatureOf, type SigningKey } from "./signing.ts";
import { checkWebhook, configOf, matches, pathsOf } from "./subscription-rules.ts";
import { type Link, type Subscription, SubscriptionStore } from "./subscription-store.ts";

const WEBHOOK_TIMEOUT_MS = 10_000;
const RETRY_MS = { min: 1_000, max: 60_000 };
const KEYS = "keys";

interface StreamPeer {
  watched(): Promise<number>;
  appendJson(text: string): Promise<void>;
}
export interface SubscriptionPeer {
  created(tenant: string, path: string, tail: number, isNew: boolean): Promise<boolean>;
  moved(tenant: string, path: string, tail: number): Promise<void>;
  removed(path: string): Promise<void>;
  signingKey(): Promise<SigningKey>;
}

/** The object of a tenant's subscriptions, or of the server's signing key. */
export function subscriptionsOf(env: Env, tenant: string | undefined): SubscriptionPeer & { fetch(request: Request): Promise<Response> } {
  const name = tenant === undefined ? KEYS : objectName(tenant, "");
  return env.SUBSCRIPTIONS.get(env.SUBSCRIPTIONS.idFromName(name)) as never;
}

export class SubscriptionObject extends DurableObject<Env> implements SubscriptionPeer {
  #tables: SubscriptionStore | undefined;

  get #store(): SubscriptionStore {
    return (this.#tables ??= new SubscriptionStore(this.ctx.storage.sql));
  }

  /** Kept, because alarms come without a request to say whose object this is. */
  get #tenant(): string {
    return this.#store.secret("tenant") ?? "";
  }
  #remember(tenant: string): void {
    if (this.#store.secret("tenant") !== tenant) this.#store.saveSecret("tenant", tenant);
  }

  #stream(path: string): StreamPeer {
    return this.env.LOGS.get(this.env.LOGS.idFromName(objectName(this.#tenant, path))) as unknown as StreamPeer;
  }

  // --- what streams tell -------------------------------------------------------------------------------------------

  /** True when somebody subscribes to the stream, so that it must tell of its appends. */
  async created(tenant: string, path: string, tail: number, isNew: boolean): Promise<boolean> {
    this.#remember(tenant);
    for (const { id, config } of this.#store.all()) {
      // Before its first append counts: a new stream is linked at its beginning.
      if (config.pattern !== null && matches(config.pattern, path)) this.#store.link(id, path, "glob", isNew ? 0 : tail);
    }
    this.#store.setTail(path, tail);
    const subscribers = this.#store.subscribersOf(path);
    for (const id of subscribers) this.#consider(id);
    return subscribers.length > 0;
  }

  async moved(tenant: string, path: string, tail: number): Promise<void> {
    this.#remember(tenant);
    this.#store.setTail(path, tail);
    for (const id of this.#store.subscribersOf(path)) this.#consider(id);
  }

  async removed(path: string): Promise<void> {
    this.#store.removeStream(path);
  }

  async signingKey(): Promise<SigningKey> {
    const known = this.#store.secret("signing");
    if (known !== undefined) return JSON.parse(known) as SigningKey;
    const made = await newSigningKey();
    // Another request may have made one during the await.
    const meanwhile = this.#store.secret("signing");
    if (meanwhile !== undefined) return JSON.parse(meanwhile) as SigningKey;
    this.#store.saveSecret("signing", JSON.stringify(made));
    return made;
  }

  // --- waking ------------------------------------------------------------------------------------------------------

  #pending(id: string): Link[] {
    return this.#store.links(id).filter(({ tail, acked }) => tail > acked);
  }

  /** Wakes a worker if there is something to do and nobody is at it. True when it did. */
  #consider(id: string): boolean {
    const subscription = this.#store.get(id);
    if (!subscription || subscription.state.phase !== "idle") return false;
    const [first] = this.#pending(id);
    if (!first) return false;
    this.#wake(subscription, first.path);
    return true;
  }

  #wake(subscription: Subscription, path: string): void {
    this.#beginWake(subscription);
    const { id, config, state } = subscription;
    if (config.type === "webhook") {
      this.ctx.waitUntil(this.#deliver(id, state.generation));
      return;
    }
    const event = { type: "wake", subscription_id: id, stream: path, generation: state.generation, ts: Date.now() };
    // An event that does not get through is repeated when nobody has claimed by `until`.
    this.ctx.waitUntil(this.#stream(config.wakeStream!).appendJson(JSON.stringify(event)).catch(() => undefined));
  }

  #beginWake(subscription: Subscription, holder: string | null = null): void {
    const { id, config, state } = subscription;
    state.generation++;
    state.wakeId = `w_${base64url(crypto.getRandomValues(new Uint8Array(12)))}`;
    // The tenant is in the token, because who calls back with it has no other.
    state.token = `${base64url(new TextEncoder().encode(this.#tenant))}.${base64url(crypto.getRandomValues(new Uint8Array(24)))}`;
    state.phase = holder === null ? "waking" : "leased";
    state.holder = holder;
    state.until = Date.now() + config.leaseMs;
    state.attempts = 0;
    state.snapshot = Object.fromEntries(this.#store.links(id).map(({ path, tail }) => [path, tail]));
    this.#save(subscription);
  }

  #save(subscription: Subscription): void {
    this.#store.save(subscription);
    const times = this.#store.all().filter(({ state }) => state.phase !== "idle").map(({ state }) => state.until);
    if (times.length > 0) void this.ctx.storage.setAlarm(Math.min(...times));
  }

  async #deliver(id: string, generation: number): Promise<void> {
    const subscription = this.#store.get(id);
    if (!subscription || subscription.state.generation !== generation) return;
    const { config, origin, state } = subscription;
    const body = JSON.stringify({
      subscription_id: id, wake_id: state.wakeId, generation, streams: this.#streams(subscription),
      callback_url: `${origin}/v1/stream/__ds/subscriptions/${encodeURIComponent(id)}/callback`, callback_token: state.token,
    });
    let answer: { readonly done?: unknown } | undefined;
    try {
      checkWebhook(config.webhookUrl!, this.#allowsLocalhost);
      const signature = await signatureOf(await subscriptionsOf(this.env, undefined).signingKey(), body, Date.now());
      const headers = { "content-type": "application/json", "webhook-signature": signature };
      // Not followed: a redirect could lead where the address check would not have let us.
      const response = await fetch(config.webhookUrl!, { method: "POST", headers, body, redirect: "manual", signal: AbortSignal.timeout(WEBHOOK_TIMEOUT_MS) });
      const text = (await response.text()).slice(0, 4096);
      if (response.ok) answer = (jsonOrNothing(text) ?? {}) as { done?: unknown };
    } catch {
      // No answer is a failed attempt like any other.
    }
    this.#delivered(id, generation, answer);
  }

  #delivered(id: string, generation: number, answer: { readonly done?: unknown } | undefined): void {
    // Called back, timed out or deleted during the await.
    const subscription = this.#store.get(id);
    if (!subscription || subscription.state.generation !== generation || subscription.state.phase !== "waking") return;
    const { config, state } = subscription;
    if (answer?.done === true) {
      for (const [path, tail] of Object.entries(state.snapshot)) this.#store.ack(id, path, tail);
      this.#release(subscription);
      return;
    }
    if (answer) {
      state.phase = "leased";
      state.until = Date.now() + config.leaseMs;
    } else {
      const pause = Math.min(RETRY_MS.max, RETRY_MS.min * 2 ** state.attempts++);
      state.phase = "retrying";
      state.until = Date.now() + pause * (0.8 + 0.4 * Math.random());
    }
    this.#save(subscription);
  }

  #release(subscription: Subscription): boolean {
    Object.assign(subscription.state, { phase: "idle", holder: null, token: null, attempts: 0 });
    this.#save(subscription);
    return this.#consider(subscription.id);
  }

  async alarm(): Promise<void> {
    const now = Date.now();
    for (const subscription of this.#store.all()) {
      const { id, state } = subscription;
      if (state.phase === "idle" || state.until > now) continue;
      if (state.phase === "retrying") {
        state.phase = "waking";
        state.until = now + WEBHOOK_TIMEOUT_MS * 2;
        this.#save(subscription);
        this.ctx.waitUntil(this.#deliver(id, state.generation));
      } else this.#release(subscription);
    }
    const left = this.#store.all().filter(({ state }) => state.phase !== "idle").map(({ state }) => state.until);
    if (left.length > 0) await this.ctx.storage.setAlarm(Math.max(now + 10, Math.min(...left)));
  }

  // --- HTTP --------------------------------------------------------------------------------------------------------

  async fetch(request: Request): Promise<Response> {
    try {
      const tenant = request.headers.get(TENANT_HEADER);
      // Without it the caller has only a wake's token, and that must not make tables for a tenant that is not there.
      if (tenant !== null) this.#remember(decodeURIComponent(tenant));
      else if ([...this.ctx.storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'subscription'")].length === 0) throw new HttpError(404, "NOT_FOUND", "no such subscription");
      return await this.#route(request);
    } catch (thrown) {
      return errorResponse(thrown);
    }
  }

  async #route(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const [, id, action, path] = /\/__ds\/subscriptions\/([^/]+)(?:\/(\w+)(?:\/(.+))?)?$/.exec(url.pathname) ?? [];
    if (id === undefined || id.length > 256) throw new HttpError(404, "NOT_FOUND", "no such resource");
    const name = decodeURIComponent(id);
    const call = `${request.method} ${action ?? ""}`.trim();
    if (call === "PUT") return this.#put(name, await jsonBody(request), url.origin);
    const subscription = this.#store.get(name);
    if (!subscription) throw new HttpError(404, "NOT_FOUND", "no such subscription");
    const bearer = request.headers.get("authorization")?.replace(/^Bearer /i, "");
    switch (call) {
      case "GET":
        return json(200, await this.#describe(subscription));
      case "DELETE":
        this.#store.remove(name);
        return new Response(null, { status: 204 });
      case "POST streams":
        await this.#linkExplicit(subscription, pathsOf((await jsonBody(request))["streams"]));
        return new Response(null, { status: 204 });
      case "DELETE streams":
        this.#store.unlinkExplicit(name, decodeURIComponent(path ?? ""));
        return new Response(null, { status: 204 });
      case "POST claim":
        return this.#claim(subscription, await jsonBody(request));
      case "POST ack":
      case "POST callback":
        return this.#ack(name, await jsonBody(request), bearer);
      case "POST release":
        this.#release(this.#fenced(name, await jsonBody(request), bearer));
        return new Response(null, { status: 204 });
      default:
        throw new HttpError(405, "METHOD_NOT_ALLOWED", "no such call");
    }
  }

  get #allowsLocalhost(): boolean {
    return this.env.TIDEMARK_OPEN_ACCESS === "loopback";
  }

  async #put(id: string, body: Record<string, unknown>, origin: string): Promise<Response> {
    const config = configOf(body, this.#allowsLocalhost);
    const known = this.#store.get(id);
    if (known) {
      if (JSON.stringify(known.config) !== JSON.stringify(config)) throw new HttpError(409, "CONFLICT", "the subscription exists with another configuration");
      return json(200, await this.#describe(known));
    }
    const subscription = this.#store.create(id, config, origin, new Date().toISOString());
    const existing = this.#store.paths().filter((path) => config.pattern !== null && matches(config.pattern, path));
    for (const path of existing) await this.#link(id, path, "glob");
    await this.#linkExplicit(subscription, config.streams);
    return json(201, await this.#describe(subscription));
  }

  async #linkExplicit({ id }: Subscription, paths: readonly string[]): Promise<void> {
    for (const path of paths) await this.#link(id, path, "explicit");
  }

  /** At the stream's tail, and the stream tells of its appends from here on. */
  async #link(id: string, path: string, kind: "explicit" | "glob"): Promise<void> {
    const tail = await this.#stream(path).watched();
    if (tail >= 0) this.#store.setTail(path, tail);
    this.#store.link(id, path, kind, Math.max(0, tail));
  }

  #streams({ id }: Subscription) {
    return this.#store.links(id).map(({ path, isExplicit, acked, tail }) => ({
      path, link_type: isExplicit ? "explicit" : "glob", acked_offset: formatOffset(acked), tail_offset: formatOffset(tail), has_pending: tail > acked,
    }));
  }

  async #describe(subscription: Subscription) {
    const { id, config, origin, createdAt, state } = subscription;
    const signing = config.type === "webhook" && {
      alg: "ed25519", kid: (await subscriptionsOf(this.env, undefined).signingKey()).kid, jwks_url: `${origin}/v1/stream/__ds/jwks.json`,
    };
    return {
      id, subscription_id: id, type: config.type, pattern: config.pattern,
      streams: this.#streams(subscription).map(({ path, link_type, acked_offset }) => ({ path, link_type, acked_offset })),
      ...(signing && { webhook: { url: config.webhookUrl, signing } }),
      wake_stream: config.wakeStream, lease_ttl_ms: config.leaseMs, created_at: createdAt,
      status: state.phase === "retrying" ? "failed" : "active", description: config.description,
    };
  }

  #claim(subscription: Subscription, { worker }: Record<string, unknown>): Response {
    const { config, state } = subscription;
    if (config.type !== "pull-wake") throw badRequest("a webhook's subscription is not claimed");
    if (typeof worker !== "string" || worker === "" || worker.length > 256) throw badRequest("worker is a name");
    if (state.phase === "leased" && state.until > Date.now()) {
      return json(409, { error: { code: "ALREADY_CLAIMED", message: "a worker holds the lease", current_holder: state.holder, generation: state.generation } });
    }
    this.#beginWake(subscription, worker);
    const { wakeId, generation, token } = subscription.state;
    return json(200, { wake_id: wakeId, generation, token, streams: this.#streams(subscription), lease_ttl_ms: config.leaseMs });
  }

  /** The subscription, if this call belongs to its present wake. */
  #fenced(id: string, body: Record<string, unknown>, bearer: string | undefined): Subscription {
    const subscription = this.#store.get(id);
    if (!subscription) throw new HttpError(404, "NOT_FOUND", "no such subscription");
    const { state } = subscription;
    const isPresent = body["wake_id"] === state.wakeId && body["generation"] === state.generation && state.phase !== "idle";
    if (!isPresent) throw new HttpError(409, "FENCED", "a later wake has taken over");
    if (bearer === undefined || !sameText(bearer, state.token ?? "")) throw new HttpError(401, "UNAUTHORIZED", "not this wake's token");
    return subscription;
  }

  #ack(id: string, body: Record<string, unknown>, bearer: string | undefined): Response {
    const subscription = this.#fenced(id, body, bearer);
    const acks = Array.isArray(body["acks"]) ? (body["acks"] as { stream?: unknown; offset?: unknown }[]) : [];
    const links = new Map(this.#store.links(id).map((link) => [link.path, link]));
    const checked = acks.map(({ stream, offset }) => {
      const link = links.get(String(stream));
      const parsed = parseOffset(String(offset));
      if (!link || typeof parsed !== "number" || parsed > link.tail) throw badRequest("an ack names a linked stream and an offset of it");
      return { path: link.path, parsed };
    });
    for (const { path, parsed } of checked) this.#store.ack(id, path, parsed);
    if (body["done"] === true) return json(200, { ok: true, next_wake: this.#release(subscription) });
    subscription.state.phase = "leased";
    subscription.state.until = Date.now() + subscription.config.leaseMs;
    this.#save(subscription);
    return json(200, { ok: true, next_wake: false });
  }
}

const jsonOrNothing = (text: string): unknown => {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
};

async function jsonBody(request: Request): Promise<Record<string, unknown>> {
  const text = await request.text();
  const parsed = text === "" ? {} : jsonOrNothing(text);
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) throw badRequest("the body is a JSON object");
  return parsed as Record<string, unknown>;
}

/** Compares without telling by its time how much was right. */
function sameText(a: string, b: string): boolean {
  let difference = a.length ^ b.length;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i % Math.max(1, b.length));
  return difference === 0;
}

export const jwksResponse = async (env: Env): Promise<Response> =>
  new Response(JSON.stringify(jwksOf(await subscriptionsOf(env, undefined).signingKey())), {
    headers: { "content-type": "application/jwk-set+json", "cache-control": "public, max-age=300" },
  });
