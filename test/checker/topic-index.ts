/**
 * All that a history says about one topic, indexed for the checker's questions: which operations put a value at an
 * offset, how each value was sent, and whether a missing record may rightly be gone.
 */
import type { AppendOp, Op, PollOp, Sent, TopicRules, TrimOp, Value } from "./history.ts";

/** An ack or a poll that says: this value was at this offset. */
export interface Sighting {
  readonly offset: number;
  readonly value: Value;
  readonly op: AppendOp | PollOp;
  /** Index of the record in the operation. */
  readonly at: number;
}

export interface Sending {
  readonly op: AppendOp;
  readonly at: number;
  readonly record: Sent;
}

interface Version {
  readonly offset: number;
  /** When the first append of this key at this offset or a higher one began. */
  invoke: number;
}

export class TopicIndex {
  readonly appends: AppendOp[] = [];
  readonly polls: PollOp[] = [];
  readonly trims: TrimOp[] = [];
  /** How each value was sent, by value. */
  readonly sendings = new Map<Value, Sending>();
  /** By value, one sighting for each offset at which it was seen. */
  readonly byValue = new Map<Value, Sighting[]>();
  /** By offset, one sighting for each value that was seen there. */
  readonly byOffset = new Map<number, Sighting[]>();
  /** When a value was first known to be committed, that is, acked or polled. */
  readonly committedAt = new Map<Value, number>();
  /** The offsets of `byOffset`, in rising order. */
  readonly offsets: number[];
  readonly #versions = new Map<string, Version[]>();
  /** By key, when an append of a tombstone with unknown outcome was invoked. */
  readonly #unknownTombstones = new Map<string, number>();
  readonly #ends: { readonly invoke: number; readonly end: number }[] = [];

  constructor(
    readonly topic: string,
    ops: readonly Op[],
    readonly rules: TopicRules,
  ) {
    for (const op of ops) {
      if (op.type === "append") this.#addAppend(op);
      else if (op.type === "trim") this.trims.push(op);
      else if (op.type === "poll" && op.outcome === "ok") this.#addPoll(op);
    }
    this.offsets = [...this.byOffset.keys()].sort((a, b) => a - b);
    this.appends.sort((a, b) => a.invoke - b.invoke);
    this.polls.sort((a, b) => a.invoke - b.invoke);
    if (rules.compacted) this.#indexKeys();
    if (rules.retainRecords !== undefined) this.#indexEnds();
  }

  #addAppend(op: AppendOp): void {
    this.appends.push(op);
    op.records.forEach((record, at) => {
      if (this.sendings.has(record.value))
        throw new Error(`${record.value} was sent twice: values must be unique in ${this.topic}`);
      this.sendings.set(record.value, { op, at, record });
      if (op.outcome !== "ok") return;
      this.#commit(record.value, op.complete ?? Infinity);
      const offset = op.offsets?.[at];
      if (offset !== undefined) this.#see({ offset, value: record.value, op, at });
    });
  }

  #addPoll(op: PollOp): void {
    this.polls.push(op);
    op.records.forEach(({ offset, value }, at) => {
      this.#commit(value, op.complete ?? Infinity);
      this.#see({ offset, value, op, at });
    });
  }

  #commit(value: Value, at: number): void {
    const known = this.committedAt.get(value);
    if (known === undefined || at < known) this.committedAt.set(value, at);
  }

  #see(sighting: Sighting): void {
    const { offset, value } = sighting;
    const there = this.byOffset.get(offset);
    if (!there) this.byOffset.set(offset, [sighting]);
    else if (there.every((each) => each.value !== value)) there.push(sighting);
    const seen = this.byValue.get(value);
    if (!seen) this.byValue.set(value, [sighting]);
    else if (seen.every((each) => each.offset !== offset)) seen.push(sighting);
  }

  #indexKeys(): void {
    for (const { op, record } of this.sendings.values()) {
      const { key, value, tombstone } = record;
      if (key === undefined || op.outcome === "fail") continue;
      const seen = this.byValue.get(value);
      if (seen) {
        const versions = this.#versions.get(key) ?? [];
        if (versions.length === 0) this.#versions.set(key, versions);
        for (const { offset } of seen) versions.push({ offset, invoke: op.invoke });
      } else if (tombstone && this.rules.tombstonesExpire) {
        this.#unknownTombstones.set(key, Math.min(op.invoke, this.#unknownTombstones.get(key) ?? Infinity));
      }
    }
    for (const versions of this.#versions.values()) {
      versions.sort((a, b) => b.offset - a.offset);
      let earliest = Infinity;
      for (const version of versions) version.invoke = earliest = Math.min(earliest, version.invoke);
      versions.reverse();
    }
  }

  #indexEnds(): void {
    let end = 0;
    for (const op of this.appends) {
      for (const { value } of op.records)
        for (const { offset } of this.byValue.get(value) ?? []) end = Math.max(end, offset + 1);
      this.#ends.push({ invoke: op.invoke, end });
    }
  }

  /** True if compaction may have removed this record before `time`. */
  mayBeCompacted({ offset, value }: { readonly offset: number; readonly value: Value }, time: number): boolean {
    const record = this.sendings.get(value)?.record;
    if (!this.rules.compacted || record?.key === undefined) return false;
    if (record.tombstone && this.rules.tombstonesExpire) return true;
    const versions = this.#versions.get(record.key) ?? [];
    const newer = versions[firstWhere(versions.length, (i) => versions[i]!.offset > offset)];
    return (newer?.invoke ?? Infinity) < time || (this.#unknownTombstones.get(record.key) ?? Infinity) < time;
  }

  /** The highest log start that trims and retention can have set before `time`. */
  startAllowed(time: number): number {
    let start = 0;
    for (const trim of this.trims) if (trim.outcome !== "fail" && trim.invoke < time) start = Math.max(start, trim.to);
    if (this.rules.retainRecords === undefined) return start;
    const before = this.#ends[firstWhere(this.#ends.length, (i) => this.#ends[i]!.invoke >= time) - 1];
    return Math.max(start, (before?.end ?? 0) - this.rules.retainRecords);
  }

  /** A record that is known to be strictly between two offsets and that a reader may not pass over. */
  skipped(after: number, before: number, time: number): Sighting | undefined {
    for (let i = firstWhere(this.offsets.length, (at) => this.offsets[at]! > after); this.offsets[i]! < before; i++) {
      const found = this.byOffset.get(this.offsets[i]!)!.find((sighting) => !this.mayBeCompacted(sighting, time));
      if (found) return found;
    }
    return undefined;
  }
}

/**
 * The first index for which `is` holds; `length` if there is none. From the first such index on, it must hold for all.
 */
function firstWhere(length: number, is: (index: number) => boolean): number {
  let low = 0;
  let high = length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (is(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
