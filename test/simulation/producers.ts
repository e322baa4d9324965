/**
 * The producers of one log, as a careful client would be: at most five batches not acknowledged, every batch kept until
 * it is safe, re-sent with the same sequence after a crash, a new epoch when it gives up.
 */
import type { Log } from "../../src/log/log.ts";
import type { AppendOptions } from "../../src/log/types.ts";
import type { Counters } from "./counters.ts";
import type { Life } from "./life.ts";
import { describe, type LogModel, Violation } from "./model.ts";
import type { SentBatch } from "./records.ts";
import type { Trace } from "./trace.ts";

/** As many as the log remembers per producer; Kafka's clients have the same bound. */
export const INFLIGHT_MAX = 5;

export class Producer {
  readonly id: number;
  epoch = 0;
  nextSequence = 0;
  /** Batches of this epoch in the order of their sequences. */
  batches: SentBatch[] = [];
  /** A batch was refused: those behind it will be, too; wait for them and go on from the first. */
  refusedAt: number | undefined;
  /** The log does not know this producer any more: what comes next begins a new epoch. */
  forgotten = false;
  underWay = 0;

  constructor(id: number) {
    this.id = id;
  }

  get anonymous(): boolean {
    return this.id < 0;
  }

  /** Not acknowledged, counted from the oldest such batch on: the log must still know all behind it. */
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

  /** After everything was answered: sequences of refused batches are given anew. */
  restart(): void {
    const refused = this.batches.filter((batch) => batch.state === "refused");
    if (this.underWay > 0) return;
    if (this.forgotten) return this.newEpoch();
    if (refused.length === 0) return;
    if (!this.anonymous) this.nextSequence = Math.min(...refused.map((batch) => batch.baseSequence));
    // What stood behind a refused batch, if only accepted, has gone with it.
    this.batches = this.batches.filter(
      (batch) => batch.state !== "refused" && (this.anonymous || batch.baseSequence < this.nextSequence),
    );
    this.refusedAt = undefined;
  }
}

/** Errors that say the batch is not in the log. */
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
  readonly options: AppendOptions;
  readonly counters: Counters;
  readonly trace: Trace;
  /** Codes that are an honest answer to this very append, by what has happened when it comes. */
  readonly allowed: () => readonly string[];
  /** The first try of this batch: a refusal then says that it is nowhere. */
  readonly first: boolean;
  /** Whether the log must recognise the batch; undefined: it may. */
  readonly expectDuplicate: boolean | undefined;
}

/** One append, to its answer. */
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
    // `earlier`: the store had failed before, by another log's work, and did nothing for this batch.
    if (details["unknownProducer"] === true) {
      counters.add(details["forgotten"] === undefined ? "unknown" : "forgotten");
      producer.forgotten = true;
      // It may be there or not, and nobody will ever send it again.
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

/** What may be answered when an earlier batch of the same producer was refused, or a limit was met. */
export function honestRefusals(
  life: Life,
  producer: Producer,
  model: LogModel,
  others = producer.underWay > 0,
): string[] {
  const codes: string[] = life.volume.slotsRefused ? ["QUOTA_EXCEEDED", "OUT_OF_ORDER_SEQUENCE"] : [];
  // A store that failed takes back what was only accepted.
  if (producer.refusedAt !== undefined || others || life.volume.failed) codes.push("OUT_OF_ORDER_SEQUENCE");
  if (model.plan.producersMax < model.plan.producers) codes.push("OUT_OF_ORDER_SEQUENCE");
  if (model.rotted && (model.start > 0 || model.plan.compaction)) codes.push("OUT_OF_ORDER_SEQUENCE");
  if (model.plan.queueAppendsMax < 100) codes.push("BACKPRESSURE");
  return codes;
}
