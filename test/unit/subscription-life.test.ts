/** The life of a subscription: every state with every event, and how long a state lasts. */
import { describe, expect, it } from "vitest";
import {
  IDLE,
  type Phase,
  subscriptionAfter,
  type SubscriptionEvent,
  type SubscriptionState,
} from "../../worker/subscriptions/life.ts";

const NOW = 1_000_000;
const LEASE_MS = 30_000;
const PULL = { type: "pull-wake", leaseMs: LEASE_MS } as const;
const WEBHOOK = { type: "webhook", leaseMs: LEASE_MS } as const;

const PHASES: readonly Phase[] = ["idle", "waking", "leased", "retrying"];
const wake = { wakeId: "w_new", token: "t_new", snapshot: { a: 3 } };
const EVENTS: readonly SubscriptionEvent[] = [
  { kind: "pending", wake },
  { kind: "claim", wake, worker: "w" },
  { kind: "taken", wakeId: "w_old" },
  { kind: "finished", wakeId: "w_old" },
  { kind: "failed", wakeId: "w_old", random: 0.5 },
  { kind: "ack" },
  { kind: "done" },
  { kind: "released" },
  { kind: "outdated" },
  { kind: "time up" },
];

const state = (phase: Phase, fields: Partial<SubscriptionState> = {}): SubscriptionState => ({
  ...IDLE,
  generation: 7,
  wakeId: "w_old",
  token: "t_old",
  until: NOW,
  snapshot: { a: 2 },
  phase,
  ...fields,
});

/** Every state and event with a transition, as a line of the table. */
const lines = (fields: Partial<SubscriptionState> = {}): string[] =>
  PHASES.flatMap((phase) =>
    EVENTS.flatMap((event) => {
      const next = subscriptionAfter(state(phase, fields), event, WEBHOOK, NOW);
      if (!next) return [];
      const isNew = next.state.generation === 8 ? " (new)" : "";
      return [`${phase} ${event.kind} → ${next.state.phase}${isNew} ${next.actions.join(", ")}`.trimEnd()];
    }),
  );

describe("the life of a subscription", () => {
  it("has the transitions of its table, and no others", () => {
    expect(lines()).toEqual([
      "idle pending → waking (new) tell",
      "idle claim → leased (new)",
      "waking claim → leased (new)",
      "waking taken → leased",
      "waking finished → idle acknowledge, look",
      "waking failed → retrying",
      "waking ack → leased",
      "waking done → idle look",
      "waking released → idle look",
      "waking outdated → idle look",
      "waking time up → idle look",
      "leased claim → leased (new)",
      "leased ack → leased",
      "leased done → idle look",
      "leased released → idle look",
      "leased outdated → idle look",
      "leased time up → idle look",
      "retrying claim → leased (new)",
      "retrying ack → leased",
      "retrying done → idle look",
      "retrying released → idle look",
      "retrying outdated → idle look",
      "retrying time up → waking tell",
    ]);
  });

  it("before its time is up a lease cannot be claimed, and no state ends", () => {
    const early = lines({ until: NOW + 1 });
    expect(early.filter((line) => line.includes("time up"))).toEqual([]);
    expect(early.filter((line) => line.startsWith("leased claim"))).toEqual([]);
    expect(early.filter((line) => line.startsWith("waking claim"))).toHaveLength(1);
  });

  it("an answer of a webhook to another wake changes nothing", () => {
    for (const kind of ["taken", "finished", "failed"] as const)
      expect(subscriptionAfter(state("waking"), { kind, wakeId: "w_else", random: 0 }, WEBHOOK, NOW)).toBeUndefined();
  });

  it("a wake that ends keeps its generation and forgets its token and its holder", () => {
    for (const kind of ["done", "released", "outdated", "time up"] as const) {
      const next = subscriptionAfter(state("leased", { holder: "w", attempts: 3 }), { kind }, PULL, NOW)!;
      expect([kind, next.state]).toMatchObject([
        kind,
        { phase: "idle", generation: 7, wakeId: "w_old", holder: null, token: null, attempts: 0 },
      ]);
    }
  });

  const untilOf = (from: SubscriptionState, event: SubscriptionEvent, terms: typeof PULL | typeof WEBHOOK): number =>
    subscriptionAfter(from, event, terms, NOW)!.state.until - NOW;

  it("an ignored wake is repeated after growing pauses, at most ten minutes; a claimed one after its lease", () => {
    const waits = [undefined, 1, 2, 3, 4, 5, 60].map((ignored) =>
      untilOf(state("idle", ignored === undefined ? {} : { ignored }), EVENTS[0]!, PULL),
    );
    expect(waits).toEqual([30_000, 60_000, 120_000, 240_000, 480_000, 600_000, 600_000]);
    expect(untilOf(state("idle", { ignored: 5 }), EVENTS[1]!, PULL)).toBe(LEASE_MS);
  });

  it("counts ignored wakes, and begins again with a claim, an ack or a finished wake", () => {
    const after = (from: SubscriptionState, event: SubscriptionEvent): number | undefined =>
      subscriptionAfter(from, event, WEBHOOK, NOW)!.state.ignored;
    const ignored = { ignored: 2 };
    expect(after(state("waking", ignored), { kind: "time up" })).toBe(3);
    expect(after(state("leased", ignored), { kind: "time up" })).toBe(3);
    expect(after(state("leased", { ...ignored, holder: "w" }), { kind: "time up" })).toBe(2);
    for (const kind of ["ack", "done"] as const)
      expect([kind, after(state("leased", ignored), { kind })]).toEqual([kind, 0]);
    expect(after(state("waking", ignored), { kind: "finished", wakeId: "w_old" })).toBe(0);
    expect(after(state("waking", ignored), EVENTS[1]!)).toBe(0);
    for (const kind of ["released", "outdated"] as const)
      expect([kind, after(state("leased", ignored), { kind })]).toEqual([kind, 2]);
  });

  it("a failing webhook is called again after one second, doubling up to a minute, less up to half of that", () => {
    const pause = (attempts: number, random: number): number =>
      untilOf(state("waking", { attempts }), { kind: "failed", wakeId: "w_old", random }, WEBHOOK);
    expect([0, 1, 2, 5, 6, 100].map((attempts) => pause(attempts, 1))).toEqual([
      1_000, 2_000, 4_000, 32_000, 60_000, 60_000,
    ]);
    expect([pause(0, 0), pause(6, 0)]).toEqual([500, 30_000]);
    const failed = subscriptionAfter(state("waking"), EVENTS[4]!, WEBHOOK, NOW)!;
    expect(failed.state.attempts).toBe(1);
    // The webhook is called again for the same wake; after the next failure the pause is longer.
    const again = subscriptionAfter({ ...failed.state, until: NOW }, { kind: "time up" }, WEBHOOK, NOW)!;
    expect(again.state).toMatchObject({ wakeId: "w_old", generation: 7, attempts: 1, until: NOW + 20_000 });
  });
});
