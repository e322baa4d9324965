/**
 * Makes a plan from a seed: the kind of world, and its operations with their times. Leaving one operation out changes
 * no other.
 */
import { Random } from "../prng.ts";

export type Op = { readonly id: number; readonly at: number } & (
  | { readonly kind: "open" }
  | { readonly kind: "append"; readonly tab: number; readonly count: number; readonly bytes: number }
  | {
      readonly kind: "roll" | "close-tab" | "leave-tab" | "crash-tab" | "close-tide" | "hide" | "show";
      readonly tab: number;
    }
  | { readonly kind: "kill-worker" | "kill-broker" | "lose-connections" }
  /** Faults of a synced topic's edge: its sockets end, its object starts anew, or it can't be reached. */
  | { readonly kind: "cut-sockets" | "edge-reset" | "edge-away"; readonly ms: number }
  | {
      readonly kind: "hang-worker" | "hang-page" | "stop" | "freeze" | "way-back";
      readonly tab: number;
      readonly ms: number;
    }
  /**
   * The process is stopped inside one of its calls: between a check and the act that it allows, or between a write and
   * its ack.
   */
  | {
      readonly kind: "stop-inside";
      readonly tab?: number;
      readonly call: string;
      readonly calls: number;
      readonly ms: number;
      readonly whole: boolean;
    }
);
export type Kind = Op["kind"];

export interface TabsPlan {
  readonly seed: number;
  readonly engine: "opfs" | "indexeddb";
  readonly hasSharedWorker: boolean;
  /** True: files behave as in Chromium when several contexts use them. False: as in Firefox. */
  readonly isChromium: boolean;
  /** Share of lock grants whose message takes seconds. */
  readonly lateLocks: number;
  readonly leaderTimeoutMs: number | undefined;
  readonly activeMs: number;
  /** The topic is in sync with an edge. */
  readonly isSynced?: true;
  readonly ops: readonly Op[];
}

/** This tab number means the tab that leads when the operation runs. */
const LEADER = -1;
const FAULTS = {
  open: 5,
  "close-tab": 3,
  "crash-tab": 3,
  "close-tide": 2,
  hide: 3,
  show: 3,
  "kill-worker": 3,
  "kill-broker": 1,
  "hang-worker": 3,
  "hang-page": 2,
  stop: 3,
  freeze: 2,
  "way-back": 1,
  "stop-inside": 6,
  roll: 3,
};
const CALLS = ["write", "write", "clock", "clock", "post", "query", "lock", "file"];

export function makeTabsPlan(seed: number): TabsPlan {
  const random = new Random(seed, 1);
  const activeMs = random.between(3_000, 16_000);
  const busy = random.pick([1, 2, 4]);
  const ops: Op[] = [];
  const add = (number: number, make: (draw: Random, base: { id: number; at: number }) => Op): void => {
    const draw = new Random(seed, 2, number);
    ops.push(make(draw, { id: number, at: draw.int(activeMs * 1000) / 1000 }));
  };
  const tabs = random.between(1, 4);
  for (let i = 0; i < tabs; i++) add(i, (draw, { id }) => ({ id, at: draw.int(400), kind: "open" }));
  const appends = random.between(8, 40);
  for (let i = 0; i < appends; i++)
    add(100 + i, (draw, base) => ({
      ...base,
      kind: "append",
      tab: draw.int(8),
      count: draw.chance(0.3) ? draw.between(2, 12) : 1,
      bytes: draw.chance(0.3) ? draw.between(1000, 6000) : draw.between(1, 60),
    }));
  const faults = random.between(1, 3 * busy);
  for (let i = 0; i < faults; i++) add(1000 + i, fault);
  ops.sort((a, b) => a.at - b.at || a.id - b.id);
  return {
    seed,
    engine: "opfs",
    hasSharedWorker: random.chance(0.8),
    isChromium: random.chance(0.7),
    lateLocks: random.chance(0.25) ? 0.1 : 0,
    leaderTimeoutMs: random.pick([undefined, 1_500, 2_000]),
    activeMs,
    ops,
  };
}

