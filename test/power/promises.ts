/**
 * The promises that hold at one point of a trace, computed from the trace alone.
 *
 *   sent     every batch that the log gave offsets to: no other bytes may ever be read at those offsets
 *   firm     batches that must be there: those acked as `flushed`, and those that compaction relied on. When only the
 *            process died, also those acked as `written`
 */
import type { Kernel } from "../../src/kernel/types.ts";
import { readHeader } from "../../src/record/format.ts";
import { decodeBatch } from "../../src/record/record-batch.ts";
import type { Trace } from "./trace.ts";

const EPOCH_AT = 12;

export interface SentRecord {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: string | null;
  /** Value and headers as one text. */
  readonly content: string;
}

export interface SentBatch {
  readonly baseOffset: number;
  readonly nextOffset: number;
  /** As sent: the store changes the leader epoch afterwards. */
  readonly bytes: Uint8Array;
  records: readonly SentRecord[] | undefined;
}

export interface LogPromise {
  readonly name: string;
  readonly compacted: boolean;
  readonly sent: Map<number, SentBatch[]>;
  readonly firm: Set<SentBatch>;
  /** The log's end when it was last opened. Readers may have read up to it. */
  seenEnd: number;
  /**
   * The log's start is at least `trimmed`, the last trim that was answered, and at most `trimAsked`, what was asked
   * for.
   */
  trimmed: number;
  trimAsked: number;
  readonly replaced: { readonly from: number; readonly to: number }[];
}

/** True when two batches differ at most in their leader epoch. */
export const sameBatch = (a: Uint8Array, b: Uint8Array): boolean =>
  a.length === b.length &&
  Buffer.compare(a.subarray(0, EPOCH_AT), b.subarray(0, EPOCH_AT)) === 0 &&
  Buffer.compare(a.subarray(EPOCH_AT + 4), b.subarray(EPOCH_AT + 4)) === 0;

const latin = (bytes: Uint8Array | null): string | null =>
  bytes === null ? null : Buffer.from(bytes).toString("latin1");

export async function recordsOf(kernel: Kernel, bytes: Uint8Array): Promise<SentRecord[]> {
  const batch = await decodeBatch(kernel, bytes);
  return Array.from({ length: batch.count }, (_, i) => ({
    offset: batch.offsetAt(i),
    timestamp: batch.timestampAt(i),
    key: latin(batch.keyAt(i)),
    content: JSON.stringify([latin(batch.valueAt(i)), batch.headersAt(i).map(([name, value]) => [name, latin(value)])]),
  }));
}

const newPromise = (name: string, compacted: boolean): LogPromise => ({
  name,
  compacted,
  sent: new Map(),
  firm: new Set(),
  seenEnd: 0,
  trimmed: 0,
  trimAsked: 0,
  replaced: [],
});

/** Computes promises from a trace whose batches are parsed once. */
export class Promises {
  readonly #trace: Trace;
  readonly #batches = new Map<number, SentBatch>();
  #last: { readonly point: number; readonly ending: string; readonly logs: Map<string, LogPromise> } | undefined;

  constructor(trace: Trace) {
    this.#trace = trace;
    for (const [at, event] of trace.events.entries()) {
      if (event.kind !== "sent") continue;
      const { baseOffset, lastOffsetDelta } = readHeader(event.data);
      this.#batches.set(at, {
        baseOffset,
        nextOffset: baseOffset + lastOffsetDelta + 1,
        bytes: event.data,
        records: undefined,
      });
    }
  }

  at(point: number, ending: "power" | "kill"): Map<string, LogPromise> {
    if (this.#last?.point === point && this.#last.ending === ending) return this.#last.logs;
    const logs = new Map<string, LogPromise>();
    this.#last = { point, ending, logs };
    const { events, compacted } = this.#trace;
    let byId = new Map<number, SentBatch>();
    for (let at = 0; at < point; at++) {
      const event = events[at]!;
      if (event.kind === "life") byId = new Map();
      if (!("log" in event)) continue;
      const log = logs.get(event.log) ?? newPromise(event.log, compacted.includes(event.log));
      logs.set(event.log, log);
      if (event.kind === "sent") {
        const batch = this.#batches.get(at)!;
        byId.set(event.id, batch);
        const others = log.sent.get(batch.baseOffset);
        if (others) others.push(batch);
        else log.sent.set(batch.baseOffset, [batch]);
      } else if (event.kind === "refused") {
        const batch = byId.get(event.id)!;
        log.sent.set(
          batch.baseOffset,
          log.sent.get(batch.baseOffset)!.filter((each) => each !== batch),
        );
      } else if (event.kind === "ack") {
        if (event.acks === "flushed" || (event.acks === "written" && ending === "kill"))
          log.firm.add(byId.get(event.id)!);
      } else if (event.kind === "opened") log.seenEnd = event.end;
      else if (event.kind === "trim") log.trimAsked = Math.max(log.trimAsked, event.offset);
      else if (event.kind === "trimmed") log.trimmed = Math.max(log.trimmed, event.offset);
      else if (event.kind === "replace") {
        log.replaced.push(event);
        for (const batches of log.sent.values())
          if (batches.at(-1) && batches.at(-1)!.nextOffset <= event.flushed) log.firm.add(batches.at(-1)!);
      }
    }
    return logs;
  }
}
