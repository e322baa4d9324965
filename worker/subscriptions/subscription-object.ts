/**
 * The Durable Object of one tenant's subscriptions. Streams tell it when they are made and when they have moved. It
 * wakes workers, by webhook or by an event on a wake stream, and fences them. This file implements the calls of HTTP
 * and of other objects; life.ts has the states of a subscription, and wakes.ts wakes the workers.
 *
 * Every wake has a generation, one higher than the last. A call with another generation is FENCED and changes nothing.
 * Everything is in the tables before anybody is told, so an evicted object continues where it was. The alarm is set to
 * the earliest `until`.
 */
import { DurableObject } from "cloudflare:workers";
import { Alarms } from "../store/alarms.ts";
import { isFull, quotaExceeded } from "../store/sql.ts";
import { queried, wrongClass } from "../bindings.ts";
import { bearerOf } from "../wire/bearer.ts";
import type { Env } from "../env.ts";
import { askedAgain } from "../rpc/lost.ts";
import { streamObject } from "../rpc/stubs.ts";
import { PATH_HEADER, TENANT_HEADER } from "../rpc/internal-headers.ts";
import { emit } from "../telemetry/events.ts";
import {
  type Fields,
  fieldsOf,
  flagField,
  listField,
  numberField,
  objectField,
  quoted,
  textField,
} from "../wire/fields.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { errorResponse, json } from "../wire/http.ts";
import { readBody } from "../wire/request-body.ts";
import { formatOffset, parseOffset } from "../wire/offsets.ts";
import { newSigningKey } from "./webhook-signing.ts";
import type { StreamPeer, StreamTold } from "../rpc/stream-peer.ts";
import { type SigningKey, type SubscriptionPeer, subscriptionsOf } from "../rpc/subscription-peer.ts";
import { isWakes, sameText, type SubscriptionCall, subscriptionCallOf, wakeSealOf } from "./calls.ts";
import { checkLinks, checkSubscriptions } from "./limits.ts";
import { SubscriptionLinks } from "./links.ts";
import { checkStreams, configOf, PATH_CHARS_MAX, pathsOf, type SubscriptionConfig } from "./config.ts";
import { type Link, type Subscription, SubscriptionStore } from "./tables.ts";
import { checkWakeCircle } from "./wake-circles.ts";
import { streamsOf, Wakes } from "./wakes.ts";

/** When a subscription that could not be served is tried again. Others are not delayed by it. */
const FAILED_MS = 60_000;
/** Largest body of a call. Parsed, it takes about twenty times as much. */
const BODY_BYTES_MAX = 2 * 1024 * 1024;
const ACKS_MAX = 10_000;
const WORKER_CHARS_MAX = 256;
const WAKE_ID_CHARS_MAX = 64;
const OFFSET_CHARS_MAX = 64;

export class SubscriptionObject extends DurableObject<Env> implements SubscriptionPeer {
  #tables: SubscriptionStore | undefined;
  #linked: SubscriptionLinks | undefined;
  #woken: Wakes | undefined;
  readonly #alarms = new Alarms(this.ctx.storage);

