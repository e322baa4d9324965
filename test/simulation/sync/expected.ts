/** What a run of a few hundred histories must count at least once: every fault, and what must come of them. */
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
  "OUTBOX_FULL",
];

const WIDE_OUTCOMES: readonly string[] = [...HTTP_FAULTS, "offer again", "offered"];

export const expectedOf = (plan: SyncPlan): readonly string[] => [
  ...FAULTS.filter(({ when }) => plan === "wide" || !isWideOnly(when)).map(({ name }) => name),
  ...OUTCOMES,
  ...(plan === "wide" ? WIDE_OUTCOMES : []),
];
