/** Runs histories by their seeds, and shortens those that fail. */
import type { Edge } from "./core.ts";
import { History } from "./history.ts";

export interface Failed {
  readonly seed: number;
  readonly why: string;
  readonly steps: readonly number[];
  readonly trace: readonly string[];
}

export async function runHistory(
  edge: Edge,
  seed: number,
  steps: readonly number[],
  counts: Record<string, number> = {},
): Promise<Failed | undefined> {
  const history = new History(edge, seed);
  history.reads.kernel = await edge.edgeKernel();
  try {
    for (const step of steps) await history.step(step);
    await history.end();
  } catch (thrown) {
    const why =
      thrown instanceof Error
        ? thrown.constructor.name === "Mismatch"
          ? thrown.message
          : thrown.stack!
        : String(thrown);
    return { seed, why, steps, trace: history.trace };
  } finally {
    for (const all of [history.counts, history.platform.counts])
      for (const [name, count] of Object.entries(all)) counts[name] = (counts[name] ?? 0) + count;
  }
  return undefined;
}

const kindOf = (why: string): string => why.replaceAll(/\d+/g, "#").slice(0, 30);

/** Leaves out steps while the history fails in the same way. */
export async function shortened(edge: Edge, failed: Failed, runsMax = 150): Promise<Failed> {
  let best = failed;
  let runs = 0;
  for (let size = Math.ceil(best.steps.length / 2); size >= 1;) {
    let isShorter = false;
    for (let at = best.steps.length - size; at > -size && runs < runsMax; at -= size) {
      const from = Math.max(at, 0);
      const steps = [...best.steps.slice(0, from), ...best.steps.slice(from + size)];
      if (steps.length === best.steps.length) continue;
      runs++;
      const found = await runHistory(edge, failed.seed, steps);
      if (!found || kindOf(found.why) !== kindOf(failed.why)) continue;
      best = found;
      isShorter = true;
    }
    if (size === 1 && (!isShorter || runs >= runsMax)) break;
    size = Math.max(1, Math.min(size, best.steps.length) >> 1);
  }
  return best;
}

export interface HistoriesAsked {
  readonly seed: number;
  readonly seeds: number;
  readonly steps: number;
  readonly failuresMax?: number;
}

export async function runHistories(edge: Edge, { seed, seeds, steps, failuresMax = 3 }: HistoriesAsked) {
  const counts: Record<string, number> = {};
  const failures: Failed[] = [];
  const all = Array.from({ length: steps }, (_, i) => i);
  let done = 0;
  for (; done < seeds && failures.length < failuresMax; done++) {
    const failed = await runHistory(edge, seed + done, all, counts);
    if (failed) failures.push(failed);
  }
  return { counts, failures, done };
}
