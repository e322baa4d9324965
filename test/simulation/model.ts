/**
 * The model of one log: which records were sent, acknowledged (at which level) and seen. It never asks the log.
 *
 *   start                      written                              end
 *     ▼          firm ▼           ▼                                  ▼
 *   ──┬───────────────┬───────────┬──────────────────────────────────┬──→ offsets
 *     │ survives a    │ survives  │ accepted: may vanish, from the   │
 *     │ power cut     │ a kill    │ end backwards, at any crash      │
 *
 *   firm     above every `flushed` ack and every high watermark that was ever seen
 *   written  above every `written` ack
 *   marked   an earlier high watermark: a durable mark on disk holds it, so even rot may not cut the log below it
 *
 * Checked at every observation: an offset keeps its content, a record has one offset, and each record was sent and not
 * refused. check.ts checks the whole log after each open.
 */
import type { Acks, AppendResult } from "../../src/log/types.ts";
import type { SegmentInfo } from "../../src/store/log-store.ts";
import type { LogPlan } from "./plan.ts";
import type { Rec, SentBatch } from "./records.ts";

/** A broken promise. `check` names its kind with a stable word: shrinking keeps to failures of one kind. */
export class Violation extends Error {
  readonly check: string;

  constructor(check: string, message: string, options?: ErrorOptions) {
    super(`${check}: ${message}`, options);
    this.check = check;
  }
}

const RANK: Readonly<Record<Acks, number>> = { accepted: 0, written: 1, flushed: 2 };

export interface GapRange {
  readonly from: number;
  readonly to: number;
}

export class LogModel {
  readonly plan: LogPlan;
  /** Every record ever sent, by its id. */
  readonly sent = new Map<string, Rec>();
  /** The record known at each offset, also of offsets that trimming or compaction has removed. */
  readonly at = new Map<number, Rec>();
  readonly where = new Map<Rec, number>();
  readonly batches: SentBatch[] = [];
  start = 0;
  /** Highest offset to which a trim was requested. */
  trimMax = 0;
  firm = 0;
  written = 0;
  marked = 0;
  hw = 0;
  /** Largest log end ever seen. Retention counts records that a crash may take away later. */
  endMax = 0;
  /** The last high watermarks before `hw`, oldest first. */
  #watermarks = [0, 0];
  /** Ranges that rot destroyed: reading them is a typed error for good. */
  lost: GapRange[] = [];
  /** Times at which a cleaning may have read the clock. */
  readonly cleanings: number[] = [];
  clockWentBack = false;
  /** True once rot struck. The producers' snapshot has one copy, the only source after trimming or compaction. */
  rotted = false;
  /** True once a slot was refused in this life: batches that are only `accepted` may still be refused. */
  mayRefuseLate = false;
  /** Offsets whose record was seen below the high watermark: that record never changes. */
  readonly #seenCommitted = new Set<number>();

  constructor(plan: LogPlan) {
    this.plan = plan;
  }

  send(batch: SentBatch): void {
    this.batches.push(batch);
    for (const record of batch.records) this.sent.set(record.id, record);
  }

  // --- what happens ------------------------------------------------------------------------------------------------

