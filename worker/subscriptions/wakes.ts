/**
 * The effects of a subscription's life (life.ts): wakes are written to the tables, sent to webhooks and wake streams,
 * and the alarm is set.
 *
 *   event ──▶ life.ts: state, actions ──▶ row, alarm ──▶ webhook, or a record of the wake stream
 *                                                           └── its answer is the next event
 *
 * The row is written before anybody is told, so an evicted object continues where it was.
 */
import { assert } from "../../src/errors.ts";
import type { SigningKey } from "../rpc/subscription-peer.ts";
import { formatOffset } from "../wire/offsets.ts";
import { newWakeToken } from "./calls.ts";
import { type NewWake, type SubscriptionEvent, subscriptionAfter } from "./life.ts";
import type { Subscription, SubscriptionStore } from "./tables.ts";
import { postWebhook } from "./webhook.ts";
import { checkWebhook } from "./webhook-address.ts";
import { base64url } from "./webhook-signing.ts";

interface WakesHost {
  readonly store: SubscriptionStore;
  /** Appends one record to a wake stream. */
  append(path: string, text: string): Promise<void>;
  signingKey(): Promise<SigningKey>;
  readonly allowsLocalhost: boolean;
  /** A subscription's time will be up at this time. */
  plan(at: number): void;
  waitUntil(work: Promise<unknown>): void;
}

export class Wakes {
  readonly #host: WakesHost;

  constructor(host: WakesHost) {
    this.#host = host;
  }

  /** Wakes a worker if there is work and nobody works on it. True if it did. */
  consider(subscription: Subscription): boolean {
    const isIdle = subscription.state.phase === "idle";
    const path = isIdle ? this.#host.store.pendingPath(subscription.id) : undefined;
    return path !== undefined && this.happened(subscription, { kind: "pending", wake: this.#newWake(subscription) });
  }

  /** Makes a wake for the worker that asks for it. False if another worker has the lease. */
  claim(subscription: Subscription, worker: string): boolean {
    const wake = this.#newWake(subscription);
    return this.#apply(subscription, { kind: "claim", wake, worker }) !== undefined;
  }

  /** True if another worker was woken. */
  happened(subscription: Subscription, event: SubscriptionEvent): boolean {
    const actions = this.#apply(subscription, event) ?? [];
    if (actions.includes("acknowledge")) this.#acknowledge(subscription);
    if (actions.includes("tell")) this.#tell(subscription);
    return actions.includes("tell") || (actions.includes("look") && this.consider(subscription));
  }

  #apply(subscription: Subscription, event: SubscriptionEvent) {
    const before = subscription.state;
    const next = subscriptionAfter(before, event, subscription.config, Date.now());
    if (!next) return undefined;
    const { state, actions } = next;
    assert(state.generation >= before.generation, "a subscription's generations only grow");
    subscription.state = state;
    this.#host.store.save(subscription);
    if (state.phase !== "idle") this.#host.plan(state.until);
    return actions;
  }

  #newWake({ id }: Subscription): NewWake {
    const seal = this.#host.store.secret("seal");
    assert(seal !== undefined, "the seal of wake tokens exists before anybody is woken");
    return {
      wakeId: `w_${base64url(crypto.getRandomValues(new Uint8Array(12)))}`,
      token: newWakeToken(seal),
      snapshot: Object.fromEntries(this.#host.store.links(id).map(({ path, tail }) => [path, tail])),
    };
  }

  #acknowledge({ id, state }: Subscription): void {
    for (const [path, tail] of Object.entries(state.snapshot)) this.#host.store.ack(id, path, tail);
  }

  // --- telling -----------------------------------------------------------------------------------------------------

  #tell({ id, config, state: { wakeId, generation } }: Subscription): void {
    if (config.type === "webhook") return this.#host.waitUntil(this.#deliver(id, wakeId));
    const stream = this.#host.store.pendingPath(id);
    const event = { type: "wake", subscription_id: id, stream, generation, ts: Date.now() };
    // If this event gets lost, it is repeated when nobody has claimed by `until`.
    this.#host.waitUntil(this.#host.append(config.wakeStream!, JSON.stringify(event)).catch(() => undefined));
  }

  async #deliver(id: string, wakeId: string | null): Promise<void> {
    const subscription = this.#host.store.get(id);
    if (!subscription || subscription.state.wakeId !== wakeId) return;
    const { config, origin, state } = subscription;
    const body = JSON.stringify({
      subscription_id: id,
      wake_id: wakeId,
      generation: state.generation,
      streams: streamsOf(this.#host.store, id),
      callback_url: `${origin}/v1/stream/__ds/subscriptions/${encodeURIComponent(id)}/callback`,
      callback_token: state.token,
    });
    let answer: { readonly done: boolean } | undefined;
    try {
      checkWebhook(config.webhookUrl!, this.#host.allowsLocalhost);
      answer = await postWebhook(config.webhookUrl!, body, await this.#host.signingKey());
    } catch {
      // No answer counts as a failed attempt.
    }
    // During the await the wake may have been called back or timed out, and the subscription deleted or made again.
    // life.ts compares the wakes.
    const present = this.#host.store.get(id);
    if (!present) return;
    if (answer) this.happened(present, { kind: answer.done ? "finished" : "taken", wakeId });
    else this.happened(present, { kind: "failed", wakeId, random: Math.random() });
  }
}

/** A subscription's streams as wakes and claims name them. */
export const streamsOf = (store: SubscriptionStore, id: string) =>
  store
    .links(id)
    .map(({ path, isExplicit, acked, tail }) => ({
      path,
      link_type: isExplicit ? "explicit" : "glob",
      acked_offset: formatOffset(acked),
      tail_offset: formatOffset(tail),
      has_pending: tail > acked,
    }));
