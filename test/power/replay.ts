/** Makes images of a trace by plan, checks each, counts outcomes and faults. */
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { Counters } from "../simulation/counters.ts";
import { Violation } from "../simulation/model.ts";
import { Random } from "../simulation/prng.ts";
import { checkImage } from "./check.ts";
import { drawnPlans, everyPlan, imageMaker, type Plan } from "./images.ts";
import { Promises } from "./promises.ts";
import { cutAgain } from "./second-cut.ts";
import type { Trace } from "./trace.ts";

export interface Failure {
  readonly plan: Plan;
  readonly message: string;
}

export interface Replayed {
  readonly images: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly faults: Readonly<Record<string, number>>;
  readonly failures: readonly Failure[];
}

export interface ReplayOptions {
  readonly kernel: Kernel;
  readonly images: number;
  readonly seed: number;
  readonly failuresMax?: number;
  /** Process kills instead of power cuts: all that was written is there, and `written` acks count too. */
  readonly kill?: boolean;
  readonly onImage?: () => void;
}

/** As many of the systematic plans as fit two thirds, then drawn ones; in the order of their points. */
function plansOf(trace: Trace, { images, seed, kill }: ReplayOptions): Plan[] {
  const random = new Random(seed, 2);
  const every = everyPlan(trace).filter(({ fates }) => !kill || fates === "all");
  const share = Math.min(every.length, kill ? images : Math.ceil((images * 2) / 3));
  // The first `share` places of a shuffle.
  for (let at = 0; at < share; at++) {
    const other = at + random.int(every.length - at);
    [every[at], every[other]] = [every[other]!, every[at]!];
  }
  const plans = [...every.slice(0, share), ...drawnPlans(trace, seed, kill ? 0 : images - share)];
  return plans.sort((a, b) => a.point - b.point);
}

export async function replay(trace: Trace, options: ReplayOptions): Promise<Replayed> {
  const { kernel, failuresMax = 5, kill = false } = options;
  const promises = new Promises(trace);
  const outcomes = new Counters();
  const faults = new Counters();
  const failures: Failure[] = [];
  const make = imageMaker(trace, faults);
  let images = 0;
  for (const plan of plansOf(trace, options)) {
    images++;
    try {
      const cut = make(plan);
      const image = plan.secondCut > 0 ? await cutAgain(kernel, cut, trace.slotBytes, plan, faults) : cut;
      outcomes.add(await checkImage(kernel, image, trace.slotBytes, promises.at(plan.point, kill ? "kill" : "power")));
    } catch (thrown) {
      // Anything else is a mistake of this test.
      if (!(thrown instanceof Violation || thrown instanceof TidemarkError)) throw thrown;
      outcomes.add("VIOLATION");
      failures.push({ plan, message: thrown.message });
      if (failures.length >= failuresMax) break;
    }
    options.onImage?.();
  }
  return { images, outcomes: outcomes.counts, faults: faults.counts, failures };
}

/** What a few thousand images over both engines must have met. */
export const EXPECTED_FAULTS: readonly string[] = [
  "cut.kept", "cut.dropped", "cut.torn", "cut.garbled", "cut.reordered", "cut.in-recovery", "file.empty", "name.lost.youngest", "name.lost.any", "tx.lost", "tx.kept-unsure",
];
