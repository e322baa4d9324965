/** What a run of a few hundred histories must count at least once: every fault, and what must come of them. */
import { FAULTS } from "./faults.ts";
import { TOKEN_FAULTS } from "./tokens.ts";

export const EXPECTED: readonly string[] = [
  ...FAULTS.map(({ name }) => name),
  ...TOKEN_FAULTS,
  "poison",
  "BAD_REQUEST again",
  "BAD_REQUEST discarded",
  "doubt again",
  "doubt discarded",
  "claimed",
  "blocked",
  "stopped",
  "gap",
  "OUTBOX_FULL",
];
