/**
 * The life of a subscription: its states, and what leads from one to the next. This file has no effects; wakes.ts has
 * them, and the tables store the state in this form.
 *
 *   idle       no wake is under way
 *   waking     a wake was sent, and nobody has taken it yet
 *   leased     a worker works on a wake until its lease ends
 *   retrying   the webhook did not take the wake; it is sent again
 *
 *   state                      event        next       actions
 *   idle                       pending      waking     tell; a new wake
 *   idle, waking, retrying     claim        leased     a new wake
 *   leased, its time is up     claim        leased     a new wake
 *   waking                     taken        leased
 *   waking                     finished     idle       acknowledge, look
 *   waking                     failed       retrying
 *   waking, leased, retrying   ack          leased
 *   waking, leased, retrying   done         idle       look
 *   waking, leased, retrying   released     idle       look
 *   waking, leased, retrying   outdated     idle       look
 *   waking, leased             time up      idle       look
 *   retrying                   time up      waking     tell; the same wake
 *
 * Any other pair changes nothing. `taken`, `finished` and `failed` are a webhook's answers to one wake; they change
 * nothing if another wake is under way by then. A worker that says `done` has worked on the wake, one that says
 * `released` need not have. `outdated` means that a stream of the wake was made again.
 *
 *   tell          send the wake to the worker
 *   acknowledge   count the tails that the wake named as acknowledged
 *   look          check whether there are still records; then `pending` comes at once
 */
import { pauseMs } from "../../src/log/back-off.ts";
import type { SubscriptionConfig } from "./config.ts";
import { WEBHOOK_TIMEOUT_MS } from "./webhook.ts";

export type Phase = "idle" | "waking" | "leased" | "retrying";

export interface SubscriptionState {
  /** Number of the current wake: one higher than that of the one before. */
  readonly generation: number;
  readonly wakeId: string | null;
  readonly phase: Phase;
  readonly holder: string | null;
  readonly token: string | null;
  /** When the lease or the wait for a claim ends, or the next attempt begins. */
  readonly until: number;
  /** How often the webhook did not take this wake. */
  readonly attempts: number;
  /** Number of wakes since the last claim, callback or ack, which nobody took. Absent in rows of an earlier version. */
  readonly ignored?: number;
  /** Tails as the wake named them. `finished` acknowledges these. */
  readonly snapshot: Readonly<Record<string, number>>;
}

export const IDLE: SubscriptionState = {
  generation: 0,
  wakeId: null,
  phase: "idle",
  holder: null,
  token: null,
  until: 0,
  attempts: 0,
  snapshot: {},
};

/** What identifies a wake, and the tails that it names. */
export type NewWake = Readonly<Pick<SubscriptionState, "snapshot"> & { wakeId: string; token: string }>;

type WebhookAnswer =
  | { readonly kind: "taken"; readonly wakeId: string | null }
  | { readonly kind: "finished"; readonly wakeId: string | null }
  | { readonly kind: "failed"; readonly wakeId: string | null; readonly random: number };

export type SubscriptionEvent =
  | { readonly kind: "pending"; readonly wake: NewWake }
  | { readonly kind: "claim"; readonly wake: NewWake; readonly worker: string }
  | WebhookAnswer
  | { readonly kind: "ack" | "done" | "released" | "outdated" | "time up" };

export type WakeAction = "tell" | "acknowledge" | "look";

export interface Transition {
  readonly state: SubscriptionState;
  readonly actions: readonly WakeAction[];
}

type Terms = Pick<SubscriptionConfig, "type" | "leaseMs">;

/** The longest pause between two wakes of the same work. */
const WAKE_MS_MAX = 600_000;
const BACK_OFF = { minMs: 1_000, maxMs: 60_000 };
/** A webhook may take this long to answer. Its lease begins with the answer. */
const ANSWER_MS = 2 * WEBHOOK_TIMEOUT_MS;

/** How long a wake waits to be taken, after `ignored` wakes that nobody took. */
const patienceOf = (leaseMs: number, ignored = 0): number =>
  Math.max(leaseMs, Math.min(leaseMs * 2 ** ignored, WAKE_MS_MAX));

/** The next state and the actions. Undefined if the event means nothing in this state. */
export function subscriptionAfter(
  state: SubscriptionState,
  event: SubscriptionEvent,
  terms: Terms,
  nowMs: number,
): Transition | undefined {
  const { phase } = state;
  switch (event.kind) {
    case "pending":
      return phase === "idle" ? to(toWaking(state, event.wake, terms, nowMs), "tell") : undefined;
    case "claim":
      return phase === "leased" && state.until > nowMs ? undefined : to(toLeased(state, event, terms, nowMs));
    case "taken":
    case "finished":
    case "failed":
      return phase === "waking" && state.wakeId === event.wakeId ? afterAnswer(state, event, terms, nowMs) : undefined;
    case "ack":
      return phase === "idle" ? undefined : to({ ...state, phase: "leased", ignored: 0, until: nowMs + terms.leaseMs });
    case "done":
      return phase === "idle" ? undefined : to(toIdle({ ...state, ignored: 0 }), "look");
    case "released":
    case "outdated":
      return phase === "idle" ? undefined : to(toIdle(state), "look");
    case "time up":
      return phase === "idle" || state.until > nowMs ? undefined : timeUp(state, nowMs);
  }
}

const to = (state: SubscriptionState, ...actions: WakeAction[]): Transition => ({ state, actions });

function toWaking(state: SubscriptionState, wake: NewWake, { type, leaseMs }: Terms, nowMs: number): SubscriptionState {
  const wait = type === "webhook" ? Math.max(leaseMs, ANSWER_MS) : patienceOf(leaseMs, state.ignored);
  return { ...withNewWake(state, wake), phase: "waking", holder: null, until: nowMs + wait };
}

function toLeased(
  state: SubscriptionState,
  { wake, worker }: { readonly wake: NewWake; readonly worker: string },
  { leaseMs }: Terms,
  nowMs: number,
): SubscriptionState {
  return { ...withNewWake(state, wake), phase: "leased", holder: worker, ignored: 0, until: nowMs + leaseMs };
}

const withNewWake = (state: SubscriptionState, wake: NewWake): SubscriptionState => ({
  ...state,
  ...wake,
  generation: state.generation + 1,
  attempts: 0,
});

const toIdle = (state: SubscriptionState): SubscriptionState => ({
  ...state,
  phase: "idle",
  holder: null,
  token: null,
  attempts: 0,
});

function afterAnswer(state: SubscriptionState, event: WebhookAnswer, { leaseMs }: Terms, nowMs: number): Transition {
  if (event.kind === "finished") return to(toIdle({ ...state, ignored: 0 }), "acknowledge", "look");
  if (event.kind === "taken")
    return to({ ...state, phase: "leased", until: nowMs + patienceOf(leaseMs, state.ignored) });
  const attempts = state.attempts + 1;
  return to({ ...state, phase: "retrying", attempts, until: nowMs + pauseMs(BACK_OFF, attempts, event.random) });
}

function timeUp(state: SubscriptionState, nowMs: number): Transition {
  if (state.phase === "retrying") return to({ ...state, phase: "waking", until: nowMs + ANSWER_MS }, "tell");
  // A worker that claimed and then fell silent may have died. Another is woken without a longer wait.
  const ignored = (state.ignored ?? 0) + (state.holder === null ? 1 : 0);
  return to(toIdle({ ...state, ignored }), "look");
}
