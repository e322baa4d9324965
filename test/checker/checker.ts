/**
 * Reads a history and reports what a log must never do. The classes and most of their definitions are those of Jepsen's
 * workload for Kafka and Redpanda (jepsen.tests.kafka); what is a "key" there is a topic here. Offsets may have holes,
 * so "next" means the next offset at which some append or poll of the history puts a value.
 *
 *   lost-write             a committed value is missing from a read of the log that returned a value behind its offset
 *   unseen                 a committed value is missing from such a read, which returned nothing behind it either
 *   duplicate              one value at two offsets
 *   inconsistent-offsets   two values at one offset
 *   aborted-read           a poll returned a value whose append failed for certain (G1a)
 *   poll-skip              two polls of one process in a row without an assign passed over a known value between them
 *   nonmonotonic-poll      the second of them begins at or before the first one's end
 *   int-poll-skip, int-nonmonotonic-poll     the same, inside one poll
 *   nonmonotonic-send      two appends of one process: the one called later has the lower offset
 *   int-nonmonotonic-send  the same, inside one append
 * and two classes that Jepsen does not have:
 *   never-sent             a poll returned a value that nobody sent (NATS's set checker calls it unexpected)
 *   trim-undone            a poll returned a record below an acknowledged trim
 *
 * A value is committed if it was acked or polled. If a history has polls of the whole log, each of them is judged by
 * what was committed before it began. If it has none, all its polls together count as one reading, as in Jepsen's
 * definition. Jepsen's precommitted read, cycles and send skips belong to transactions, which this log does not have.
 *
 * The cost is O(n log n) in the number n of records in the history.
 */
import { type AppendOp, type Op, type PollOp, printHistory, type Rules, type TrimOp, type Value } from "./history.ts";
import { type Sending, type Sighting, TopicIndex } from "./topic-index.ts";

export const ANOMALIES = [
  "lost-write",
  "unseen",
  "duplicate",
  "inconsistent-offsets",
  "aborted-read",
  "poll-skip",
  "nonmonotonic-poll",
  "int-poll-skip",
  "int-nonmonotonic-poll",
  "nonmonotonic-send",
  "int-nonmonotonic-send",
  "never-sent",
  "trim-undone",
] as const;
export type Anomaly = (typeof ANOMALIES)[number];

export interface Finding {
  readonly anomaly: Anomaly;
  readonly topic: string;
  readonly message: string;
  /** Only the operations and records that make the anomaly. They show it without the rest of the history. */
  readonly history: readonly Op[];
}

export interface Report {
  readonly findings: readonly Finding[];
  /** Counts every finding. The list keeps only the first few of each kind. */
  readonly counts: Readonly<Partial<Record<Anomaly, number>>>;
}

const KEPT_OF_EACH = 5;

export function check(history: readonly Op[], rules: Rules = {}): Report {
  const findings: Finding[] = [];
  const counts: Partial<Record<Anomaly, number>> = {};
  for (const [topic, ops] of byTopic(history)) {
    const index = new TopicIndex(topic, ops, rules[topic] ?? {});
    const add: Add = (anomaly, message, parts) => {
      const count = (counts[anomaly] = (counts[anomaly] ?? 0) + 1);
      if (count <= KEPT_OF_EACH) findings.push({ anomaly, topic, message, history: excerpt(parts()) });
    };
    for (const look of [places, strangers, sends, insidePolls, undone, missing]) look(index, add);
    betweenPolls(index, ops, add);
  }
  return { findings, counts };
}

/** A finding as text, with the operations that prove it. */
export function printFinding({ anomaly, topic, message, history }: Finding): string {
  return `${anomaly} in ${topic}: ${message}\n${printHistory(history)}`;
}

type Add = (anomaly: Anomaly, message: string, parts: () => readonly Part[]) => void;

function byTopic(history: readonly Op[]): Map<string, Op[]> {
  const topics = new Map<string, Op[]>();
  for (const op of history) {
    for (const topic of op.type === "assign" ? op.topics : [op.topic]) {
      const ops = topics.get(topic);
      if (ops) ops.push(op);
      else topics.set(topic, [op]);
    }
  }
  return topics;
}

