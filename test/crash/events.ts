/**
 * The messages of a crash test's page to the ledger, and the runner's commands to the page. The ledger lives in the
 * runner's process, so it outlives every browser that is killed:
 *
 *   page                                   runner
 *    │ ── POST [invoke #7 append t …] ──────▶ │   written down before append() is called
 *    │ ◀─ answered ────────────────────────── │
 *    │      append() … ack                    │
 *    │ ── POST [complete #7 ok @40 …] ──────▶ │   only now the ack counts
 */
import type { Value } from "../checker/history.ts";

export type Engine = "opfs" | "indexeddb";
/** Moments at which a strike can be aimed: the page reports that it is about to do this. */
const MOMENTS = ["roll", "retention", "compaction", "trim", "recovery"] as const;
export type Moment = (typeof MOMENTS)[number];

/** [value, key, tombstone]: an array, because a history has many of them. */
export type SentRecord = readonly [value: number, key: string | null, tombstone: 0 | 1];

/** `at` is the page's own clock, which counts the page's events. */
export type PageEvent =
  | {
      readonly type: "append";
      readonly id: number;
      readonly at: number;
      readonly process: string;
      readonly topic: string;
      readonly acks: "written" | "flushed";
      readonly records: readonly SentRecord[];
    }
  | { readonly type: "trim"; readonly id: number; readonly at: number; readonly topic: string; readonly to: number }
  | {
      readonly type: "done";
      readonly id: number;
      readonly at: number;
      readonly outcome: "ok" | "fail" | "info";
      readonly offsets?: readonly number[];
      readonly duplicates?: number;
      readonly code?: string;
    }
  | {
      readonly type: "poll";
      readonly from: number;
      readonly at: number;
      readonly process: string;
      readonly topic: string;
      readonly wholeLog: boolean;
      readonly offsets: readonly number[];
      readonly values: readonly Value[];
    }
  | { readonly type: "assign"; readonly at: number; readonly process: string; readonly topic: string }
  | { readonly type: "begin"; readonly id: number; readonly moment: Moment }
  | {
      readonly type: "end";
      readonly id: number;
      readonly moment: Moment;
      readonly retired?: number;
      readonly compacted?: number;
    }
  /** Measurements for the runner. They are not part of the history. */
  | { readonly type: "note"; readonly note: unknown }
  /** Something that must not happen and that the checker cannot find in a history. */
  | { readonly type: "problem"; readonly text: string };

export interface Post {
  /** Set by pages that send a failed request again: a request with a known number is not counted twice. */
  readonly number?: string;
  /** The runner gives each opening of the tide by a page a new number. */
  readonly life: number;
  readonly events: readonly PageEvent[];
}

export interface PageConfig {
  readonly life: number;
  readonly seed: number;
  readonly name: string;
  readonly engine: Engine;
  /** A planted bug: the page reports acks before it appends anything. */
  readonly earlyAck: boolean;
}

/** What an opening of the tide took and found. */
export interface Audit {
  readonly openMs: number;
  readonly readMs: number;
  readonly records: number;
  readonly segments: number;
  /** How often the opening found the tide still locked by a page or worker that was ending. */
  readonly waits: number;
  readonly cuts: number;
  readonly clean: boolean;
  readonly scannedBytes: number;
}

/** The functions that the runner calls in the page. */
export interface CrashPage {
  /** Opens the tide and reads everything in it. */
  audit(config: PageConfig): Promise<Audit>;
  /** Starts writers, followers and the keeper (workload.ts) on the open tide. */
  work(): void;
  /** Stops them, waits until they have finished, and closes the tide. */
  finish(): Promise<void>;
  /** Terminates the worker. Resolves when every call has been settled, with the milliseconds that this took. */
  terminate(): Promise<number>;
}

/** The topics: one loses no records, one by retention, one by compaction, one by trims. */
export const WINDOW_RECORDS = 200;
export const RULES = {
  orders: {},
  window: { retainRecords: WINDOW_RECORDS },
  latest: { compacted: true, tombstonesExpire: true },
  trimmed: {},
} as const;
export type TopicName = keyof typeof RULES;
export const TOPICS = Object.keys(RULES) as TopicName[];
