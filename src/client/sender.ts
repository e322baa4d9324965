/**
 * Appends of one topic, each in the log once. Calls wait in a queue, and those that wait together share a batch. One
 * batch is on its way at a time: so a batch that is sent again needs no renumbering of others, and the order of calls
 * is the order in the log.
 *
 *   add ──▶ queue ──▶ one batch: producer id, epoch, sequence ──▶ post ──┬─ ack ──▶ calls resolve
 *                         ▲                                              ├─ refused ──▶ its call rejects; of several
 *                         │                                              │    calls each half is sent by itself
 *                         └── the same bytes again, with `since` ────────┴─ unknown, or too busy
 *
 * The edge answers a batch that it has already with its first offsets. `since` is an end that the log had before the
 * batch was first sent: an edge that has forgotten this producer since then refuses it, and the call is OUTCOME_UNKNOWN
 * (docs/decisions/0012-forgotten-is-not-unknown.md). A batch that is given up while its outcome is unknown ends this
 * producer's epoch: the next one begins at sequence 0, and whatever of the old one still arrives is fenced.
 */
import { TidemarkError } from "../errors.ts";
import type { ProducerRecord } from "../delivery/producer.ts";
import type { RecordOwner } from "../record/record-id.ts";
import { encodeBatch, sizeOf } from "./encode-batch.ts";
import { mayPass } from "./requests.ts";

/** A broker's limit, and the edge's: a whole batch with its header. */
const BATCH_BYTES_MAX = 1_048_588;
/** Calls share a batch up to this size, or this many records. */
const SHARED_BYTES = 256 * 1024;
const SHARED_RECORDS = 10_000;
/** Timestamps of one batch differ by less, so that their differences have an exact number. */
const SPREAD_MS_MAX = 2 ** 50;
const SEQUENCES = 2 ** 31;
const EPOCH_MAX = 0x7fff;
/** Statuses that speak of what the batch holds, so that another call's records may be good. */
const ABOUT_CONTENT: ReadonlySet<unknown> = new Set([400, 413, 415, 422]);

export interface Posted {
  readonly baseOffset: number;
  readonly lastOffset: number;
  readonly duplicate: boolean;
}

export interface SenderHost {
  readonly timeoutMs: number;
  readonly inFlightBytesMax: number;
  /**
   * Makes sure that the topic exists, unless `ifEnd` needs one with records. Gives an offset at which its log ended
   * then, or above which. `isMissing`: an append was just told that there is no such topic.
   */
  begin(signal: AbortSignal, isMissing: boolean, ifEnd: number | undefined): Promise<number>;
  /** `since`: of a batch that was sent before. */
  post(
    batch: Uint8Array<ArrayBuffer>,
    asked: { readonly ifEnd: number | undefined; readonly since: number | undefined },
    signal: AbortSignal,
  ): Promise<Posted>;
  pause(error: TidemarkError, failures: number, signal: AbortSignal): Promise<void>;
  newId(): number;
}

/** Where a call's records are: `at` counts from the batch's beginning. */
export interface Placed extends Posted {
  readonly owner: RecordOwner;
  readonly at: number;
}

interface Call {
  readonly records: readonly ProducerRecord[];
  readonly bytes: number;
  readonly ifEnd: number | undefined;
  readonly deadline: number;
  /** The batch that it is in; undefined while it waits. */
  batch: Underway | undefined;
  readonly settle: (how: { readonly placed: Placed } | { readonly thrown: unknown }) => void;
}

/** A batch on its way. It is given up once none of its calls waits any more. */
class Underway {
  readonly over = new AbortController();
  /** Set once it may have reached the edge, and no answer has said what became of it. */
  unknown: TidemarkError | undefined;
  wasSent = false;
  last: TidemarkError | undefined;
  left: number;
  constructor(readonly calls: readonly Call[]) {
    this.left = calls.length;
  }
}

export class Sender {
  readonly #host: SenderHost;
  readonly #queue: Call[] = [];
  /** Calls that wait, in the order in which their time ends. */
  readonly #open = new Set<Call>();
  #pendingBytes = 0;
  #isRunning = false;
  /** Set once nothing is sent any more. */
  #over: TidemarkError | undefined;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #idle: (() => void)[] = [];
  #owner: RecordOwner;
  /** An offset at which the log ended at some time. Undefined until the topic is known to exist. */
  #end: number | undefined;

