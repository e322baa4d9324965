/**
 * What kind of history a seed has: which faults it may have beside those of all, and how often each comes.
 *
 *   first   each fault by its own share
 *   wide    the same and more; in each history some faults never come, and some come six times as often
 */
import { TOPICS_MAX, type WindowSizes } from "../../../src/sync/window-budget.ts";
import { Random } from "../prng.ts";
import { WINDOWS } from "./wire-judge.ts";

export const SYNC_PLANS = ["first", "wide"] as const;
export type SyncPlan = (typeof SYNC_PLANS)[number];

export interface WorldKind {
  readonly copies: boolean;
  readonly trims: boolean;
  readonly compacts: boolean;
  readonly forgets: boolean;
  readonly goesBack: boolean;
  readonly closes: boolean;
  readonly tokens: boolean;
  readonly poison: boolean;
  /** Devices end inside an operation of their volume, not between two steps. */
  readonly inside: boolean;
  /** The edge's power is cut in a seal while pushes wait. */
  readonly seals: boolean;
  /** A join, or its answer, is lost on a socket that goes on. */
  readonly drops: boolean;
  /** A person sets records aside. */
  readonly asides: boolean;
  /** A device that has slept finds its timers due before it hears what came meanwhile. */
  readonly late: boolean;
  /** Behind an edge that went back a person lets a device offer again what it has lost. */
  readonly offers: boolean;
  /** WebSockets of a device don't get through, and HTTP does. */
  readonly http: boolean;
  /** Some records are large, so that segments and windows fill. */
  readonly large: boolean;
  /** The edge can't be reached for minutes or days, and devices write on. */
  readonly far: boolean;
  /** Requests reach a log's object twice. */
  readonly doubles: boolean;
  /** A log's channel brings nothing more from a frame on, on a socket that goes on. */
  readonly silences: boolean;
  /** The device leaves a topic and comes back to it, while its others go on. */
  readonly leaves: boolean;
  /** Synced topics of each device, each a log of its own at the edge. */
  readonly topics: number;
}

export function kindOf(random: Random): WorldKind {
  return {
    copies: random.chance(0.5),
    trims: random.chance(0.2),
    compacts: random.chance(0.25),
    forgets: random.chance(0.25),
    goesBack: random.chance(0.15),
    closes: random.chance(0.05),
    tokens: random.chance(0.4),
    poison: random.chance(0.25),
    inside: false,
    seals: false,
    drops: false,
    asides: false,
    late: false,
    large: false,
    offers: false,
    http: false,
    far: false,
    doubles: false,
    silences: false,
    leaves: false,
    topics: 1,
  };
}

const TIMES = [0, 1, 1, 1, 6] as const;
/** Half of the histories have one topic. */
const TOPICS = [1, 1, 1, 2, 2, 3] as const;

/** Draws of its own, so that the seed's other draws are those of "first". */
export class Wide {
  readonly #random: Random;
  /** For what histories got later, so that the other draws stay as they are. */
  readonly #later: Random;
  readonly #times = new Map<string, number>();

  constructor(seed: number) {
    this.#random = new Random(seed, 0x5d);
    this.#later = new Random(seed, 0x5e);
  }

  kind(kind: WorldKind): WorldKind {
    const random = this.#random;
    const later = this.#later;
    return {
      ...kind,
      trims: kind.trims || later.chance(0.1),
      compacts: kind.compacts || (kind.copies && later.chance(0.2)),
      goesBack: kind.goesBack || later.chance(0.05),
      closes: kind.closes || later.chance(0.05),
      inside: random.chance(0.5),
      seals: random.chance(0.3),
      drops: random.chance(0.3),
      asides: random.chance(0.5),
      late: random.chance(0.5),
      large: random.chance(0.3),
      offers: random.chance(0.7),
      http: random.chance(0.3),
      far: later.chance(0.2),
      doubles: later.chance(0.3),
      silences: later.chance(0.3),
      leaves: later.chance(0.4),
      topics: later.pick(TOPICS),
    };
  }

  /** In some histories a batch is as large as a window, or larger. */
  windows(): WindowSizes {
    const later = this.#later;
    if (later.chance(0.6)) return WINDOWS;
    const base = later.between(50, 500);
    const level = base * later.between(1, 4) + later.int(base);
    const most = level * later.between(1, 8) + later.int(level);
    return { all: TOPICS_MAX * base + most * later.between(1, 3), base, level, most };
  }

  /** How many times as often as by its share a fault comes in this history. */
  times(fault: string): number {
    let times = this.#times.get(fault);
    if (times === undefined) this.#times.set(fault, (times = this.#random.pick(TIMES)));
    return times;
  }
}

const WIDE_ONLY: ReadonlySet<string> = new Set([
  "inside",
  "seals",
  "drops",
  "asides",
  "late",
  "http",
  "far",
  "doubles",
  "silences",
  "leaves",
] satisfies (keyof WorldKind)[]);
export const isWideOnly = (kind: keyof WorldKind | undefined): boolean => WIDE_ONLY.has(kind ?? "");

/** The kind of a seed's history, without its history. */
export function kindOfSeed(seed: number, plan: SyncPlan): WorldKind {
  const kind = kindOf(new Random(seed, 0x5c));
  return plan === "wide" ? new Wide(seed).kind(kind) : kind;
}
