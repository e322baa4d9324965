/**
 * What one log promises at one moment, computed without the log: which records may be there, which must be there, and
 * where the log may begin.
 *
 *   start            flushed              written              end of `batches`
 *     ▼                 ▼                    ▼                    ▼
 *   ──┬─────────────────┬────────────────────┬────────────────────┬──→ offsets
 *     │ there after any │ there after a kill │ an append that was │
 *     │ crash           │ of the process     │ on its way         │
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { BatchBuilder } from "../../src/record/batch-builder.ts";

export interface MadeRecord {
  readonly key: string;
  /** null for a tombstone. */
  readonly value: string | null;
  readonly timestamp: number;
}

export interface MadeBatch {
  readonly baseOffset: number;
  readonly records: readonly MadeRecord[];
}

export interface Promised {
  /** Whether the log's creation has been answered. */
  readonly exists: boolean;
  readonly batches: readonly MadeBatch[];
  readonly flushed: number;
  readonly written: number;
  readonly startLow: number;
  readonly startHigh: number;
  /** Offsets that a compaction under way may remove, and those that earlier ones have removed. */
  readonly going: readonly number[];
  readonly gone: readonly number[];
  /** There must be a producers' snapshot as of this offset or a later one. -1: there need not be one. */
  readonly snapshot: number;
}

export const NOTHING: Promised = {
  exists: false,
  batches: [],
  flushed: 0,
  written: 0,
  startLow: 0,
  startHigh: 0,
  going: [],
  gone: [],
  snapshot: -1,
};

export const LOG_NAME = "w";
export const PRODUCER = { producerId: 7, producerEpoch: 0 } as const;

export const endOf = ({ batches }: Pick<Promised, "batches">): number => {
  const last = batches[batches.length - 1];
  return last ? last.baseOffset + last.records.length : 0;
};

/** Two records with keys of three. All have the same size, so that a new batch covers an old one exactly. */
export function makeRecords(baseOffset: number, serial: number): MadeRecord[] {
  return [0, 1].map((i) => {
    const n = baseOffset + i;
    const filler = `${serial}`.padStart(6, "0");
    return {
      key: `k${n % 3}`,
      value: n % 5 === 4 ? null : `offset ${String(n).padStart(4, "0")} try ${filler}`,
      timestamp: 1000 + n * 10,
    };
  });
}

export function encode(kernel: Kernel, records: readonly MadeRecord[], baseOffset: number): Uint8Array {
  const builder = new BatchBuilder(kernel);
  const text = (value: string | null) => (value === null ? null : new TextEncoder().encode(value));
  for (const { key, value, timestamp } of records) builder.tryAppend({ key: text(key), value: text(value), timestamp });
  return builder.build({ ...PRODUCER, baseSequence: baseOffset });
}

/** A producers' snapshot as of this offset. The store does not look into it, so a text will do. */
export const snapshotAt = (offset: number): Uint8Array =>
  new TextEncoder().encode(`producers as of ${String(offset).padStart(8, "0")}`);