// --- the shortest history: operations, and which of their records ----------------------------------------------------

type Part = readonly [op: Op, ...at: number[]];

const part = ({ op, at }: Sighting | Sending): Part => [op, at];

function excerpt(parts: readonly Part[]): Op[] {
  const kept = new Map<Op, Set<number>>();
  for (const [op, ...at] of parts) {
    const before = kept.get(op);
    if (before) for (const each of at) before.add(each);
    else kept.set(op, new Set(at));
  }
  return [...kept].map(([op, at]) => cut(op, (_, i) => at.has(i))).sort((a, b) => a.invoke - b.invoke);
}

function cut(op: Op, keep: (_: unknown, i: number) => boolean): Op {
  if (op.type === "poll") return { ...op, records: op.records.filter(keep) };
  if (op.type !== "append") return op;
  return { ...op, records: op.records.filter(keep), ...(op.offsets && { offsets: op.offsets.filter(keep) }) };
}

// --- the classes -----------------------------------------------------------------------------------------------------

function places(index: TopicIndex, add: Add): void {
  for (const [value, [first, second]] of index.byValue) {
    if (second)
      add("duplicate", `${value} is at ${first!.offset} and at ${second.offset}`, () => [part(first!), part(second)]);
  }
  for (const [offset, [first, second]] of index.byOffset) {
    if (second)
      add("inconsistent-offsets", `offset ${offset} has ${first!.value} and ${second.value}`, () => [
        part(first!),
        part(second),
      ]);
  }
}

function strangers(index: TopicIndex, add: Add): void {
  const told = new Set<Value>();
  for (const poll of index.polls) {
    for (const [at, { value }] of poll.records.entries()) {
      const sending = index.sendings.get(value);
      if ((sending && sending.op.outcome !== "fail") || told.has(value)) continue;
      told.add(value);
      if (sending) add("aborted-read", `${value} was refused, and yet it is there`, () => [part(sending), [poll, at]]);
      else add("never-sent", `nobody sent ${value}`, () => [[poll, at]]);
    }
  }
}

function sends(index: TopicIndex, add: Add): void {
  const last = new Map<string, { readonly op: AppendOp; readonly at: number; readonly offset: number }>();
  for (const op of index.appends) {
    if (op.outcome !== "ok" || !op.offsets) continue;
    let top = 0;
    for (let at = 1; at < op.offsets.length; at++) {
      const above = top;
      if (op.offsets[at]! <= op.offsets[above]!) {
        add("int-nonmonotonic-send", `offset ${op.offsets[at]} follows ${op.offsets[above]}`, () => [[op, above, at]]);
      } else top = at;
    }
    const before = last.get(op.process);
    const low = op.offsets.reduce((lowest, offset, at) => (offset < op.offsets![lowest]! ? at : lowest), 0);
    if (before && op.offsets[low]! <= before.offset) {
      add("nonmonotonic-send", `${op.process} got ${before.offset} first and ${op.offsets[low]} then`, () => [
        [before.op, before.at],
        [op, low],
      ]);
    }
    if (!before || op.offsets[top]! > before.offset) last.set(op.process, { op, at: top, offset: op.offsets[top]! });
  }
}

function insidePolls(index: TopicIndex, add: Add): void {
  for (const poll of index.polls) {
    for (let at = 1; at < poll.records.length; at++) {
      const [before, now] = [poll.records[at - 1]!, poll.records[at]!];
      const pair: Part = [poll, at - 1, at];
      if (now.offset <= before.offset) {
        add("int-nonmonotonic-poll", `${now.offset} was returned behind ${before.offset}`, () => [pair]);
        continue;
      }
      if (now.offset === before.offset + 1) continue;
      const skipped = index.skipped(before.offset, now.offset, poll.complete ?? Infinity);
      if (skipped)
        add("int-poll-skip", `${skipped.value} at ${skipped.offset} was passed over`, () => [
          ...evidence(skipped, index),
          pair,
        ]);
    }
  }
}

