/**
 * A history as plain data, made from a seed: the properties of its world and its operations. The plan holds everything,
 * so that a failing history can be printed, shortened and run again. Each operation has its own stream of randomness
 * (`id`), so that leaving one out changes no other.
 */
import type { Acks, CompactionSettings, RetentionSettings } from "../../src/log/types.ts";
import type { FaultKind } from "./faulty-volume.ts";
import { Random } from "./prng.ts";

export interface LogPlan {
  readonly name: string;
  readonly retention: RetentionSettings;
  readonly compaction: CompactionSettings | undefined;
  readonly segmentMaxAgeMs: number;
  readonly queueAppendsMax: number;
  readonly producersMax: number;
  /** Producers 0 … n-1; the last one has no identity when `anonymous`. */
  readonly producers: number;
  readonly anonymous: boolean;
  /** Number of distinct keys; with 0 every key is null. */
  readonly keys: number;
}

export interface World {
  readonly slotBytes: number;
  readonly slotsMax: number;
  readonly buffered: boolean;
  /** Faults beyond the promises, off by default: see docs/failure-modes.md. */
  readonly losesNames: boolean;
  readonly flushForgets: boolean;
  readonly staleAcrossLives: boolean;
  readonly rots: boolean;
  /** Keeps older pages for stale reads. */
  readonly stale: boolean;
  /** All batches have one size, so that stale batches of a cut or a recycled slot lie right where a new batch ends. */
  readonly uniform: boolean;
  /**
   * Mostly appends, rolls, trims and crashes, close together: slots are recycled and tails are cut all the time.
   */
  readonly narrow: boolean;
  readonly logs: readonly LogPlan[];
}

export type CrashKind = "power" | "kill";

export type Action =
  | {
      readonly type: "append";
      readonly log: number;
      readonly producer: number;
      readonly records: number;
      readonly bytes: number;
      readonly acks: Acks;
      readonly ifEnd: "right" | "wrong" | undefined;
      readonly gzip: boolean;
    }
  | {
      readonly type: "duplicate";
      readonly log: number;
      readonly producer: number;
      readonly back: number;
      readonly acks: Acks;
    }
  | {
      readonly type: "bad-append";
      readonly log: number;
      readonly producer: number;
      readonly fault: "gap" | "stale-epoch" | "other-bytes" | "bad-crc" | "too-large";
    }
  | { readonly type: "new-epoch"; readonly log: number; readonly producer: number }
  | {
      readonly type: "fetch";
      readonly log: number;
      readonly from: "start" | "end" | "middle" | "outside";
      readonly committed: boolean;
      readonly maxBytes: number;
      readonly verify: boolean;
    }
  | { readonly type: "tail"; readonly log: number; readonly committed: boolean }
  | { readonly type: "abort-tails" }
  | { readonly type: "resolve"; readonly log: number }
  /** Part 1 empties the log: it rolls first, then trims everything. */
  | { readonly type: "trim"; readonly log: number; readonly part: number }
  | { readonly type: "roll"; readonly log: number }
  | { readonly type: "clean"; readonly log: number }
  | { readonly type: "advance"; readonly ms: number }
  | { readonly type: "settle" }
  | { readonly type: "fault"; readonly kind: FaultKind; readonly after: number }
  | { readonly type: "check" }
  | { readonly type: "crash"; readonly kind: CrashKind; readonly after: number; readonly reopen: Reopen }
  | { readonly type: "close"; readonly kind: CrashKind; readonly reopen: Reopen };

/** Faults of the next opens: crashes inside them, rot before them, a second recovery right after. */
export interface Reopen {
  readonly crashes: readonly { readonly kind: CrashKind; readonly after: number }[];
  readonly rot: boolean;
  readonly twice: boolean;
  /** True: producers re-send batches whose outcome is unknown. False: they begin a new epoch. */
  readonly resend: boolean;
}

export type Op = Action & { readonly id: number };

export interface Plan {
  readonly seed: number;
  readonly world: World;
  readonly ops: readonly Op[];
}

const HOUR = 3_600_000;

