/**
 * Shortens a failing history: leaves out halves, quarters, … single operations while the same check still fails. The
 * number of runs is limited, because a person waits.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import type { Op, Plan } from "./plan.ts";
import { type RunResult, Simulation } from "./simulation.ts";

const RUNS_MAX = 400;

export interface Shrunk {
  readonly plan: Plan;
  readonly result: RunResult;
  readonly runs: number;
}

export async function shrink(plan: Plan, kernel: Kernel, check: string): Promise<Shrunk> {
  let best = plan;
  let result = await new Simulation(plan, kernel).run();
  let runs = 1;
  const attempt = async (ops: readonly Op[]): Promise<boolean> => {
    runs++;
    const shorter = { ...best, ops };
    const outcome = await new Simulation(shorter, kernel).run();
    if (outcome.failure?.check !== check) return false;
    best = shorter;
    result = outcome;
    return true;
  };
  for (let size = Math.ceil(plan.ops.length / 2); runs < RUNS_MAX;) {
    let shortened = false;
    for (let at = best.ops.length - size; at > -size && runs < RUNS_MAX; at -= size) {
      const from = Math.max(at, 0);
      if (from >= best.ops.length) continue;
      shortened = (await attempt([...best.ops.slice(0, from), ...best.ops.slice(from + size)])) || shortened;
    }
    if (size === 1 && !shortened) break;
    if (!shortened || size > best.ops.length) size = Math.max(1, Math.min(size, best.ops.length) >> 1);
  }
  return { plan: best, result: await new Simulation(best, kernel, true).run(), runs: result ? runs : 0 };
}
