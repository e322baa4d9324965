/**
 * Appends of one topic in a Worker. Calls that wait together share a batch, and one batch is on its way at a time. So
 * the order of calls is the order in the log.
 *
 * A batch may be refused for what one record holds. If the refusal names the record, the batch is sent again without
 * the record's call, and that call alone fails: one more request for each such call. If it names none (the batch as a
 * whole can't be taken), each half of the group is sent: fewer than two requests for each call, where all are bad. The
 * number counts, because the platform limits the requests that one request to a Worker may make.
 *
 *   calls ──▶ one group ──▶ Producer ──▶ a batch ──┬─ ack ──▶ calls resolve ──▶ the next group
 *                ▲                                 ├─ refused for a record: the group without its call
 *                └─────────────────────────────────┴─ refused for its content: each half of the group
 */
import type { ProducerAck, ProducerBatchAck, ProducerRecord } from "../../src/delivery/producer.ts";
import { TidemarkError } from "../../src/errors.ts";
import type { AnyProducer } from "../../src/typed/typed-producer.ts";

/**
 * Calls share a batch up to this size. One batch is on its way at a time, so smaller ones cost a handle more round
 * trips: with 256 KiB, calls of 100 KiB took twice as long (docs/performance.md).
 */
export const GROUP_BYTES = 512 * 1024;
const GROUP_RECORDS_MAX = 10_000;
/** Statuses that speak of what a batch holds, for codes of the edge that the library does not have. */
const ABOUT_CONTENT: ReadonlySet<unknown> = new Set([400, 413, 415, 422]);

type Records = readonly ProducerRecord[];
type Outcomes = readonly PromiseSettledResult<ProducerBatchAck>[];
type Appending = Pick<AnyProducer, "appendBatch">;

interface Call {
  readonly records: Records;
  readonly bytes: number;
  readonly ifEnd: number | undefined;
  readonly resolve: (ack: ProducerBatchAck) => void;
  readonly reject: (thrown: unknown) => void;
}

/** At least 1: a record of no bytes is waited for like any other. */
function sizeOf({ key, value, headers = [] }: ProducerRecord): number {
  const bytes = (key?.length ?? 0) + (value?.length ?? 0);
  return headers.reduce((sum, [name, text]) => sum + name.length + (text?.length ?? 0), bytes) || 1;
}

const isAboutContent = (thrown: unknown): boolean => {
  const { kind, code, details } = TidemarkError.from(thrown);
  return (kind === "fix" && code !== "UNKNOWN_TOPIC") || ABOUT_CONTENT.has(details["status"]);
};

/** The error as if the call had been sent alone: it counts records from the call's first one, `first`. */
function ofCall(error: TidemarkError, { records }: Call, first: number): TidemarkError {
  const { message, details } = error.toWire();
  const record = Number(details["record"]) - first;
  const named = records.length === 1 ? "the record" : `record ${record}`;
  return new TidemarkError(error.code, message.replace(/^record \d+/, named), { ...details, record }, { cause: error });
}

/**
 * The calls whose record a refusal names, with their errors. The records are counted in the batch, whose calls, next to
 * each other, were refused with the same object.
 */
function named(calls: readonly Call[], outcomes: Outcomes): ReadonlyMap<Call, TidemarkError> {
  const found = new Map<Call, TidemarkError>();
  let [refusal, first]: [unknown, number] = [undefined, 0];
  for (const [i, call] of calls.entries()) {
    const outcome = outcomes[i]!;
    const reason: unknown = outcome.status === "rejected" ? outcome.reason : undefined;
    if (reason !== refusal) [refusal, first] = [reason, 0];
    if (!(reason instanceof TidemarkError)) continue;
    const record = reason.details["record"];
    const isNamed = typeof record === "number" && record >= first && record < first + call.records.length;
    if (isNamed) found.set(call, ofCall(reason, call, first));
    first += call.records.length;
  }
  return found;
}

