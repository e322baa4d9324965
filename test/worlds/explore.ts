/**
 * Explores all histories of up to `depth` operations from each beginning. Each history is crashed at every call of its
 * last operation and behind it, in every way that images.ts knows. The earlier operations are the last ones of shorter
 * histories, so each crash point is visited once. For some of the images recovery is crashed as well, at each of its
 * calls and in every way. Images with equal bytes and equal promises are opened once, and counted each time.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { Kernel } from "../../src/kernel/types.ts";
import { Counters } from "../simulation/counters.ts";
import { Violation } from "../simulation/model.ts";
import { type CrashImage, imagesOf } from "./images.ts";
import type { Moment } from "./recording-volume.ts";
import { judge, recoveryMoments } from "./judge.ts";
import type { Promised } from "./promise.ts";
import { type Beginning, BEGINNINGS, beginWorld, type CrashPoint, type Operation, OPERATIONS } from "./world.ts";

export interface Failure {
  readonly check: string;
  readonly message: string;
  /** The beginning, the operations, the call after which the crash came, and the fate of each write. */
  readonly history: string;
}

export interface Explored {
  readonly histories: number;
  readonly crashPoints: number;
  readonly images: number;
  readonly distinct: number;
  /** How many images had their recovery crashed. */
  readonly recrashed: number;
  readonly failures: readonly Failure[];
  /** How many images had each outcome, and each fate of a write. */
  readonly counts: Readonly<Record<string, number>>;
}

export interface ExploreOptions {
  readonly kernel: Kernel;
  readonly depth: number;
  readonly beginnings?: readonly Beginning[];
  readonly failuresMax?: number;
  /** The recovery of every n-th distinct image is crashed. Default 0: of none. */
  readonly recrash?: number;
  /** Called after each history. */
  readonly onHistory?: () => void;
}

/** All sequences of exactly `length` operations. */
export function* sequences(length: number): Generator<readonly Operation[]> {
  if (length === 0) return yield [];
  for (const before of sequences(length - 1)) for (const operation of OPERATIONS) yield [...before, operation];
}

export const historiesUpTo = (depth: number): number => {
  let sum = 0;
  for (let length = 1; length <= depth; length++) sum += OPERATIONS.length ** length;
  return sum;
};

class Explorer {
  readonly counters = new Counters();
  readonly failures: Failure[] = [];
  readonly #options: ExploreOptions;
  readonly #judged = new Map<string, string>();
  readonly #hashes = new WeakMap<Uint8Array, string>();
  histories = 0;
  crashPoints = 0;
  images = 0;
  recrashed = 0;

  constructor(options: ExploreOptions) {
    this.#options = options;
  }

  get distinct(): number {
    return this.#judged.size;
  }
  get done(): boolean {
    return this.failures.length >= (this.#options.failuresMax ?? 20);
  }

  async history(beginning: Beginning, operations: readonly Operation[]): Promise<void> {
    const { kernel } = this.#options;
    const name = `${beginning}: ${operations.join(" ")}`;
    this.histories++;
    try {
      const { world, created } = await beginWorld(kernel, beginning);
      let points = operations.length === 0 && beginning === "new" ? created : [];
      for (const operation of operations) points = await world.run(operation);
      for (const point of points) await this.#crash(name, point);
    } catch (thrown) {
      // The history itself failed, before any crash.
      this.#fail(thrown, `${name} (no crash)`);
    }
  }

  async #crash(name: string, { moment, promised }: CrashPoint): Promise<void> {
    this.crashPoints++;
    this.counters.add(`crash behind ${moment.call}`);
    await this.#images(`${name} | behind ${moment.call}`, moment, promised, true, true);
  }

  /** `wasKill`: all written bytes had survived up to this moment. */
  async #images(place: string, moment: Moment, promised: Promised, wasKill: boolean, isFirst: boolean): Promise<void> {
    const owed = JSON.stringify(promised);
    for (const made of imagesOf(moment)) {
      if (this.done) return;
      const crash = { ...made, isKill: made.isKill && wasKill };
      this.images++;
      for (const fate of crash.fates) {
        const half = fate === "head" || fate === "tail" ? "torn in half" : fate;
        this.counters.add(`write ${fate.startsWith("cut@") ? "torn at a sector" : half}`);
      }
      const key = `${crash.isKill}${owed}${crash.image.map((slot) => this.#hash(slot)).join()}`;
      let outcome = this.#judged.get(key);
      if (outcome === undefined) {
        const history = (): string => {
          const writes = crash.fates.map((fate, i) => {
            const { slot, position } = moment.pending[i]!;
            return `slot ${slot} at ${position} ${fate}`;
          });
          return `${place} | ${writes.join(", ") || "all flushed"}`;
        };
        outcome = await this.#judge(crash, promised, history);
        this.#judged.set(key, outcome);
        const { recrash = 0 } = this.#options;
        if (isFirst && recrash > 0 && this.distinct % recrash === 0) await this.#recrash(crash, promised, history);
      }
      this.counters.add(`outcome ${outcome}`);
    }
  }

  async #recrash(crash: CrashImage, promised: Promised, history: () => string): Promise<void> {
    this.recrashed++;
    for (const moment of await recoveryMoments(this.#options.kernel, crash.image)) {
      this.counters.add(`crash in recovery behind ${moment.call}`);
      await this.#images(`${history()} | recovery, behind ${moment.call}`, moment, promised, crash.isKill, false);
    }
  }

  async #judge(crash: CrashImage, promised: Promised, history: () => string): Promise<string> {
    try {
      const outcome = await judge(this.#options.kernel, crash, promised);
      // Lost unflushed writes alone must never make a volume refuse to open.
      if (outcome.startsWith("refused")) throw new Violation("refused", outcome);
      return outcome;
    } catch (thrown) {
      this.#fail(thrown, history());
      return "failed";
    }
  }

  #fail(thrown: unknown, history: string): void {
    const check =
      thrown instanceof Violation ? thrown.check : thrown instanceof TidemarkError ? thrown.code : "crashed";
    this.failures.push({ check, message: thrown instanceof Error ? thrown.message : String(thrown), history });
  }

  /** A hash of 64 bits, as two of 32 bits over the slot's words. */
  #hash(slot: Uint8Array): string {
    const known = this.#hashes.get(slot);
    if (known !== undefined) return known;
    let a = 0x811c9dc5;
    let b = 0x9e3779b9;
    for (const word of new Int32Array(slot.buffer, slot.byteOffset, slot.length >> 2)) {
      a = Math.imul(a ^ word, 0x01000193) ^ (a >>> 15);
      b = Math.imul(b ^ word, 0x85ebca6b) ^ (b >>> 13);
    }
    const hash = `${(a >>> 0).toString(36)}.${(b >>> 0).toString(36)}`;
    this.#hashes.set(slot, hash);
    return hash;
  }
}

export async function explore(options: ExploreOptions): Promise<Explored> {
  const { depth, beginnings = Object.keys(BEGINNINGS) as Beginning[], onHistory } = options;
  const explorer = new Explorer(options);
  for (const beginning of beginnings) {
    for (let length = 0; length <= depth; length++) {
      for (const operations of sequences(length)) {
        if (explorer.done) break;
        await explorer.history(beginning, operations);
        onHistory?.();
      }
    }
  }
  const { histories, crashPoints, images, distinct, recrashed, failures, counters } = explorer;
  return { histories, crashPoints, images, distinct, recrashed, failures, counts: counters.counts };
}