function betweenPolls(index: TopicIndex, ops: readonly Op[], add: Add): void {
  const last = new Map<string, PollOp>();
  const inOrder = ops
    .filter((op) => op.type === "assign" || (op.type === "poll" && op.outcome === "ok"))
    .sort((a, b) => a.invoke - b.invoke);
  for (const op of inOrder) {
    if (op.type === "assign") last.delete(op.process);
    if (op.type !== "poll" || op.records.length === 0) continue;
    const poll = last.get(op.process);
    last.set(op.process, op);
    if (!poll) continue;
    const [end, first] = [poll.records.at(-1)!.offset, op.records[0]!.offset];
    const pair: readonly Part[] = [
      [poll, poll.records.length - 1],
      [op, 0],
    ];
    if (first <= end) {
      add("nonmonotonic-poll", `${op.process} was at ${end} and got ${first}`, () => pair);
      continue;
    }
    const skipped = index.skipped(end, first, op.complete ?? Infinity);
    if (skipped)
      add("poll-skip", `${op.process} passed over ${skipped.value} at ${skipped.offset}`, () => [
        ...evidence(skipped, index),
        ...pair,
      ]);
  }
}

/** The operations that prove a record: its append, and a read that returned it at that offset. */
function evidence(sighting: Sighting, index: TopicIndex): Part[] {
  const sent = index.sendings.get(sighting.value);
  return sent ? [part(sent), part(sighting)] : [part(sighting)];
}

function undone(index: TopicIndex, add: Add): void {
  const trims = index.trims
    .filter(({ outcome }) => outcome === "ok")
    .sort((a, b) => (a.complete ?? Infinity) - (b.complete ?? Infinity));
  let next = 0;
  let furthest: TrimOp | undefined;
  for (const poll of index.polls) {
    for (; (trims[next]?.complete ?? Infinity) < poll.invoke; next++)
      if (!furthest || trims[next]!.to > furthest.to) furthest = trims[next]!;
    const trim = furthest;
    const below = trim ? poll.records.findIndex(({ offset }) => offset < trim.to) : -1;
    if (below >= 0)
      add("trim-undone", `${poll.records[below]!.offset} was trimmed away`, () => [[trim!], [poll, below]]);
  }
}

/** Finds values that must be in a reading of the log but are missing. */
function missing(index: TopicIndex, add: Add): void {
  const whole = index.polls.filter(({ wholeLog }) => wholeLog);
  if (whole.length > 0)
    for (const poll of whole) judge(index, new Reading([poll]), poll.invoke, poll.complete ?? Infinity, add);
  else if (index.polls.length > 0) judge(index, new Reading(index.polls), Infinity, Infinity, add);
}

class Reading {
  readonly values = new Set<Value>();
  readonly highest: { readonly poll: PollOp; readonly at: number; readonly offset: number } | undefined;

  constructor(readonly polls: readonly PollOp[]) {
    for (const poll of polls) {
      for (const [at, { value, offset }] of poll.records.entries()) {
        this.values.add(value);
        if (!this.highest || offset > this.highest.offset) this.highest = { poll, at, offset };
      }
    }
  }

  /** The reading, reduced to the record with the highest offset. */
  get shortest(): Part {
    return this.highest ? [this.highest.poll, this.highest.at] : [this.polls[0]!];
  }
}

function judge(index: TopicIndex, reading: Reading, began: number, ended: number, add: Add): void {
  const start = index.startAllowed(ended);
  const shrinks = Object.keys(index.rules).length > 0 || index.trims.length > 0;
  for (const [value, committedAt] of index.committedAt) {
    if (committedAt >= began || reading.values.has(value)) continue;
    const [seen] = index.byValue.get(value) ?? [];
    const sent = index.sendings.get(value);
    // The ack named no offset, so nobody can tell whether trim or retention may have removed the record.
    if (!seen && shrinks) continue;
    if (seen && (seen.offset < start || index.mayBeCompacted(seen, ended))) continue;
    const lost = seen !== undefined && reading.highest !== undefined && reading.highest.offset >= seen.offset;
    const parts = () => [...(seen ? evidence(seen, index) : [part(sent!)]), reading.shortest];
    add(
      lost ? "lost-write" : "unseen",
      `${value}${seen ? ` at ${seen.offset}` : ""} was committed and is not there`,
      parts,
    );
  }
}
