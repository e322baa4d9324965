/** What a run of some hundred histories must count so often: every fault, and what must come of them. */
import { FAULTS } from "./faults.ts";
import { HTTP_FAULTS } from "./http-way.ts";
import { isWideOnly, type SyncPlan } from "./kinds.ts";
import { TOKEN_FAULTS } from "./tokens.ts";

const OUTCOMES: readonly string[] = [
  ...TOKEN_FAULTS,
  "poison",
  "SCHEMA_MISMATCH again",
  "SCHEMA_MISMATCH discarded",
  "doubt again",
  "doubt discarded",
  "claimed",
  "blocked",
  "stopped",
  "gap",
  "spill",
  "OUTBOX_FULL",
];

const WIDE_OUTCOMES: readonly string[] = [...HTTP_FAULTS, "set aside", "offer again", "offered"];

export const expectedOf = (plan: SyncPlan): readonly string[] => [
  ...FAULTS.filter(({ when }) => plan === "wide" || !isWideOnly(when)).map(({ name }) => name),
  ...OUTCOMES,
  ...(plan === "wide" ? WIDE_OUTCOMES : []),
];

/** From so many steps in all on each must have occurred, and from STEPS_FOR_MOST on FLOOR_MOST times. */
const STEPS_FOR_ONE = 15_000;
const STEPS_FOR_MOST = 600_000;
const FLOOR_MOST = 100;

/** How often each must have occurred in a run: 0 in a short one, 100 in 2,000 histories of 300 steps and more. */
export function floorOf(seeds: number, ops: number): number {
  const steps = seeds * ops;
  if (steps < STEPS_FOR_ONE) return 0;
  return Math.max(1, Math.min(FLOOR_MOST, Math.floor((FLOOR_MOST * steps) / STEPS_FOR_MOST)));
}

/** What occurred less often than that, with how often it did. */
export function rareIn(counts: Readonly<Record<string, number>>, plan: SyncPlan, floor: number): readonly string[] {
  return expectedOf(plan)
    .filter((name) => (counts[name] ?? 0) < floor)
    .map((name) => `${name}: ${counts[name] ?? 0} of ${floor}`);
}