  get #store(): SubscriptionStore {
    return (this.#tables ??= queried(() => new SubscriptionStore(this.ctx.storage.sql)));
  }
  get #links(): SubscriptionLinks {
    return (this.#linked ??= new SubscriptionLinks({
      store: this.#store,
      stream: (path) => this.#stream(path),
      release: (id) => this.#serve(id, (subscription) => this.#wakes.happened(subscription, { kind: "outdated" })),
      refused: (id, path, thrown) =>
        emit(this.env, "link_refused", { tenant: this.#tenant, path, subscription: id, message: String(thrown) }),
    }));
  }

  get #wakes(): Wakes {
    return (this.#woken ??= new Wakes({
      store: this.#store,
      append: (path, text) => this.#stream(path).appendJson(text),
      signingKey: () => this.#signingKey(),
      allowsLocalhost: this.#allowsLocalhost,
      plan: (at) => this.#alarms.plan("wakes", at),
      waitUntil: (work) => this.ctx.waitUntil(work),
    }));
  }

  /** Stored, because an alarm comes without a request that names the tenant. */
  get #tenant(): string {
    return this.#store.secret("tenant") ?? "";
  }
  #remember(tenant: string): void {
    if (this.#store.secret("tenant") !== tenant) this.#store.saveSecret("tenant", tenant);
  }

  /** The part of wake tokens that only the server can make must be there before anybody is woken. */
  async #prepare(isNeeded = this.#store.hasSubscriptions()): Promise<void> {
    await this.#alarms.load();
    if (!isNeeded || this.#store.secret("seal") !== undefined) return;
    this.#store.saveSecret("seal", await wakeSealOf(await this.#signingKey(), this.#tenant));
  }

  #signingKey(): Promise<SigningKey> {
    return askedAgain(() => subscriptionsOf(this.env, undefined).signingKey());
  }

  #stream(path: string): StreamPeer {
    return streamObject(this.env, this.#tenant, path);
  }

  /** Works on one subscription. A failure here must not fail others, or the stream that reported. */
  #serve(id: string, work: (subscription: Subscription) => void): void {
    try {
      const subscription = this.#store.get(id);
      if (subscription) work(subscription);
    } catch (thrown) {
      emit(this.env, "subscription_failed", {
        tenant: this.#tenant,
        subscription: id,
        message: String(thrown),
        retryMs: FAILED_MS,
      });
      this.#alarms.plan("failed", Date.now() + FAILED_MS);
    }
  }

  // --- what streams tell -------------------------------------------------------------------------------------------

  /** True if somebody subscribes to the stream, so that it must report its appends. */
  async created(tenant: string, stream: StreamTold): Promise<boolean> {
    this.#remember(tenant);
    await this.#prepare();
    this.#links.begin(stream);
    const subscribers = this.#store.subscribersOf(stream.path);
    for (const id of subscribers) this.#serve(id, (subscription) => this.#wakes.consider(subscription));
    return subscribers.length > 0;
  }

  async moved(tenant: string, stream: StreamTold): Promise<void> {
    this.#remember(tenant);
    await this.#prepare();
    await this.#links.moved(stream);
    for (const id of this.#store.subscribersOf(stream.path))
      this.#serve(id, (subscription) => this.#wakes.consider(subscription));
  }

  async removed(path: string, id: string): Promise<void> {
    this.#links.removed(path, id);
  }

  async paths(after: string, limit: number): Promise<readonly string[]> {
    return this.#store.pathsAfter(after, limit);
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

  override async alarm(): Promise<void> {
    await this.#prepare();
    this.#alarms.fired();
    const now = Date.now();
    for (const id of this.#store.due(now))
      this.#serve(id, (subscription) => this.#wakes.happened(subscription, { kind: "time up" }));
    for (const id of this.#store.missed()) this.#serve(id, (subscription) => this.#wakes.consider(subscription));
    this.#alarms.plan("wakes", this.#store.nextAfter(now));
  }

  // --- HTTP --------------------------------------------------------------------------------------------------------

  override async fetch(request: Request): Promise<Response> {
    try {
      if (request.headers.has(PATH_HEADER)) throw wrongClass("LOGS");
      const call = subscriptionCallOf(request.method, new URL(request.url).pathname);
      // The router names the tenant once a token has allowed the call. Only calls with a wake's token come without a
      // tenant, and they must not create tables.
      const tenant = request.headers.get(TENANT_HEADER);
      if (tenant !== null) this.#remember(decodeURIComponent(tenant));
      else if (!isWakes(call)) throw new EdgeError("UNAUTHORIZED", "this call needs a token of the tenant");
      else if (![...this.ctx.storage.sql.exec("SELECT name FROM sqlite_master WHERE name = 'subscription'")].length)
        throw notFound();
      await this.#prepare();
      return await this.#route(call, request);
    } catch (thrown) {
      return errorResponse(isFull(thrown) ? quotaExceeded(thrown) : thrown);
    }
  }

  async #route(call: SubscriptionCall, request: Request): Promise<Response> {
    const { id, action, path } = call;
    const hasBody = action !== "get" && action !== "delete" && action !== "unlink";
    const body = hasBody ? fieldsOf(await readBody(request, BODY_BYTES_MAX)) : {};
    if (action === "put") return this.#put(id, body, new URL(request.url).origin);
    if (isWakes(call)) return this.#wakesCall(call, body, bearerOf(request.headers));
    const subscription = this.#store.get(id);
    if (!subscription) throw notFound();
    if (action === "get") return json(200, await this.#describe(subscription));
    if (action === "claim") return this.#claim(subscription, body);
    if (action === "delete") this.#store.remove(id);
    else if (action === "unlink") this.#store.unlinkExplicit(id, path);
    else await this.#link(id, pathsOf(body["streams"]));
    return new Response(null, { status: 204 });
  }

  #wakesCall({ id, action }: SubscriptionCall, body: Fields, bearer: string | undefined): Response {
    if (action !== "release") return this.#ack(id, body, bearer);
    this.#wakes.happened(this.#fenced(id, body, bearer), { kind: "released" });
    return new Response(null, { status: 204 });
  }

  get #allowsLocalhost(): boolean {
    return this.env.TIDEMARK_OPEN_ACCESS === "loopback";
  }

  async #put(id: string, body: Fields, origin: string): Promise<Response> {
    const config = configOf(body, this.#allowsLocalhost);
    await this.#prepare(true);
    if (!this.#isKnown(id, config)) {
      this.#checkRoom(config);
      await this.#links.meetAll(() => this.#links.meant(config));
      if (!this.#isKnown(id, config)) return json(201, await this.#describe(this.#create(id, config, origin)));
    }
    return json(200, await this.#describe(this.#store.get(id)!));
  }

  #isKnown(id: string, config: SubscriptionConfig): boolean {
    const known = this.#store.get(id);
    if (known && JSON.stringify(known.config) !== JSON.stringify(config))
      throw new EdgeError(
        "CONFLICT",
        `there is a subscription ${id} with another configuration: GET shows it. Use another id, or delete it first`,
      );
    return known !== undefined;
  }

  /** Checked before streams are asked, and again when all have answered. */
  #checkRoom(config: SubscriptionConfig): void {
    checkSubscriptions(this.#store.count());
    checkWakeCircle(this.#store, config);
    checkLinks(new Set(this.#links.meant(config)));
  }

  #create(id: string, config: SubscriptionConfig, origin: string): Subscription {
    this.#checkRoom(config);
    return this.ctx.storage.transactionSync(() => {
      const subscription = this.#store.create(id, config, origin, new Date().toISOString());
      this.#links.link(id, config);
      return subscription;
    });
  }

  #checkLink(id: string, streams: readonly string[]): void {
    const subscription = this.#store.get(id);
    if (!subscription) throw notFound();
    checkStreams(subscription.config, streams, "streams");
    checkWakeCircle(this.#store, { wakeStream: subscription.config.wakeStream, pattern: null, streams });
    this.#links.checkRoom(id, streams);
  }

  async #link(id: string, streams: readonly string[]): Promise<void> {
    this.#checkLink(id, streams);
    await this.#links.meetAll(() => streams);
    // The subscription was deleted meanwhile: links made now would never be removed.
    this.#checkLink(id, streams);
    this.ctx.storage.transactionSync(() => this.#links.link(id, { pattern: null, streams }));
  }

  async #describe(subscription: Subscription) {
    const { id, config, origin, createdAt, state } = subscription;
    const refused = this.#store.refused(id);
    const signing = config.type === "webhook" && {
      alg: "ed25519",
      kid: (await this.#signingKey()).kid,
      jwks_url: `${origin}/v1/stream/__ds/jwks.json`,
    };
    return {
      id,
      subscription_id: id,
      type: config.type,
      pattern: config.pattern,
      ...(refused > 0 && { refused_streams: refused }),
      streams: streamsOf(this.#store, subscription.id).map(({ path, link_type, acked_offset }) => ({
        path,
        link_type,
        acked_offset,
      })),
      ...(signing && { webhook: { url: config.webhookUrl, signing } }),
      wake_stream: config.wakeStream,
      lease_ttl_ms: config.leaseMs,
      created_at: createdAt,
      status: state.phase === "retrying" ? "failed" : "active",
      description: config.description,
    };
  }

  #claim(subscription: Subscription, body: Fields): Response {
    const { config, state } = subscription;
    if (config.type !== "pull-wake")
      throw badRequest("only a pull-wake subscription can be claimed; this one has a webhook");
    const worker = textField(body["worker"], "worker", WORKER_CHARS_MAX);
    if (!this.#wakes.claim(subscription, worker)) {
      const { holder, generation } = state;
      throw new EdgeError("ALREADY_CLAIMED", "a worker holds the lease", { holder, generation });
    }
    const { wakeId, generation, token } = subscription.state;
    return json(200, {
      wake_id: wakeId,
      generation,
      token,
      streams: streamsOf(this.#store, subscription.id),
      lease_ttl_ms: config.leaseMs,
    });
  }

  /** The subscription, if this call belongs to its current wake. */
  #fenced(id: string, body: Fields, bearer: string | undefined): Subscription {
    const subscription = this.#store.get(id);
    if (!subscription) throw notFound();
    const { state } = subscription;
    const wakeId = textField(body["wake_id"], "wake_id", WAKE_ID_CHARS_MAX);
    const generation = numberField(body["generation"], "generation", { min: 0, max: Number.MAX_SAFE_INTEGER });
    const isPresent = wakeId === state.wakeId && generation === state.generation && state.phase !== "idle";
    if (!isPresent) throw new EdgeError("FENCED", "a later wake has taken over");
    if (bearer === undefined || !sameText(bearer, state.token ?? ""))
      throw new EdgeError("UNAUTHORIZED", "the token belongs to another wake");
    return subscription;
  }

  #ack(id: string, body: Fields, bearer: string | undefined): Response {
    const subscription = this.#fenced(id, body, bearer);
    const isDone = flagField(body["done"], "done");
    const links = new Map(this.#store.links(id).map((link) => [link.path, link]));
    const checked = listField(body["acks"], "acks", ACKS_MAX).map((ack, i) => ackOf(ack, `acks[${i}]`, links));
    for (const { path, parsed } of checked) this.#store.ack(id, path, parsed);
    const isWoken = this.#wakes.happened(subscription, { kind: isDone ? "done" : "ack" });
    return json(200, { ok: true, next_wake: isWoken });
  }
}

const notFound = (): EdgeError => new EdgeError("NOT_FOUND", "no such subscription: PUT creates it");

function ackOf(
  value: unknown,
  name: string,
  links: ReadonlyMap<string, Link>,
): { readonly path: string; readonly parsed: number } {
  const { stream, offset } = objectField(value, name);
  const path = textField(stream, `${name}.stream`, PATH_CHARS_MAX);
  const parsed = parseOffset(textField(offset, `${name}.offset`, OFFSET_CHARS_MAX), `${name}.offset`);
  const link = links.get(path);
  if (!link) throw badRequest(`${name}.stream is ${quoted(path)}; it must be a stream of this subscription`);
  if (typeof parsed !== "number" || parsed > link.tail)
    throw badRequest(`${name}.offset is ${quoted(offset)}; it must be an offset up to ${formatOffset(link.tail)}`);
  return { path, parsed };
}