/** Switches for faults beyond the promises. */
export type Beyond = Partial<Pick<World, "losesNames" | "flushForgets" | "staleAcrossLives">>;

export function makePlan(seed: number, length: number, beyond: Beyond = {}): Plan {
  const random = new Random(seed, 1);
  const world = { ...makeWorld(random), ...beyond };
  const weights = swarm(random, world);
  const ops: Op[] = [];
  for (let id = 1; id <= length; id++) ops.push({ id, ...jumping(seed, id, makeAction(random, world, weights)) });
  return { seed, world: forgetful(seed, world), ops };
}

function makeWorld(random: Random): World {
  const logs: LogPlan[] = [];
  const narrow = random.chance(0.2);
  for (let log = random.chance(narrow ? 0.8 : 0.3) ? 2 : 1; log > 0; log--) logs.push(makeLog(random, logs.length));
  const rots = random.chance(0.25);
  return {
    slotBytes: random.pick([10, 12, 14, 16, 20]) * 1024,
    slotsMax: random.chance(0.2) ? 3 + logs.length + random.int(4) : 60,
    buffered: random.chance(0.25),
    losesNames: false,
    flushForgets: false,
    staleAcrossLives: false,
    rots,
    stale: rots || random.chance(0.2),
    uniform: narrow || random.chance(0.2),
    narrow,
    logs,
  };
}

function makeLog(random: Random, at: number): LogPlan {
  const compacts = random.chance(0.4);
  const retention: RetentionSettings = {
    ...(random.chance(0.2) && { maxRecords: random.between(10, 60) }),
    ...(random.chance(0.2) && { maxBytes: random.between(4, 30) * 1024 }),
    ...(random.chance(0.2) && { maxAgeMs: random.between(1, 10) * HOUR }),
  };
  const producers = random.between(1, 3);
  const anonymous = random.chance(0.2);
  return {
    name: `log-${at}`,
    retention,
    compaction: compacts
      ? {
          ...(random.chance(0.4) && { minLagMs: random.pick([1000, HOUR]) }),
          tombstoneRetentionMs: random.pick([0, HOUR, 24 * HOUR]),
        }
      : undefined,
    segmentMaxAgeMs: random.pick([HOUR, 7 * 24 * HOUR]),
    queueAppendsMax: random.chance(0.1) ? 3 : 10_000,
    producersMax: 1_000,
    producers,
    anonymous,
    keys: compacts ? random.between(1, 8) : random.pick([0, 3]),
  };
}

/** Lets logs remember fewer producers than write to them. Drawn apart, so that old seeds keep their histories. */
function forgetful(seed: number, world: World): World {
  const random = new Random(seed, 2);
  return { ...world, logs: world.logs.map((log) => (random.chance(0.3) ? { ...log, producersMax: 1 } : log)) };
}

/** Sometimes replaces an operation by a clock change of weeks or years, forward or back. */
function jumping(seed: number, id: number, action: Action): Action {
  const random = new Random(seed, 3, id);
  if (action.type !== "advance" || !random.chance(0.15)) return action;
  return { type: "advance", ms: (random.chance(0.5) ? 1 : -1) * random.pick([8, 400, 20_000]) * 24 * HOUR };
}

type Weights = Record<Action["type"], number>;

const NARROW: Weights = {
  append: 40,
  duplicate: 0,
  "bad-append": 0,
  "new-epoch": 0,
  fetch: 2,
  tail: 0,
  "abort-tails": 0,
  resolve: 0,
  trim: 0,
  roll: 0,
  clean: 0,
  advance: 0,
  settle: 8,
  fault: 0,
  check: 0,
  crash: 0,
  close: 1,
};

