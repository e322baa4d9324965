/**
 * What all fuzzers share. A target makes one hostile input in each step, counts the outcomes, and throws a `Finding`
 * when a promise is broken. Nothing here depends on a particular format.
 */
import { TidemarkError } from "../../src/errors.ts";
import type { PackingKernel } from "../../src/kernel/types.ts";
import type { Random } from "../simulation/prng.ts";

/** What a target is made with. `others` are the builds that must agree with `kernel`. */
export interface Parts {
  readonly kernel: PackingKernel;
  readonly others: readonly PackingKernel[];
  readonly random: Random;
  /** Batches from which hostile ones are made: the committed corpus, or those of seeds.ts. */
  readonly corpus: readonly Uint8Array[];
}

export interface Target {
  /** Makes one hostile input and checks what the product does with it. */
  step(): void | Promise<void>;
  /** How often each outcome occurred. */
  outcomes(): Record<string, number>;
  /** Figures that are no counts of outcomes. */
  figures?(): Record<string, number>;
  /** Releases what keeps a process alive. */
  end?(): void | Promise<void>;
}

export type MakeTarget = (parts: Parts) => Target | Promise<Target>;

/** A broken promise, with the input that shows it. */
export class Finding extends Error {
  constructor(
    message: string,
    readonly input: Uint8Array | string,
    options?: ErrorOptions,
  ) {
    const shown =
      typeof input === "string"
        ? input
        : `${input.length} bytes ${Buffer.from(input.subarray(0, 2048)).toString("hex")}`;
    super(`${message}\n  input: ${shown}`, options);
  }
}

export function demand(condition: unknown, message: string, input: Uint8Array | string): asserts condition {
  if (!condition) throw new Finding(message, input instanceof Uint8Array ? input.slice() : input);
}

/** Codes that hostile bytes may end in. INTERNAL is missing: it would mean a bug of ours. */
export const EXPECTED_CODES: ReadonlySet<string> = new Set([
  "INVALID_ARGUMENT",
  "RECORD_TOO_LARGE",
  "BATCH_TOO_LARGE",
  "INVALID_BATCH",
  "OFFSET_OUT_OF_RANGE",
  "UNSUPPORTED_FORMAT",
  "UNKNOWN_TOPIC",
  "OFFSET_CONFLICT",
  "OUT_OF_ORDER_SEQUENCE",
  "SEQUENCE_CONFLICT",
  "FENCED_PRODUCER",
  "BACKPRESSURE",
  "LIMIT_EXCEEDED",
  "QUOTA_EXCEEDED",
  "CORRUPT_RANGE",
  "CORRUPT_CATALOG",
  "DECOMPRESSION_LIMIT",
  "CLOSED",
  "STORAGE_FAILED",
  "OUTCOME_UNKNOWN",
]);

/** The code of a typed error. Any other error is a finding. */
export function codeOf(thrown: unknown, input: Uint8Array | string): string {
  if (thrown instanceof Finding) throw thrown;
  if (thrown instanceof TidemarkError && EXPECTED_CODES.has(thrown.code)) return thrown.code;
  const name = thrown instanceof Error ? (thrown.stack ?? String(thrown)) : String(thrown);
  throw new Finding(`escaped: ${name}`, input instanceof Uint8Array ? input.slice() : input, { cause: thrown });
}

/** Counts by name. */
export class Tally {
  readonly #counts = new Map<string, number>();

  add(name: string): void {
    this.#counts.set(name, (this.#counts.get(name) ?? 0) + 1);
  }

  all(): Record<string, number> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => (a < b ? -1 : 1)));
  }
}