/** The same without OPFS: over IndexedDB, and the browser now and then loses its connections to databases. */
export function makeDatabasePlan(seed: number): TabsPlan {
  const plan = makeTabsPlan(seed);
  const random = new Random(seed, 6);
  const losses = Array.from({ length: random.pick([0, 0, 1, 3]) }, (_, i): Op => ({
    id: 3000 + i,
    at: random.int(plan.activeMs),
    kind: "lose-connections",
  }));
  const ops = [...plan.ops, ...losses].sort((a, b) => a.at - b.at || a.id - b.id);
  return { ...plan, engine: "indexeddb", ops };
}

/** The leader wakes about when its successor has read its files, before any tab has heard of the successor. */
export function makeLeasePlan(seed: number): TabsPlan {
  const random = new Random(seed, 5);
  const leaderTimeoutMs = 1_500;
  const open = [0, 1, 2].map((id) => ({ id, at: 1 + id * 300, kind: "open" as const }));
  // The worker hangs with its page, or alone; then its page ends it. In some histories the page goes meanwhile.
  const hang: Op = {
    id: 3,
    at: 2_000,
    kind: random.pick(["stop", "hang-worker"]),
    tab: LEADER,
    ms: leaderTimeoutMs + random.between(0, 300),
  };
  const appends = Array.from({ length: 12 }, (_, i): Op => ({
    id: 10 + i,
    at: 2_001 + random.int(i < 6 ? 30 : 3_000),
    kind: "append",
    tab: random.int(3),
    count: 1,
    bytes: 20,
  }));
  const gone: Op[] = random.chance(0.5)
    ? [{ id: 4, at: 2_000 + random.int(3_000), kind: random.pick(["close-tab", "crash-tab"]), tab: LEADER }]
    : [];
  const ops = [...open, hang, ...gone, ...appends].sort((a, b) => a.at - b.at || a.id - b.id);
  return {
    seed,
    engine: "opfs",
    hasSharedWorker: true,
    isChromium: true,
    lateLocks: 0.5,
    leaderTimeoutMs,
    activeMs: 6_000,
    ops,
  };
}

/**
 * The leader is stopped while it writes to its database, or a moment before or after. It stays stopped until its
 * successor opens, or for longer than any tab waits.
 */
export function makeHeldPlan(seed: number): TabsPlan {
  const random = new Random(seed, 7);
  const open = [0, 1, 2].map((id) => ({ id, at: 1 + id * 300, kind: "open" as const }));
  const appends = Array.from({ length: 12 }, (_, i): Op => ({
    id: 10 + i,
    at: 2_000 + i * random.int(40),
    kind: "append",
    tab: random.int(3),
    count: 1,
    bytes: random.pick([20, 5_000]),
  }));
  const stop: Op = random.chance(0.5)
    ? { id: 3, at: 2_000 + random.int(240_000) / 1000, kind: "stop", tab: LEADER, ms: 80_000 }
    : {
        id: 3,
        at: 1_999,
        kind: "stop-inside",
        tab: LEADER,
        call: "write",
        calls: random.between(1, 4),
        ms: random.between(1_800, 2_900),
        whole: true,
      };
  const ops = [...open, stop, ...appends].sort((a, b) => a.at - b.at || a.id - b.id);
  return {
    seed,
    engine: "indexeddb",
    hasSharedWorker: true,
    isChromium: true,
    lateLocks: 0,
    leaderTimeoutMs: 1_500,
    activeMs: 4_000,
    ops,
  };
}

/**
 * The leader goes, and its successor is stopped while it opens the database: for a lease or two, or for longer than any
 * tab waits.
 */