  constructor(host: SenderHost) {
    this.#host = host;
    this.#owner = { producerId: host.newId(), producerEpoch: 0, baseSequence: 0 };
  }

  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** Resolves when fewer than `bytes` are without an ack. */
  async drained(bytes = 1): Promise<void> {
    while (this.#pendingBytes >= bytes) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  add(
    records: readonly ProducerRecord[],
    { ifEnd, signal }: { readonly ifEnd?: number | undefined; readonly signal?: AbortSignal | undefined },
  ): Promise<Placed> {
    return new Promise((resolve, reject) => {
      signal?.throwIfAborted();
      if (this.#over) throw this.#over;
      const bytes = records.reduce((sum, record) => sum + sizeOf(record), 0);
      this.#checkRoom(records, bytes);
      const abort = (): void => call.settle({ thrown: signal!.reason });
      const call: Call = {
        records,
        bytes,
        ifEnd,
        deadline: performance.now() + this.#host.timeoutMs,
        batch: undefined,
        settle: (how) => {
          if (!this.#open.delete(call)) return;
          signal?.removeEventListener("abort", abort);
          this.#left(call);
          if ("placed" in how) resolve(how.placed);
          else reject(how.thrown);
        },
      };
      signal?.addEventListener("abort", abort);
      this.#open.add(call);
      this.#pendingBytes += bytes;
      this.#queue.push(call);
      this.#watch();
      if (!this.#isRunning) void this.#run();
    });
  }

  #checkRoom(records: readonly ProducerRecord[], bytes: number): void {
    const { inFlightBytesMax } = this.#host;
    if (bytes > 2 * BATCH_BYTES_MAX) throw tooLarge(records, bytes);
    if (this.#pendingBytes >= inFlightBytesMax && this.#pendingBytes + bytes > 2 * inFlightBytesMax)
      throw new TidemarkError("BACKPRESSURE", "too many bytes wait: await appends, or use appendAll()", {
        pendingBytes: this.#pendingBytes,
        inFlightBytesMax,
      });
  }

  /** A call is settled, whatever became of it. */
  #left({ bytes, batch }: Call): void {
    this.#pendingBytes -= bytes;
    if (batch && --batch.left === 0) batch.over.abort();
    if (this.#open.size === 0) {
      clearTimeout(this.#timer);
      this.#timer = undefined;
    }
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** One timer for all calls: each has the same time, so the first one's ends first. */
  #watch(): void {
    if (this.#timer !== undefined) return;
    const [first] = this.#open;
    if (!first) return;
    const ms = Math.max(0, first.deadline - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      for (const call of this.#open) {
        if (call.deadline > performance.now()) break;
        call.settle({ thrown: this.#late(call) });
      }
      this.#watch();
    }, ms);
  }

  #late({ batch }: Call): TidemarkError {
    const ms = this.#host.timeoutMs;
    const last = batch?.last;
    const why = `in ${ms} ms${last ? `: ${last.toWire().message}` : ""}`;
    const details = { ms, ...last?.details };
    if (batch?.wasSent) return outcomeUnknown(`the append was sent, and not answered ${why}`, details, last);
    return new TidemarkError("TIMEOUT", `the append was not sent ${why}`, details, { cause: last });
  }

  /** Ends all calls with this error, or as OUTCOME_UNKNOWN. No further one is taken. */
  fail(error: TidemarkError): void {
    this.#over = error;
    for (const call of [...this.#open])
      call.settle({
        thrown: call.batch?.wasSent ? outcomeUnknown("closed before the answer", error.details, error) : error,
      });
  }

  async #run(): Promise<void> {
    this.#isRunning = true;
    // Calls of the same turn share the batch.
    await Promise.resolve();
    for (let calls = this.#take(); calls.length > 0; calls = this.#take()) await this.#deliver(calls);
    this.#isRunning = false;
  }

  /** The calls of the next batch. */
  #take(): Call[] {
    const calls: Call[] = [];
    let [bytes, count] = [0, 0];
    for (let call = this.#queue[0]; call; call = this.#queue[0]) {
      const first = calls[0];
      const isAlone = first?.ifEnd !== undefined || call.ifEnd !== undefined;
      const isFull = bytes + call.bytes > SHARED_BYTES || count + call.records.length > SHARED_RECORDS;
      const isOpen = this.#open.has(call);
      if (isOpen && first && (isAlone || isFull || spread(first, call) > SPREAD_MS_MAX)) break;
      this.#queue.shift();
      if (!isOpen) continue;
      calls.push(call);
      bytes += call.bytes;
      count += call.records.length;
    }
    return calls;
  }

  async #deliver(calls: readonly Call[]): Promise<void> {
    const open = calls.filter((call) => this.#open.has(call));
    if (open.length === 0) return;
    const batch = new Underway(open);
    for (const call of open) call.batch = batch;
    const records = open.flatMap((call) => call.records);
    try {
      const owner = this.#owner;
      const bytes = encodeBatch(records, owner);
      if (bytes.length > BATCH_BYTES_MAX) throw tooLarge(records, bytes.length);
      const posted = await this.#post(batch, bytes);
      this.#end = Math.max(this.#end ?? 0, posted.lastOffset + 1);
      this.#owner = { ...owner, baseSequence: (owner.baseSequence + records.length) % SEQUENCES };
      let at = 0;
      for (const call of open) {
        call.settle({ placed: { ...posted, owner, at } });
        at += call.records.length;
      }
    } catch (thrown) {
      const isStranger = isUnknownProducer(thrown);
      if (batch.unknown || isStranger) this.#newEpoch();
      // The log certainly does not have the batch, so its calls are sent again from sequence 0 on.
      if (isStranger) return this.#deliver(open);
      const isContent = ABOUT_CONTENT.has((thrown as Partial<TidemarkError>).details?.["status"]);
      if (open.length > 1 && isContent && !batch.unknown) {
        const half = open.length >> 1;
        await this.#deliver(open.slice(0, half));
        await this.#deliver(open.slice(half));
      } else for (const call of open) call.settle({ thrown });
    }
  }

  #newEpoch(): void {
    const { producerId, producerEpoch } = this.#owner;
    // After the last epoch of this producer, the next one is the first epoch of another producer.
    const next = (producerEpoch + 1) & EPOCH_MAX;
    this.#owner = { producerId: next ? producerId : this.#host.newId(), producerEpoch: next, baseSequence: 0 };
  }

  /** Sends one batch until its outcome is known. Its calls' own times end it. */
  async #post(batch: Underway, bytes: Uint8Array<ArrayBuffer>): Promise<Posted> {
    const { signal } = batch.over;
    const { ifEnd } = batch.calls[0]!;
    let since: number | undefined;
    let wasMissing = false;
    for (let failures = 1; ; failures++) {
      try {
        this.#end ??= await this.#host.begin(signal, wasMissing, ifEnd);
        since ??= this.#end;
        batch.wasSent = true;
        return await this.#host.post(bytes, { ifEnd, since: batch.unknown && since }, signal);
      } catch (thrown) {
        const error = TidemarkError.from(thrown);
        if (signal.aborted) {
          if (batch.wasSent) batch.unknown ??= error;
          throw error;
        }
        batch.last = error;
        if (isForgotten(error)) throw outcomeForgotten(error, batch);
        // Deleted since it was seen: the next try makes it anew.
        const isMissing = error.code === "UNKNOWN_TOPIC" && !wasMissing && !batch.unknown && batch.wasSent;
        if (isMissing) {
          [wasMissing, this.#end, since] = [true, undefined, undefined];
          continue;
        }
        const isCertain = !batch.unknown || isAboutBatch(error) || isUnknownProducer(error);
        if (!mayPass(error)) throw isCertain ? error : unknownStill(batch, error);
        if (batch.wasSent && mayBeTaken(error)) batch.unknown = error;
        await this.#host.pause(error, failures, signal);
      }
    }
  }
}

const spread = (first: Call, { records }: Call): number =>
  Math.max(...records.map(({ timestamp }) => Math.abs(timestamp - first.records[0]!.timestamp)));

/** False if the edge has certainly not taken the batch: it was too busy, or no token could be had for the request. */
const mayBeTaken = ({ details }: TidemarkError): boolean => details["status"] !== 429 && details["reason"] !== "token";

/** True for errors by which the log judges this batch. If it had taken the batch before, it would say "duplicate". */
const isAboutBatch = ({ code, details }: TidemarkError): boolean =>
  code === "OFFSET_CONFLICT" || ABOUT_CONTENT.has(details["status"]);

const isForgotten = ({ code, details }: TidemarkError): boolean =>
  code === "OUT_OF_ORDER_SEQUENCE" && details["forgotten"] !== undefined;

const outcomeUnknown = (message: string, details: TidemarkError["details"], cause: unknown): TidemarkError =>
  new TidemarkError(
    "OUTCOME_UNKNOWN",
    `${message}: it may be in the log. Read the log's end before you append it anew`,
    details,
    { cause },
  );

const unknownStill = ({ unknown }: Underway, error: TidemarkError): TidemarkError =>
  outcomeUnknown(`${unknown!.toWire().message}; then ${error.toWire().message}`, error.details, error);

/** True if the edge has forgotten this producer and holds nothing that is on its way: the producer must begin anew. */
const isUnknownProducer = (thrown: unknown): boolean =>
  thrown instanceof TidemarkError &&
  thrown.code === "OUT_OF_ORDER_SEQUENCE" &&
  thrown.details["unknownProducer"] === true &&
  thrown.details["forgotten"] === undefined;

function outcomeForgotten(error: TidemarkError, batch: Underway): TidemarkError {
  batch.unknown ??= error;
  const message = "the append was sent again, and the edge has forgotten this producer";
  return outcomeUnknown(message, { ...error.details, reason: "forgotten" }, error);
}

/** One record that is too large, or several that fit no batch together. */
function tooLarge(records: readonly ProducerRecord[], bytes: number): TidemarkError {
  const isOne = records.length === 1;
  const what = isOne ? "a record" : `${records.length} records`;
  const message = `${what} of ${bytes} bytes; a batch has at most ${BATCH_BYTES_MAX}`;
  return new TidemarkError(isOne ? "RECORD_TOO_LARGE" : "BATCH_TOO_LARGE", message, {
    bytes,
    batchBytesMax: BATCH_BYTES_MAX,
  });
}
