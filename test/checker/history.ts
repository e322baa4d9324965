/**
 * The history that the checker reads: the operations of many concurrent processes, as one ledger noted them.
 *
 *   writer-1   ├── append t [a b] ──┤ ok @4 @5
 *   writer-2        ├── append t [c] ────────────────── …          info: nobody knows
 *   reader-1                  ├─ poll t ─┤ ok @4 a, @5 b, @6 c
 *              ─────────────────────────────────────────▶ the ledger's clock
 *
 * `invoke` and `complete` are points of that clock; two operations overlap unless one completed before the other was
 * invoked. Values are unique in their topic, so a value that comes back says which append it was.
 */

/** fail: it surely did not happen. info: it may have happened, or may yet. */
export type Outcome = "ok" | "fail" | "info";
export type Value = string | number;

interface Common {
  readonly process: string;
  readonly invoke: number;
  /** Absent while the outcome is unknown. */
  readonly complete?: number;
  readonly outcome: Outcome;
}

export interface Sent {
  readonly value: Value;
  /** The record's key, where compaction by key matters. */
  readonly key?: string;
  readonly tombstone?: boolean;
}

export interface AppendOp extends Common {
  readonly type: "append";
  readonly topic: string;
  readonly records: readonly Sent[];
  /** One per record; absent where the ack named none, or there was no ack. */
  readonly offsets?: readonly number[];
}

export interface Polled {
  readonly offset: number;
  readonly value: Value;
}

/** A read of committed records, in the order in which they came. Only `ok` polls are looked at. */
export interface PollOp extends Common {
  readonly type: "poll";
  readonly topic: string;
  readonly records: readonly Polled[];
  /** It went from the earliest offset there was to the end of the log as of its start. */
  readonly wholeLog?: boolean;
}

/** The process will read somewhere else next: where it was before says nothing about its next poll. */
export interface AssignOp extends Common {
  readonly type: "assign";
  readonly topics: readonly string[];
}

/** Records below `to` were given up on purpose. */
export interface TrimOp extends Common {
  readonly type: "trim";
  readonly topic: string;
  readonly to: number;
}

export type Op = AppendOp | PollOp | AssignOp | TrimOp;

/** Why records of a topic may rightly be missing. */
export interface TopicRules {
  /** Retention keeps at least so many of the newest records. */
  readonly retainRecords?: number;
  /** Compaction keeps the newest record of a key. */
  readonly compacted?: boolean;
  /** And drops a tombstone after a while. */
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

/** A line per operation, in the order of their beginnings. */
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