/** Each history omits some operations and repeats others, so that faults that hide each other are tested apart. */
function swarm(random: Random, world: World): Weights {
  const maybe = (probability: number, low: number, high: number): number =>
    random.chance(probability) ? random.between(low, high) : 0;
  if (world.narrow)
    return { ...NARROW, roll: random.pick([0, 5, 30]), trim: random.pick([0, 5, 15]), crash: random.between(5, 20) };
  return {
    append: 60,
    duplicate: maybe(0.5, 1, 4),
    "bad-append": maybe(0.4, 1, 3),
    "new-epoch": maybe(0.2, 1, 2),
    fetch: maybe(0.8, 2, 10),
    tail: maybe(0.4, 1, 4),
    "abort-tails": maybe(0.3, 1, 2),
    resolve: maybe(0.5, 1, 4),
    trim: maybe(0.6, 1, 5),
    roll: maybe(0.6, 1, 6),
    clean: maybe(0.7, 1, 8),
    advance: random.between(1, 8),
    settle: random.between(2, 12),
    fault: maybe(0.4, 1, 4),
    check: maybe(0.5, 1, 2),
    crash: world.rots ? random.between(1, 3) : random.between(1, 8),
    close: maybe(0.6, 1, 3),
  };
}

function makeAction(random: Random, world: World, weights: Weights): Action {
  const type = random.weighted(weights);
  const log = random.int(world.logs.length);
  const { producers } = world.logs[log]!;
  const producer = random.int(producers);
  switch (type) {
    case "append":
      return makeAppend(random, world, log, producer);
    case "duplicate":
      return { type, log, producer, back: random.int(5), acks: random.pick(["accepted", "written", "flushed"]) };
    case "bad-append":
      return { type, log, producer, fault: random.pick(["gap", "stale-epoch", "other-bytes", "bad-crc", "too-large"]) };
    case "new-epoch":
      return { type, log, producer };
    case "fetch":
      return {
        type,
        log,
        from: random.pick(["start", "end", "middle", "middle", "outside"]),
        committed: random.chance(0.5),
        maxBytes: random.pick([1, 500, 5000, 1_000_000]),
        verify: random.chance(0.2),
      };
    case "tail":
      return { type, log, committed: random.chance(0.7) };
    case "trim":
      return { type, log, part: random.chance(world.narrow ? 0.7 : 0.25) ? 1 : random.int(101) / 100 };
    case "resolve":
    case "roll":
    case "clean":
      return { type, log };
    case "advance":
      return { type, ms: random.chance(0.2) ? -random.between(1, 10 * HOUR) : random.pick([1, 1000, HOUR, 30 * HOUR]) };
    case "fault":
      return { type, kind: random.pick(faultKinds(world)), after: random.int(6) };
    case "crash":
      return {
        type,
        kind: random.pick(["power", "power", "kill"]),
        after: random.int(world.narrow || random.chance(0.5) ? 4 : 30),
        reopen: makeReopen(random, world),
      };
    case "close":
      return { type, kind: random.pick(["power", "kill"]), reopen: makeReopen(random, world) };
    default:
      return { type };
  }
}

function makeAppend(random: Random, world: World, log: number, producer: number): Action {
  return {
    type: "append",
    log,
    producer,
    records: random.chance(0.5) || world.uniform ? 1 : random.between(2, 8),
    bytes: random.pick([0, 10, 40, 40, 200, 200, 700]),
    acks: random.pick(["accepted", "written", "flushed", "flushed", "flushed"]),
    ifEnd: random.chance(0.08) ? random.pick(["right", "wrong"]) : undefined,
    gzip: random.chance(0.04) && !world.uniform,
  };
}

function faultKinds(world: World): FaultKind[] {
  const kinds: FaultKind[] = [
    "write-refused",
    "write-short",
    "write-quota",
    "flush-failed",
    "slots-refused",
    "read-failed",
  ];
  return world.stale ? [...kinds, "read-stale", "read-stale"] : kinds;
}

function makeReopen(random: Random, world: World): Reopen {
  const crashes: { kind: CrashKind; after: number }[] = [];
  while (crashes.length < 4 && random.chance(0.35))
    crashes.push({ kind: random.pick(["power", "kill"]), after: random.int(24) });
  return {
    crashes,
    rot: world.rots && random.chance(0.6),
    twice: random.chance(0.15),
    resend: random.chance(world.uniform ? 0.4 : 0.85),
  };
}
