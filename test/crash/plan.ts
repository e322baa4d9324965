/** Draws the strike of each round from the seed: its kind, the moment it is aimed at, and its delay. */
import { Random } from "../simulation/prng.ts";
import type { Engine, Moment } from "./events.ts";

/**
 * kill: SIGKILL to the browser's whole process group. crash: the renderer's process ends. terminate: the worker ends.
 * kill-frozen: SIGKILL while the page is frozen. The others close, reload or freeze the page.
 */
export const STRIKES = ["kill", "crash", "close", "reload", "terminate", "freeze", "kill-frozen"] as const;
export type StrikeKind = (typeof STRIKES)[number];

export interface Strike {
  readonly kind: StrikeKind;
  /** What the page must be doing when the strike comes. Undefined: the moment is random. */
  readonly aim: Moment | undefined;
  /** How long the page works before the strike. */
  readonly workMs: number;
  /** Delay after the page's message that the aimed moment begins, or after a freeze. */
  readonly delayMs: number;
  /** How many recoveries in a row are struck. */
  readonly recoveries: number;
  /** In OPFS: a browser that is killed also leaves a torn record in its list of file names. */
  readonly tears: boolean;
}

const AIMED_DELAY_MS: Readonly<Record<Moment, number>> = {
  roll: 6,
  trim: 6,
  retention: 10,
  compaction: 20,
  recovery: 60,
};

export const ROUNDS_PER_PROFILE = 8;
export const engineOf = (profile: number): Engine => (profile % 2 === 0 ? "opfs" : "indexeddb");

export function strikeOf(seed: number, round: number): Strike {
  const random = new Random(seed, 7, round);
  const kind = random.weighted({
    kill: 10,
    crash: 3,
    close: 2,
    reload: 2,
    terminate: 3,
    freeze: 2,
    "kill-frozen": 1,
  } satisfies Record<StrikeKind, number>);
  const strikesAtOnce = kind !== "freeze" && kind !== "kill-frozen";
  // A worker is not terminated during recovery: other tests do that. Pages and browsers are.
  const moments: Moment[] =
    kind === "terminate"
      ? ["roll", "retention", "compaction", "trim"]
      : ["roll", "retention", "compaction", "trim", "recovery"];
  const aim = strikesAtOnce && random.chance(0.65) ? random.pick(moments) : undefined;
  const workMs = random.between(150, random.pick([400, 1200]));
  const delayMs = aim ? random.int(AIMED_DELAY_MS[aim] + 1) : random.between(50, 500);
  const recoveries = aim === "recovery" ? random.between(1, 3) : 0;
  return { kind, aim, workMs, delayMs, recoveries, tears: new Random(seed, 8, round).chance(0.5) };
}