export function makeOpeningPlan(seed: number): TabsPlan {
  const random = new Random(seed, 8);
  const open = [0, 1, 2, 3].map((id) => ({ id, at: 1 + id * 200, kind: "open" as const }));
  const appends = Array.from({ length: 16 }, (_, i): Op => ({
    id: 10 + i,
    at: 1_900 + i * random.int(200),
    kind: "append",
    tab: random.int(4),
    count: 1,
    bytes: 20,
  }));
  const ms = random.chance(0.3) ? 80_000 : random.between(2_000, 4_000);
  const at = 2_000 + random.int(80_000) / 1000;
  const stop: Op = random.chance(0.5)
    ? { id: 4, at, kind: "stop", tab: LEADER, ms }
    : {
        id: 4,
        at: 1_999,
        kind: "stop-inside",
        tab: 1,
        call: random.pick(CALLS),
        calls: random.between(1, 8),
        ms,
        whole: true,
      };
  const ops: Op[] = [
    ...open,
    { id: 5, at: 2_000, kind: random.pick(["close-tab", "crash-tab"]), tab: LEADER },
    stop,
    ...appends,
  ];
  return {
    seed,
    engine: "indexeddb",
    hasSharedWorker: true,
    isChromium: true,
    lateLocks: 0,
    leaderTimeoutMs: 1_500,
    activeMs: 6_000,
    ops: ops.sort((a, b) => a.at - b.at || a.id - b.id),
  };
}

/** The same over files, which the next leader locks in advance. It may hear late of its own locks. */
export function makeNextPlan(seed: number): TabsPlan {
  const plan = makeOpeningPlan(seed);
  return { ...plan, engine: "opfs", lateLocks: new Random(seed, 10).pick([0, 0.3]) };
}

/**
 * The leader goes, and its successor's page hangs until it is about to be deposed or has been. It may hear of that
 * late.
 */
export function makeWokenPlan(seed: number): TabsPlan {
  const random = new Random(seed, 11);
  const open = [0, 1, 2, 3].map((id) => ({ id, at: 1 + id * 200, kind: "open" as const }));
  const appends = Array.from({ length: 24 }, (_, i): Op => ({
    id: 10 + i,
    at: 1_900 + i * random.int(200),
    kind: "append",
    tab: random.int(4),
    count: 1,
    bytes: 20,
  }));
  const hang: Op = { id: 4, at: 1_999, kind: "hang-page", tab: 1, ms: random.between(1_300, 2_800) };
  const ops: Op[] = [
    ...open,
    hang,
    { id: 5, at: 2_000, kind: random.pick(["close-tab", "crash-tab"]), tab: 0 },
    ...appends,
  ];
  return {
    seed,
    engine: "opfs",
    hasSharedWorker: true,
    isChromium: true,
    lateLocks: 0.3,
    leaderTimeoutMs: 1_500,
    activeMs: 7_000,
    ops: ops.sort((a, b) => a.at - b.at || a.id - b.id),
  };
}

/**
 * Followers without a shared worker are kept for the way back while their calls are under way: messages to them are
 * lost.
 */
export function makeSleepPlan(seed: number): TabsPlan {
  const random = new Random(seed, 9);
  const open = [0, 1, 2].map((id) => ({ id, at: 1 + id * 300, kind: "open" as const }));
  const sleeps = Array.from({ length: 4 }, (_, i): Op => ({
    id: 4 + i,
    at: 2_000 + i * 700 + random.int(5_000) / 1000,
    kind: "way-back",
    tab: random.between(1, 2),
    ms: random.between(5, 400),
  }));
  const appends = Array.from({ length: 8 }, (_, i): Op => ({
    id: 10 + i,
    at: 2_000 + (i >> 1) * 700 + random.int(4_000) / 1000,
    kind: "append",
    tab: random.between(1, 2),
    count: 1,
    bytes: 20,
  }));
  const ops = [...open, ...sleeps, ...appends].sort((a, b) => a.at - b.at || a.id - b.id);
  return {
    seed,
    engine: "opfs",
    hasSharedWorker: false,
    isChromium: true,
    lateLocks: 0,
    leaderTimeoutMs: undefined,
    activeMs: 6_000,
    ops,
  };
}

