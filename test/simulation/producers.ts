/**
 * The producers of one log, which behave like a careful client: at most five unacknowledged batches; each batch is kept
 * until it is safe and re-sent with its sequence after a crash; a producer that gives up begins a new epoch.
 */
import type { Log } from "../../src/log/log.ts";
import type { LogAppendOptions } from "../../src/log/types.ts";
import type { Counters } from "./counters.ts";
import type { Life } from "./life.ts";
import { describe, type LogModel, Violation } from "./model.ts";
import type { SentBatch } from "./records.ts";
import type { Trace } from "./trace.ts";

/** The log remembers this many batches per producer. Kafka's clients have the same bound. */
export const INFLIGHT_MAX = 5;

export class Producer {
  readonly id: number;
  epoch = 0;
  nextSequence = 0;
  /** Batches of this epoch in the order of their sequences. */
  batches: SentBatch[] = [];
  /** A batch was refused, so those behind it will be too. The producer waits for them and continues from the first. */
  refusedAt: number | undefined;
  /** True when the log has forgotten this producer: its next batch begins a new epoch. */
  forgotten = false;
  underWay = 0;

  constructor(id: number) {
    this.id = id;
  }

  get anonymous(): boolean {
    return this.id < 0;
  }

  /** Batches from the oldest unacknowledged one on. The log must still know all of them. */
  get open(): number {
    const oldest = this.batches.findIndex((batch) => batch.state === "sent");
    return oldest < 0 ? 0 : this.batches.length - oldest;
  }

  add(batch: SentBatch): void {
    this.batches.push(batch);
    if (!this.anonymous) this.nextSequence += batch.records.length;
  }

  newEpoch(): void {
    for (const batch of this.batches) if (batch.state === "sent") batch.state = "abandoned";
    this.batches = [];
    this.epoch++;
    this.nextSequence = 0;
    this.refusedAt = undefined;
    this.forgotten = false;
  }

  /** Called when everything was answered: sequences of refused batches are used again. */
  restart(): void {
    const refused = this.batches.filter((batch) => batch.state === "refused");
    if (this.underWay > 0) return;
    if (this.forgotten) return this.newEpoch();
    if (refused.length === 0) return;
    if (!this.anonymous) this.nextSequence = Math.min(...refused.map((batch) => batch.baseSequence));
    // Batches behind a refused one that were only accepted are gone with it.
    this.batches = this.batches.filter(
      (batch) => batch.state !== "refused" && (this.anonymous || batch.baseSequence < this.nextSequence),
    );
    this.refusedAt = undefined;
  }
}

/** Errors that mean: the batch is not in the log. */
export const REFUSALS: readonly string[] = [
  "INVALID_BATCH",
  "BATCH_TOO_LARGE",
  "RECORD_TOO_LARGE",
  "OUT_OF_ORDER_SEQUENCE",
  "SEQUENCE_CONFLICT",
  "FENCED_PRODUCER",
  "OFFSET_CONFLICT",
  "BACKPRESSURE",
  "LIMIT_EXCEEDED",
];

export interface Sending {
  readonly life: Life;
  readonly log: Log;
  readonly model: LogModel;
  readonly producer: Producer;
  readonly batch: SentBatch;
  readonly options: LogAppendOptions;
  readonly counters: Counters;
  readonly trace: Trace;
  /** Returns the codes that are honest answers to this append, given all that happened until the answer came. */
  readonly allowed: () => readonly string[];
  /** True on the first try of this batch: a refusal then means that the log does not hold it. */
  readonly first: boolean;
  /** Must the log recognise the batch as a duplicate? Undefined: it may. */
  readonly expectDuplicate: boolean | undefined;
}

/** Appends one batch and judges the answer. */
export async function send(sending: Sending): Promise<void> {
  const { life, log, model, producer, batch, options, counters, trace } = sending;
  const asked = options.acks ?? "flushed";
  batch.underWay++;
  producer.underWay++;
  try {
    const resent = sending.first ? {} : { resentSince: batch.since ?? 0 };
    batch.since ??= log.highWatermark;
    const result = await log.append(batch.bytes.slice(), {
      ...options,
      ...(!producer.anonymous && { fromZero: true, ...resent }),
    });
    if (life.dead) return;
    trace.add("ack", result.baseOffset, result.duplicate ? 1 : 0);
    counters.add(result.duplicate ? "ack.duplicate" : `ack.${asked}`);
    if (options.ifEnd !== undefined && !result.duplicate && result.baseOffset !== options.ifEnd) {
      throw new Violation("if-end", `asked for ${options.ifEnd}, got ${result.baseOffset}`);
    }
    if (
      !producer.anonymous &&
      producer.refusedAt !== undefined &&
      batch.epoch === producer.epoch &&
      batch.baseSequence > producer.refusedAt
    ) {
      throw new Violation("gap-accepted", `${describe(batch)} although sequence ${producer.refusedAt} was refused`);
    }
    if (sending.expectDuplicate !== undefined && result.duplicate !== sending.expectDuplicate) {
      throw new Violation("deduplication", `${describe(batch)} at ${result.baseOffset}: duplicate ${result.duplicate}`);
    }
    model.acked(batch, result, asked);
  } catch (error) {
    if (life.dead) return;
    const { code, details } = life.judge(`append of ${describe(batch)}`, error, sending.allowed());
    trace.add(code);
    counters.add(`append.${code}`);
    // `earlier`: the store had failed before, in another log's work, and did nothing for this batch.
    if (details["unknownProducer"] === true) {
      counters.add(details["forgotten"] === undefined ? "unknown" : "forgotten");
      producer.forgotten = true;
      // The outcome is unknown, and the batch will never be sent again.
      if (details["forgotten"] !== undefined && batch.state === "sent") batch.state = "abandoned";
    }
    const refused =
      REFUSALS.includes(code) ||
      (details["earlier"] === true && code !== "OUTCOME_UNKNOWN") ||
      (code === "QUOTA_EXCEEDED" && details["poisoned"] !== true && !life.broken);
    if (refused && sending.first && batch.state === "sent" && batch.underWay === 1) {
      batch.state = "refused";
      if (!producer.anonymous) producer.refusedAt = Math.min(producer.refusedAt ?? Infinity, batch.baseSequence);
    }
  } finally {
    batch.underWay--;
    producer.underWay--;
  }
}

/** Codes that the log may answer when an earlier batch of the producer was refused, or when a limit was reached. */
export function honestRefusals(
  life: Life,
  producer: Producer,
  model: LogModel,
  others = producer.underWay > 0,
): string[] {
  const codes: string[] = life.volume.slotsRefused ? ["QUOTA_EXCEEDED", "OUT_OF_ORDER_SEQUENCE"] : [];
  // A failed store drops batches that were only accepted.
  if (producer.refusedAt !== undefined || others || life.volume.failed) codes.push("OUT_OF_ORDER_SEQUENCE");
  if (model.plan.producersMax < model.plan.producers) codes.push("OUT_OF_ORDER_SEQUENCE");
  if (model.rotted && (model.start > 0 || model.plan.compaction)) codes.push("OUT_OF_ORDER_SEQUENCE");
  if (model.plan.queueAppendsMax < 100) codes.push("BACKPRESSURE");
  return codes;
}