  /** Checks the log's own numbers between two volume operations. */
  seeWatermark(hw: number, end: number, start: number): void {
    if (hw < this.hw) throw new Violation("watermark-fell", `${this.hw} → ${hw}`);
    if (hw > end) throw new Violation("watermark-above-end", `${hw} > ${end}`);
    if (start > hw) throw new Violation("start-above-watermark", `${start} > ${hw}`);
    if (hw > this.hw) {
      // A mark may be one small batch behind: it is written again each time a share of the slot has been filled.
      this.marked = Math.max(this.marked, this.#watermarks[0]!);
      this.#watermarks = [...this.#watermarks.slice(1), this.hw];
      this.hw = hw;
      this.firm = Math.max(this.firm, hw);
    }
    this.endMax = Math.max(this.endMax, end);
  }

  acked(batch: SentBatch, result: AppendResult, asked: Acks): void {
    const { baseOffset, lastOffset } = result;
    if (batch.state === "refused") throw new Violation("refused-then-acked", describe(batch));
    if (lastOffset !== baseOffset + batch.records.length - 1)
      throw new Violation("ack-range", `${baseOffset}…${lastOffset} for ${describe(batch)}`);
    if (RANK[result.acks] < RANK[asked]) throw new Violation("ack-level", `${result.acks} for ${asked}`);
    if (batch.state === "acked" && batch.offset !== baseOffset) {
      throw new Violation("ack-moved", `${describe(batch)} was ${batch.offset}, now ${baseOffset}`);
    }
    batch.state = "acked";
    batch.offset = baseOffset;
    if (batch.level === undefined || RANK[asked] > RANK[batch.level]) batch.level = asked;
    for (const record of batch.records) this.place(baseOffset + record.at, record);
    if (asked === "written") this.written = Math.max(this.written, lastOffset + 1);
    if (asked === "flushed") this.firm = Math.max(this.firm, lastOffset + 1);
  }

  /** Notes that an ack or a read showed `record` at `offset`. */
  place(offset: number, record: Rec): void {
    const known = this.at.get(offset);
    // A read of provisional records may have shown a batch with no ack beyond `accepted` before its slot was refused.
    const isLoose =
      known && (known.batch.level === "accepted" || (known.batch.state === "sent" && !this.#seenCommitted.has(offset)));
    if (known && known !== record && this.mayRefuseLate && isLoose) this.refuseLate(known.batch);
    else if (known && known !== record)
      throw new Violation("offset-changed", `${offset} was ${known.id}, now ${record.id}`);
    const before = this.where.get(record);
    if (before !== undefined && before !== offset)
      throw new Violation("duplicate", `${record.id} at ${before} and at ${offset}`);
    if (record.batch.state === "refused") throw new Violation("refused-appeared", `${record.id} at ${offset}`);
    if (record.batch.state === "acked" && record.batch.offset + record.at !== offset) {
      throw new Violation("ack-moved", `${record.id} acked at ${record.batch.offset + record.at}, is at ${offset}`);
    }
    this.at.set(offset, record);
    this.where.set(record, offset);
    if (offset < this.hw) this.#seenCommitted.add(offset);
  }

  /**
   * The log had no slot for this `accepted` batch and went on without it, as it may. Its offsets are used again.
   */
  refuseLate(batch: SentBatch): void {
    // A batch without an answer is sent again and gets its place then.
    if (batch.state === "acked") batch.state = "refused";
    for (const record of batch.records) {
      const offset = this.where.get(record);
      this.where.delete(record);
      if (offset !== undefined && this.at.get(offset) === record) this.at.delete(offset);
    }
  }

  /** The quiet log ends at `end`: batches that were accepted behind it have been refused since. */
  refuseBehind(end: number): void {
    if (!this.mayRefuseLate) return;
    for (const batch of this.batches) {
      if (batch.state === "acked" && batch.level === "accepted" && batch.offset >= end) this.refuseLate(batch);
    }
  }

  /** Called before a trim is requested: from now on the log may start at `offset`. */
  trimming(offset: number): void {
    this.trimMax = Math.max(this.trimMax, offset);
  }
  trimmed(offset: number): void {
    this.start = Math.max(this.start, offset);
  }

  /**
   * Notes since when the segments with tombstones are sealed. Called before time moves and before a cleaning. While
   * operations are under way, a roll may have read the clock although its segment still counts as active.
   */
  seeSegments(segments: readonly SegmentInfo[], now: number, quiet: boolean): void {
    if (!this.plan.compaction) return;
    for (const segment of segments) {
      for (let offset = segment.baseOffset; offset < segment.nextOffset; offset++) {
        const record = this.at.get(offset);
        if (record?.value !== null) continue;
        if (segment.sealedAt !== undefined) record.sealedAt = Math.min(record.sealedAt ?? Infinity, segment.sealedAt);
        else if (quiet) record.unsealedAt = now;
      }
    }
  }

  /** The clock was set back: a segment may from now on be sealed at an earlier time than its records were sent. */
  wentBack(now: number): void {
    this.clockWentBack = true;
    for (const record of this.sent.values()) record.unsealedAt = Math.min(record.unsealedAt, now);
  }

  cleaning(now: number): void {
    this.cleanings.push(now);
    const keep = this.plan.compaction?.tombstoneRetentionMs;
    if (keep === undefined) return;
    for (const record of this.sent.values()) {
      if (record.value === null && now - (record.sealedAt ?? record.unsealedAt) >= keep) record.mayDrop = true;
    }
  }

  // --- crashes -----------------------------------------------------------------------------------------------------

  /** Records below this offset must be there after a crash of this kind. */
  floor(kind: "power" | "kill"): number {
    return kind === "power" ? this.firm : Math.max(this.firm, this.written);
  }

  /** The opened log ends at `end`: records behind it are gone and may be sent again. */
  cutAt(end: number): void {
    for (const [offset, record] of this.at) {
      if (offset < end) continue;
      this.at.delete(offset);
      this.where.delete(record);
      const { batch } = record;
      if (batch.state === "acked") Object.assign(batch, { state: "sent", offset: -1, level: undefined });
    }
    this.written = Math.min(this.written, end);
    this.firm = Math.min(this.firm, end);
    this.marked = Math.min(this.marked, end);
    this.hw = Math.min(this.hw, end);
    this.#watermarks = this.#watermarks.map((mark) => Math.min(mark, end));
  }

  isLost(offset: number): boolean {
    return this.lost.some(({ from, to }) => offset >= from && offset < to);
  }
}

export function describe(batch: SentBatch): string {
  return (
    `producer ${batch.producerId}/${batch.epoch} sequence ${batch.baseSequence}+${batch.records.length} ` +
    `(${batch.records[0]!.id}…)`
  );
}
