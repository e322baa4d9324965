/**
 * Searches a planted bug of sync over a bundle of the product that has it: in the history that it names, in a
 * session that is struck at each message, or in drawn ones, one after the other.
 */
import { importPlanted } from "../../support/bundle-planted.ts";
import type * as Entry from "./mutant-entry.ts";
import { HARD_MUTANTS } from "./hard-mutants.ts";
import { SYNC_MUTANTS, type SyncMutant } from "./mutants.ts";
import { RULE_MUTANTS } from "./rule-mutants.ts";
import { TOPIC_MUTANTS } from "./topic-mutants.ts";

export const ENTRY = "test/simulation/sync/mutant-entry.ts";

export interface Searched {
  /** Why the first history failed that did; undefined: the bug survived. */
  readonly why: string | undefined;
  readonly seed: number | undefined;
}

export async function searchPlanted(mutant: SyncMutant, seedsMax: number, ops: number): Promise<Searched> {
  const { runSync, runHistory, runFrames } = await importPlanted<typeof Entry>(ENTRY, mutant);
  const { from = 1, plan = "first", having = [], history, frames } = mutant;
  if (history !== undefined) return { why: await runHistory(history), seed: undefined };
  if (frames !== undefined) return { why: (await runFrames(1, [frames])).failures[0]?.why, seed: undefined };
  const { failures } = await runSync({
    seed: from,
    seeds: seedsMax,
    ops: Math.max(ops, mutant.ops ?? 0),
    plan,
    having,
    failuresMax: 1,
  });
  return { why: failures[0]?.why, seed: failures[0]?.seed };
}

export const ALL_MUTANTS: readonly SyncMutant[] = [...SYNC_MUTANTS, ...RULE_MUTANTS, ...HARD_MUTANTS, ...TOPIC_MUTANTS];
