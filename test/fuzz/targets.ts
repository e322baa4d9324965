/** All fuzzers by name, and the loop that runs one. */
import { Random } from "../simulation/prng.ts";
import type { PackingKernel } from "../../src/kernel/types.ts";
import { decoder, filter, pack, records, scan } from "./kernel-targets.ts";
import { gzip, record } from "./record-targets.ts";
import { portClient, portServer } from "./port-targets.ts";
import { catalog, footer, slot, volume } from "./stored-targets.ts";
import type { MakeTarget } from "./target.ts";

export const TARGETS = {
  decoder,
  records,
  filter,
  scan,
  pack,
  record,
  gzip,
  footer,
  catalog,
  slot,
  volume,
  "port-server": portServer,
  "port-client": portClient,
} satisfies Record<string, MakeTarget>;
export type TargetName = keyof typeof TARGETS;

export interface FuzzOptions {
  readonly target: TargetName;
  readonly seed: number;
  readonly executions: number;
  readonly kernel: PackingKernel;
  readonly others: readonly PackingKernel[];
  readonly corpus: readonly Uint8Array[];
  readonly onProgress?: (done: number) => void;
}

export interface FuzzResult {
  readonly target: string;
  readonly executions: number;
  readonly outcomes: Record<string, number>;
  readonly figures: Record<string, number>;
}

const PROGRESS_EVERY = 50_000;

/** Runs a target's steps. Rejects with a `Finding` at the first broken promise, with seed and step in its message. */
export async function fuzz({
  target: name,
  seed,
  executions,
  kernel,
  others,
  corpus,
  onProgress,
}: FuzzOptions): Promise<FuzzResult> {
  const target = await TARGETS[name]({ kernel, others, corpus, random: new Random(seed) });
  let done = 0;
  try {
    for (; done < executions; done++) {
      const step = target.step();
      if (step !== undefined) await step;
      if (onProgress && (done + 1) % PROGRESS_EVERY === 0) onProgress(PROGRESS_EVERY);
    }
  } catch (thrown) {
    if (thrown instanceof Error) thrown.message = `${name}, seed ${seed}, execution ${done}: ${thrown.message}`;
    throw thrown;
  } finally {
    await target.end?.();
  }
  return { target: name, executions, outcomes: target.outcomes(), figures: target.figures?.() ?? {} };
}