/** Tabs are told before they are closed. */
export function makeLeavingPlan(seed: number): TabsPlan {
  const plan = makeTabsPlan(seed);
  return {
    ...plan,
    ops: plan.ops.map((op): Op =>
      op.kind === "close-tab" || op.kind === "crash-tab" ? { ...op, kind: "leave-tab" } : op,
    ),
  };
}

/** One leader after the other goes, and who comes next hears late of that: by then it may lead. */
export function makeLatePlan(seed: number): TabsPlan {
  const random = new Random(seed, 12);
  const open = [0, 1, 2].map((id) => ({ id, at: 1 + id * 300, kind: "open" as const }));
  const goes = [0, 1].map((i): Op => ({
    id: 4 + i,
    at: 2_000 + i * 4_000,
    kind: random.pick(["close-tide", "close-tab", "crash-tab"]),
    tab: LEADER,
  }));
  const appends = Array.from({ length: 12 }, (_, i): Op => ({
    id: 10 + i,
    at: 1_900 + i * random.int(500),
    kind: "append",
    tab: random.int(3),
    count: 1,
    bytes: 20,
  }));
  return {
    seed,
    engine: "opfs",
    hasSharedWorker: true,
    isChromium: random.chance(0.5),
    lateLocks: 0.3,
    leaderTimeoutMs: undefined,
    activeMs: 8_000,
    ops: [...open, ...goes, ...appends].sort((a, b) => a.at - b.at || a.id - b.id),
  };
}

/** Any of these kinds with a topic that the leader keeps in sync, over a network that cuts. */
export function makeSyncedPlan(seed: number): TabsPlan {
  const random = new Random(seed, 13);
  const makes = [
    makeTabsPlan,
    makeTabsPlan,
    makeDatabasePlan,
    makeLeasePlan,
    makeHeldPlan,
    makeNextPlan,
    makeWokenPlan,
  ];
  const plan = random.pick(makes)(seed);
  const faults = Array.from({ length: random.int(8) }, (_, i): Op => ({
    id: 4000 + i,
    at: random.int(plan.activeMs),
    kind: random.pick(["cut-sockets", "cut-sockets", "edge-reset", "edge-away"]),
    ms: random.int(3_000),
  }));
  const ops = [...plan.ops, ...faults].sort((a, b) => a.at - b.at || a.id - b.id);
  return { ...plan, isSynced: true, ops };
}

/** The kinds of histories. */
export const PLANS = {
  opfs: makeTabsPlan,
  indexeddb: makeDatabasePlan,
  lease: makeLeasePlan,
  held: makeHeldPlan,
  opening: makeOpeningPlan,
  next: makeNextPlan,
  woken: makeWokenPlan,
  sleep: makeSleepPlan,
  leaving: makeLeavingPlan,
  late: makeLatePlan,
  synced: makeSyncedPlan,
};
export type PlanKind = keyof typeof PLANS;

function fault(draw: Random, base: { readonly id: number; readonly at: number }): Op {
  const kind = draw.weighted(FAULTS);
  const tab = draw.chance(0.6) ? LEADER : draw.int(8);
  const ms = draw.chance(0.1)
    ? draw.between(50_000, 80_000)
    : draw.chance(0.3)
      ? draw.between(10, 1_000)
      : draw.between(1_000, 9_000);
  switch (kind) {
    case "stop-inside":
      return { ...base, kind, call: draw.pick(CALLS), calls: draw.between(1, 12), ms, whole: draw.chance(0.5) };
    case "hang-worker":
    case "hang-page":
    case "stop":
    case "freeze":
    case "way-back":
      return { ...base, kind, tab, ms };
    case "open":
    case "kill-worker":
    case "kill-broker":
      return { ...base, kind };
    default:
      return { ...base, kind, tab };
  }
}
