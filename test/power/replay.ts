/** Makes the crash images of a trace, checks each, and counts outcomes and faults. */
import { TidemarkError } from "../../src/errors.ts";
import type { EncodingKernel } from "../../src/kernel/types.ts";
import { Counters } from "../simulation/counters.ts";
import { Violation } from "../simulation/model.ts";
import { Random } from "../simulation/prng.ts";
import { checkImage } from "./check.ts";
import { drawnPlans, everyPlan, imageMaker, isFlushPoint, type Plan } from "./images.ts";
import { Promises } from "./promises.ts";
import { cutAgain } from "./second-cut.ts";
import type { Trace } from "./trace.ts";

export interface Failure {
  readonly plan: Plan;
  readonly message: string;
}

export interface Replayed {
  readonly images: number;
  /** How many flush points got an image without the unflushed writes, and how many flush points there are. */
  readonly flushPoints: readonly [met: number, all: number];
  readonly outcomes: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  readonly failures: readonly Failure[];
}

export interface ReplayOptions {
  readonly kernel: EncodingKernel;
  readonly images: number;
  readonly seed: number;
  readonly failuresMax?: number;
  /**
   * Kills of the process instead of power cuts: every written byte is there, so acks as `written` must hold as well.
   */
  readonly kill?: boolean;
  readonly onImage?: () => void;
}

/**
 * Two thirds of the plans are systematic, and first among these is the loss of all unflushed writes at each flush
 * point. The rest are drawn. All are sorted by their points.
 */
function plansOf(trace: Trace, { images, seed, kill }: ReplayOptions): Plan[] {
  const random = new Random(seed, 2);
  const every = everyPlan(trace).filter(({ fates }) => !kill || fates === "all");
  const share = Math.min(every.length, kill ? images : Math.ceil((images * 2) / 3));
  const ranked = every.map((plan) => ({
    plan,
    rank: (plan.fates === "none" && isFlushPoint(trace, plan.point) ? 0 : 0x1_0000_0000) + random.u32(),
  }));
  const first = ranked
    .sort((a, b) => a.rank - b.rank)
    .slice(0, share)
    .map(({ plan }) => plan);
  return [...first, ...drawnPlans(trace, seed, kill ? 0 : images - share)].sort((a, b) => a.point - b.point);
}

export async function replay(trace: Trace, options: ReplayOptions): Promise<Replayed> {
  const { kernel, failuresMax = 5, kill = false } = options;
  const promises = new Promises(trace);
  const outcomes = new Counters();
  const faults = new Counters();
  const failures: Failure[] = [];
  const make = imageMaker(trace, faults);
  let images = 0;
  const met = new Set<number>();
  for (const plan of plansOf(trace, options)) {
    images++;
    if (plan.fates === "none" && isFlushPoint(trace, plan.point)) met.add(plan.point);
    try {
      const cut = make(plan);
      const image = plan.secondCut > 0 ? await cutAgain(kernel, cut, trace.slotBytes, plan, faults) : cut;
      outcomes.add(await checkImage(kernel, image, trace.slotBytes, promises.at(plan.point, kill ? "kill" : "power")));
    } catch (thrown) {
      // Any other error is a bug of this test.
      if (!(thrown instanceof Violation || thrown instanceof TidemarkError)) throw thrown;
      outcomes.add("VIOLATION");
      failures.push({ plan, message: thrown.message });
      if (failures.length >= failuresMax) break;
    }
    options.onImage?.();
  }
  const flushPoints = trace.events.filter((_, at) => isFlushPoint(trace, at + 1)).length;
  return { images, flushPoints: [met.size, flushPoints], outcomes: outcomes.counts, faults: faults.counts, failures };
}

/** Faults that must occur at least once in a few thousand images over both engines. */
export const EXPECTED_FAULTS: readonly string[] = [
  "cut.kept",
  "cut.dropped",
  "cut.torn",
  "cut.garbled",
  "cut.reordered",
  "cut.in-recovery",
  "file.empty",
  "name.lost.youngest",
  "name.lost.any",
  "tx.lost",
  "tx.kept-unsure",
];
