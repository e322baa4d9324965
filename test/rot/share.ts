/**
 * One rot run: the command runs it with all bits and pages, the unit tests with some. Bits of sealed segments are
 * flipped in the "killed" log only: the "closed" one differs from it only in the marks of its active segment.
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { Bits, type RotFailure } from "./bits.ts";
import { type HistoryOptions, makeRotLogs } from "./history.ts";
import { rotPages } from "./pages.ts";

/** More than 1 MiB of batches. Slots have only 32 KiB, so that reading one segment is quick. */
export const WHOLE: HistoryOptions = { slotBytes: 32 * 1024, segments: 56, seed: 1 };
/** A smaller volume, for unit tests. */
export const SMALL: HistoryOptions = { slotBytes: 16 * 1024, segments: 6, seed: 1 };

const NO_PAGES = { stale: 0, swapped: 0, counts: {}, failures: [] };
const DIFFERS = /^(active|free)/;

export interface ShareOptions {
  readonly kernel: Kernel;
  readonly history: HistoryOptions;
  readonly seed: number;
  readonly sample: number;
  /** Only every n-th bit and page that needs the whole path. Default 1: all. */
  readonly every?: number;
  /** Only every n-th exchange of pages. Default: as `every`. */
  readonly everySwap?: number;
  /** Regions whose bits are all flipped, whatever `every` says. */
  readonly whole?: RegExp;
  /** Only regions of these names, and no pages. */
  readonly regions?: RegExp;
  readonly failuresMax?: number;
  readonly onProgress?: (what: string, bits: number) => void;
}

export interface Share {
  readonly log: {
    readonly bytes: number;
    readonly batches: number;
    readonly batchBytes: number;
    readonly slots: number;
    readonly slotBytes: number;
  };
  readonly bits: number;
  readonly surveyed: number;
  readonly sampled: number;
  readonly stale: number;
  readonly swapped: number;
  /** How many bits and pages had an outcome, by "how the history ended: region | outcome". */
  readonly counts: Readonly<Record<string, number>>;
  readonly failures: readonly RotFailure[];
}

export async function rotShare(options: ShareOptions): Promise<Share> {
  const { kernel, history, seed, sample, every = 1, whole = /$^/, failuresMax = 20, onProgress } = options;
  const { killed, closed } = await makeRotLogs(kernel, history);
  const names = new RegExp(`^(?!.*(${whole.source}))`);
  const total = { bits: 0, surveyed: 0, sampled: 0, stale: 0, swapped: 0 };
  const counts: Record<string, number> = {};
  const failures: RotFailure[] = [];
  for (const log of [killed, closed]) {
    const count = (found: Readonly<Record<string, number>>): void => {
      for (const [name, times] of Object.entries(found)) if (times > 0) counts[`${log.ended}: ${name}`] = times;
    };
    const fail = (found: readonly RotFailure[]) =>
      failures.push(...found.map((failure) => ({ ...failure, where: `${log.ended}: ${failure.where}` })));
    const thin = every > 1 ? { every, names } : undefined;
    const only = options.regions ?? (log === closed ? DIFFERS : undefined);
    const limits = only ? { only } : {};
    const bits = await Bits.of({
      kernel,
      log,
      seed,
      sample,
      failuresMax,
      ...(thin && { thin }),
      ...limits,
      onBits: (done) => onProgress?.(`${log.ended}: bits`, done),
    });
    const flipped = await bits.run();
    const pages = options.regions
      ? NO_PAGES
      : await rotPages({
          kernel,
          log,
          seed,
          every,
          everySwap: options.everySwap ?? every,
          failuresMax,
          onPages: (done) => onProgress?.(`${log.ended}: pages`, done),
        });
    for (const found of [flipped, pages]) {
      count(found.counts);
      fail(found.failures);
    }
    for (const name of ["bits", "surveyed", "sampled"] as const) total[name] += flipped[name];
    for (const name of ["stale", "swapped"] as const) total[name] += pages[name];
  }
  const batchBytes = killed.batches.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const log = {
    bytes: killed.image.length * killed.slotBytes,
    batches: killed.batches.length,
    batchBytes,
    slots: killed.image.length,
    slotBytes: killed.slotBytes,
  };
  return { log, ...total, counts, failures };
}