export class CallGroups implements AnyProducer {
  readonly #producer: () => Promise<Appending>;
  readonly #inFlightBytesMax: number;
  readonly #queue: Call[] = [];
  readonly #idle: (() => void)[] = [];
  #bytes = 0;
  #isRunning = false;

  /** Beyond twice `inFlightBytesMax` without an ack an append is BACKPRESSURE. */
  constructor(producer: () => Promise<Appending>, inFlightBytesMax: number) {
    this.#producer = producer;
    this.#inFlightBytesMax = inFlightBytesMax;
  }

  get pendingBytes(): number {
    return this.#bytes;
  }

  async drained(bytes = 1): Promise<void> {
    while (this.#bytes >= bytes) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  async append(record: ProducerRecord, _: "flushed", ifEnd?: number): Promise<ProducerAck> {
    const { offset, timestamp, acks, duplicate } = await this.#add([record], ifEnd);
    return { offset, timestamp, acks, duplicate };
  }

  appendBatch(records: Records, _: "flushed", ifEnd?: number): Promise<ProducerBatchAck> {
    return this.#add(records, ifEnd);
  }

  #add(records: Records, ifEnd: number | undefined): Promise<ProducerBatchAck> {
    return new Promise((resolve, reject) => {
      const bytes = records.reduce((sum, record) => sum + sizeOf(record), 0);
      this.#checkRoom(bytes);
      this.#bytes += bytes;
      this.#queue.push({ records, bytes, ifEnd, resolve, reject });
      if (!this.#isRunning) void this.#run();
    });
  }

  #checkRoom(bytes: number): void {
    const pendingBytes = this.#bytes;
    const inFlightBytesMax = this.#inFlightBytesMax;
    if (pendingBytes === 0 || pendingBytes + bytes <= 2 * inFlightBytesMax) return;
    throw new TidemarkError("BACKPRESSURE", "too many bytes wait for their ack: await appends", {
      pendingBytes,
      inFlightBytesMax,
    });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // Calls of the same turn share the group.
    await Promise.resolve();
    for (let calls = this.#take(); calls.length > 0; calls = this.#take()) await this.#deliver(calls);
    this.#isRunning = false;
  }

  /** The calls of the next group. One with a condition on the log's end is alone. */
  #take(): Call[] {
    const calls: Call[] = [];
    let [bytes, count] = [0, 0];
    for (let [call] = this.#queue; call; [call] = this.#queue) {
      const [first] = calls;
      const isAlone = first?.ifEnd !== undefined || call.ifEnd !== undefined;
      const isFull = bytes + call.bytes > GROUP_BYTES || count + call.records.length > GROUP_RECORDS_MAX;
      if (first && (isAlone || isFull)) break;
      calls.push(this.#queue.shift()!);
      bytes += call.bytes;
      count += call.records.length;
    }
    return calls;
  }

  async #deliver(calls: readonly Call[]): Promise<void> {
    const outcomes = await this.#sent(calls);
    const refusals = named(calls, outcomes);
    const again: Call[] = [];
    for (const [i, outcome] of outcomes.entries()) {
      const call = calls[i]!;
      const refusal = refusals.get(call);
      if (!refusal && outcome.status === "rejected" && calls.length > 1 && isAboutContent(outcome.reason)) {
        again.push(call);
        continue;
      }
      if (outcome.status === "fulfilled") call.resolve(outcome.value);
      else call.reject(refusal ?? outcome.reason);
      this.#bytes -= call.bytes;
    }
    for (const resolve of this.#idle.splice(0)) resolve();
    const half = refusals.size > 0 ? again.length : (again.length + 1) >> 1;
    for (const part of [again.slice(0, half), again.slice(half)]) if (part.length > 0) await this.#deliver(part);
  }

  async #sent(calls: readonly Call[]): Promise<Outcomes> {
    try {
      const producer = await this.#producer();
      return await Promise.allSettled(
        calls.map(({ records, ifEnd }) => producer.appendBatch(records, "flushed", ifEnd)),
      );
    } catch (reason) {
      return calls.map(() => ({ status: "rejected", reason }));
    }
  }
}
