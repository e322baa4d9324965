/**
 * The history that the checker reads: the operations of many concurrent processes, as one ledger recorded them.
 *
 *   writer-1   ├── append t [a b] ──┤ ok @4 @5
 *   writer-2        ├── append t [c] ────────────────── …          info: the outcome is unknown
 *   reader-1                  ├─ poll t ─┤ ok @4 a, @5 b, @6 c
 *              ─────────────────────────────────────────▶ the ledger's clock
 *
 * `invoke` and `complete` are points of that clock. Two operations overlap unless one completed before the other was
 * invoked. A value is unique in its topic, so a value that is read identifies its append.
 */

/** fail: it certainly did not happen. info: it may have happened, or may still happen. */
export type Outcome = "ok" | "fail" | "info";
export type Value = string | number;

interface Common {
  readonly process: string;
  readonly invoke: number;
  /** Absent if the outcome is unknown. */
  readonly complete?: number;
  readonly outcome: Outcome;
}

export interface Sent {
  readonly value: Value;
  /** The record's key; used for compaction by key. */
  readonly key?: string;
  readonly tombstone?: boolean;
}

export interface AppendOp extends Common {
  readonly type: "append";
  readonly topic: string;
  readonly records: readonly Sent[];
  /** One offset for each record. Absent if there was no ack, or the ack named no offsets. */
  readonly offsets?: readonly number[];
}

export interface Polled {
  readonly offset: number;
  readonly value: Value;
}

/** A read of committed records, in the order in which they were returned. Only `ok` polls are judged. */
export interface PollOp extends Common {
  readonly type: "poll";
  readonly topic: string;
  readonly records: readonly Polled[];
  /** True if it read from the earliest offset to the end that the log had when the read began. */
  readonly wholeLog?: boolean;
}

/** The process will read from another position next, so its last poll and its next one are not compared. */
export interface AssignOp extends Common {
  readonly type: "assign";
  readonly topics: readonly string[];
}

/** Records below `to` were removed on purpose. */
export interface TrimOp extends Common {
  readonly type: "trim";
  readonly topic: string;
  readonly to: number;
}

export type Op = AppendOp | PollOp | AssignOp | TrimOp;

/** Reasons for which records of a topic may be missing. */
export interface TopicRules {
  /** Retention keeps at least this many of the newest records. */
  readonly retainRecords?: number;
  /** Compaction keeps the newest record of a key. */
  readonly compacted?: boolean;
  /** Compaction may also drop a tombstone after a while. */
  readonly tombstonesExpire?: boolean;
}
export type Rules = Readonly<Record<string, TopicRules>>;

const RECORDS_SHOWN = 12;

function shown(parts: readonly string[]): string {
  const rest = parts.length - RECORDS_SHOWN;
  return `[${parts.slice(0, RECORDS_SHOWN).join(" ")}${rest > 0 ? ` … ${rest} more` : ""}]`;
}

function whatOf(op: Op): string {
  switch (op.type) {
    case "append":
      return `${op.topic} ${shown(
        op.records.map(({ value, key, tombstone }, i) => {
          const at = op.offsets ? `@${op.offsets[i]}` : "";
          return `${key === undefined ? "" : `${key}=`}${value}${tombstone ? "†" : ""}${at}`;
        }),
      )}`;
    case "poll":
      return (
        `${op.topic} ` +
        `${shown(op.records.map(({ offset, value }) => `@${offset}:${value}`))}${op.wholeLog ? " (whole log)" : ""}`
      );
    case "assign":
      return op.topics.join(" ");
    case "trim":
      return `${op.topic} to @${op.to}`;
  }
}

/** One line for each operation, in the order in which they began. */
export function printHistory(ops: readonly Op[]): string {
  return [...ops]
    .sort((a, b) => a.invoke - b.invoke)
    .map(
      (op) =>
        `  ${`${op.invoke}…${op.complete ?? "?"}`.padEnd(16)} ${op.process.padEnd(14)} ${op.type.padEnd(6)} ` +
        `${op.outcome.padEnd(4)} ${whatOf(op)}`,
    )
    .join("\n");
}
