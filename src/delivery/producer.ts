/**
 * The idempotent producer: makes batches of single appends, numbers them, keeps them until they are acked, and sends
 * them again, with the same sequence, to whoever leads the log next.
 *
 *   append → builder ──full, or end of the turn──▶ waiting ──sequence given──▶ in flight (at most 5) ──ack──▶ promises
 *                                                    ▲                             │
 *                                                    └── failed for certain behind ┘ (new producer epoch, numbered anew)
 *
 * A batch whose outcome is unknown stays in flight: sent again as it is, the log answers with the first offset if it
 * had it. Each re-send says where the log ended at the latest when the batch first went out: a log that has forgotten
 * this producer since then takes it no more, and the append is OUTCOME_UNKNOWN (details: reason "forgotten"), never a
 * second record. A batch that was refused for certain leaves a gap in the numbers; what follows it in flight is then
 * refused too, as out of order, and so is known not to be in the log: once all have answered, those go out again, in
 * their order, under a new epoch that begins at 0.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import type { Acks, AppendOptions, AppendResult } from "../log/types.ts";
import { BatchBuilder, type BatchOwner, type Header } from "../record/batch-builder.ts";

/** Kafka's max.in.flight with idempotence: the log remembers so many batches of a producer. */
export const IN_FLIGHT_BATCHES_MAX = 5;
/** Times batchBytes, of a batch that calls of appendBatch gather in. Measured: beyond it there is nothing to gain. */
const GATHERED_MAX = 2;
const SEQUENCES = 2 ** 31;
/** Before a batch is sent again to a log that had no room for it: twice as long each time, up to the second figure. */
const FULL_WAIT_MS = 10;
const FULL_WAIT_MS_MAX = 320;
const EPOCH_MAX = 0x7fff;
/** More than the varints around a record's key and value take, and around a header's name and value. */
const OVERHEAD_MAX = 64;
const HEADER_OVERHEAD_MAX = 10;

export interface Ack {
  readonly offset: number;
  readonly timestamp: number;
  readonly acks: Acks;
  readonly duplicate: boolean;
}

/** All records but a batch's appended under one ack. */
export interface BatchAck extends Ack {
  /** Of the first record; `offset` is the last one's. */
  readonly baseOffset: number;
}

export interface ProducerRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers?: readonly Header[] | undefined;
  readonly timestamp: number;
}

export interface ProducerOptions {
  readonly kernel: Kernel;
  /** Sends one batch to the leader. The bytes may be taken over: they are the producer's copy no more. */
  readonly send: (batch: Uint8Array, options: AppendOptions) => Promise<AppendResult>;
  /** Resolves when a log that failed is open again; rejects when it never will be. */
  readonly reopened: () => Promise<void>;
  /**
   * Resolves so much later. Without it `reopened` is asked before a log that was full gets the batch again, and has to
   * wait.
   */
  readonly pause?: (ms: number) => Promise<void>;
  /** Runs `work` soon, once the caller's turn is over. */
  readonly schedule: (work: () => void) => void;
  /** A new producer id: 53 random bits. */
  readonly newId: () => number;
  /** An end that the log had, flushed, at some time before now; the later the better. Default 0: nothing is known. */
  readonly logEnd?: () => number;
  readonly codec: "none" | "gzip";
  // Asked for with each append, because another leader's volume may hold larger or smaller batches.
  readonly batchBytes: number;
  readonly recordBytesMax: number;
  /** Largest batch that the log takes; a record that passes batchBytes may fill it. */
  readonly batchBytesMax: number;
  readonly inFlightBytesMax: number;
}

type Settle = (ack: BatchAck) => void;

/** Records that will be one batch. Two flat arrays instead of an object per record: there may be a million of them. */
class Draft {
  // One for each call. Of several records in one call: the last one's timestamp, and how many there are up to it.
  readonly resolves: Settle[] = [];
  readonly rejects: ((reason: unknown) => void)[] = [];
  readonly timestamps: number[] = [];
  readonly ends: number[] = [];
  /** Whose it is and its place; given when it is sent, anew when it has to be numbered anew. The same records and owner
   *  make the same bytes, so what the transfer took away is made again if it is needed again. */
  owner: BatchOwner | undefined;
  bytes = 0;
  /** Which came first, for those that must go out again. */
  order = 0;
  /** A flushed end of the log from before it was first sent under its present number. */
  since = 0;

  constructor(
    readonly builder: BatchBuilder,
    readonly acks: Acks,
    readonly ifEnd: number | undefined,
    /** appendBatch: one promise for all records of a call. */
    readonly whole: boolean,
    /** No other call's records come into it. */
    readonly alone: boolean,
  ) {}

  resolve({ baseOffset, duplicate, acks }: AppendResult): void {
    const { timestamps, resolves, ends } = this;
    for (let i = 0, first = baseOffset; i < resolves.length; i++) {
      const timestamp = timestamps[i]!;
      if (!this.whole) (resolves[i] as (ack: Ack) => void)({ offset: baseOffset + i, timestamp, acks, duplicate });
      else {
        const end = baseOffset + ends[i]!;
        resolves[i]!({ offset: end - 1, timestamp, acks, duplicate, baseOffset: first });
        first = end;
      }
    }
  }
  reject(reason: unknown): void {
    for (const reject of this.rejects) reject(reason);
  }
}

export class Producer {
  readonly #options: ProducerOptions;
  #id: number;
  #epoch = 0;
  #sequence = 0;
  #scheduled = false;
  /** The last of them takes more records, until it is full or goes. */
  readonly #waiting: Draft[] = [];
  readonly #inFlight: Draft[] = [];
  /** Refused behind a gap; they go out again before anything else. */
  readonly #again: Draft[] = [];
  /** A gap was made: nothing is sent until all in flight have answered. */
  #gap = false;
  #pendingBytes = 0;
  #sent = 0;
  /** Behind the newest record of which it is known that it was flushed. */
  #flushedEnd = 0;
  #sending: Promise<unknown> = Promise.resolve();
  readonly #idle: (() => void)[] = [];
  readonly #spare: BatchBuilder[] = [];
  /** What the spare builders hold. */
  #spareBytesMax = 0;

  constructor(options: ProducerOptions) {
    this.#options = options;
    this.#id = options.newId();
  }

  /** Bytes that wait or are in flight. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  append(record: ProducerRecord, acks: Acks, ifEnd?: number): Promise<Ack> {
    return this.#append([record], acks, ifEnd, false);
  }

  /** All or none, with one ack, whose offset is the last record's. */
  appendBatch(records: readonly ProducerRecord[], acks: Acks, ifEnd?: number): Promise<BatchAck> {
    return this.#append(records, acks, ifEnd, true);
  }

  #append(
    records: readonly ProducerRecord[],
    acks: Acks,
    ifEnd: number | undefined,
    whole: boolean,
  ): Promise<BatchAck> {
    return new Promise<BatchAck>((resolve, reject) => {
      const { recordBytesMax } = this.#options;
      let bytes = 0;
      let alone = ifEnd !== undefined;
      for (const record of records) {
        const more = this.#room(record, recordBytesMax);
        alone ||= isNear(more, record, recordBytesMax);
        bytes += more;
      }
      const last = records.at(-1);
      if (!last) throw new TidemarkError("INVALID_ARGUMENT", "a batch has at least one record");
      let draft = alone ? undefined : this.#gathering(acks, whole, bytes);
      if (!draft?.builder.tryAppendAll(records)) {
        // Records that fit no batch change nothing: neither the last one that waits nor what comes after it.
        draft = new Draft(this.#builder(), acks, ifEnd, whole, alone);
        if (!draft.builder.tryAppendAll(records)) throw this.#tooLarge(records);
        this.#waiting.push(draft);
      }
      draft.timestamps.push(last.timestamp);
      if (whole) draft.ends.push(draft.builder.count);
      draft.resolves.push(resolve);
      draft.rejects.push(reject);
      draft.bytes += bytes;
      this.#pendingBytes += bytes;
      this.#wake();
    });
  }

  /**
   * The batch that one more call's records come into, the last one that waits: they share one ack and one condition.
   * Calls of appendBatch share one that can't go yet, because as many as may be are out or go before it. The larger it
   * gets, the fewer flushes its records cost.
   */
  #gathering(acks: Acks, whole: boolean, bytes: number): Draft | undefined {
    const last = this.#waiting.at(-1);
    if (!last || last.alone || last.whole !== whole || last.acks !== acks) return undefined;
    const before = this.#inFlight.length + this.#again.length + this.#waiting.length;
    if (whole && before < IN_FLIGHT_BATCHES_MAX) return undefined;
    return last.bytes + bytes <= this.#options.batchBytes * (whole ? GATHERED_MAX : 1) ? last : undefined;
  }

  /** Resolves when fewer than `bytes` are pending; for senders that can wait. */
  async drained(bytes = 1): Promise<void> {
    while (this.#pendingBytes >= bytes) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** What this record adds to the pending bytes. RECORD_TOO_LARGE; BACKPRESSURE when twice the limit is pending. */
  #room({ key, value, headers }: ProducerRecord, recordBytesMax: number): number {
    let bytes = (key?.length ?? 0) + (value?.length ?? 0);
    if (headers) for (const [name, text] of headers) bytes += name.length + (text?.length ?? 0);
    const { inFlightBytesMax } = this.#options;
    if (bytes > recordBytesMax)
      throw new TidemarkError("RECORD_TOO_LARGE", `a record of ${bytes} bytes`, { bytes, recordBytesMax });
    if (this.#pendingBytes > 0 && this.#pendingBytes + bytes > 2 * inFlightBytesMax) {
      throw new TidemarkError("BACKPRESSURE", "too much is waiting for its ack", {
        pendingBytes: this.#pendingBytes,
        inFlightBytesMax,
      });
    }
    return bytes;
  }

  /** They fit no batch: not even the first one, or not all together. */
  #tooLarge(records: readonly ProducerRecord[]): TidemarkError {
    const { batchBytesMax } = this.#options;
    if (this.#builder().tryAppend(records[0]!))
      return new TidemarkError("BATCH_TOO_LARGE", `these records don't fit one batch of ${batchBytesMax} bytes`, {
        batchBytesMax,
      });
    const { key, value } = records[0]!;
    const bytes = (key?.length ?? 0) + (value?.length ?? 0);
    return new TidemarkError(
      "RECORD_TOO_LARGE",
      `a record of ${bytes} bytes does not fit a batch of ${batchBytesMax}`,
      { bytes, batchBytesMax },
    );
  }

  #builder(): BatchBuilder {
    const { kernel, batchBytesMax } = this.#options;
    if (this.#spareBytesMax !== batchBytesMax) this.#spare.length = 0;
    this.#spareBytesMax = batchBytesMax;
    return this.#spare.pop() ?? new BatchBuilder(kernel, { bytesMax: batchBytesMax });
  }

  #wake(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    this.#options.schedule(() => {
      this.#scheduled = false;
      this.#pump();
    });
  }

  /** Sends while it may. While as many as may be are out, the last one that waits grows. */
  #pump(): void {
    for (;;) {
      if (this.#gap && this.#inFlight.length === 0) this.#closeGap();
      if (this.#gap || this.#inFlight.length >= IN_FLIGHT_BATCHES_MAX) return;
      const draft = this.#again.shift() ?? this.#waiting.shift();
      if (!draft) return;
      draft.order ||= ++this.#sent;
      this.#inFlight.push(draft);
      void this.#deliver(draft);
    }
  }

  /** Every batch in flight has answered, so each one left is known not to be in the log: new epoch, numbers from 0. */
  #closeGap(): void {
    this.#gap = false;
    this.#sequence = 0;
    if (++this.#epoch > EPOCH_MAX) {
      this.#epoch = 0;
      this.#id = this.#options.newId();
    }
  }

  async #deliver(draft: Draft): Promise<void> {
    try {
      const baseSequence = this.#sequence;
      this.#sequence = (baseSequence + draft.builder.count) % SEQUENCES;
      draft.owner = { producerId: this.#id, producerEpoch: this.#epoch, baseSequence };
      draft.since = Math.max(this.#flushedEnd, this.#options.logEnd?.() ?? 0);
      const result = await this.#send(draft);
      if (result.acks === "flushed") this.#flushedEnd = Math.max(this.#flushedEnd, result.lastOffset + 1);
      this.#leave(draft);
      draft.resolve(result);
    } catch (thrown) {
      this.#leave(draft, thrown);
    } finally {
      this.#pump();
    }
  }

  /** The batch's bytes; the smaller form where they are to be compressed. */
  async #encoded({ builder, owner }: Draft): Promise<Uint8Array> {
    const built = builder.build(owner!);
    const { compressBatch } = await import("../record/codec.ts");
    const packed = await compressBatch(this.#options.kernel, built);
    return packed.length < built.length ? packed : built;
  }

  /** Compression takes turns of its own; batches must still go out in sequence. */
  #ordered<T>(work: Promise<T>): Promise<T> {
    const before = this.#sending;
    const done = work.then(async (result) => {
      await before;
      return result;
    });
    this.#sending = done.catch(() => undefined);
    return done;
  }

  /** One batch until its outcome is known. Bounded by the host: `reopened` rejects once the log is closed for good. */
  async #send(draft: Draft): Promise<AppendResult> {
    const { send, reopened, pause, codec } = this.#options;
    const { acks, ifEnd, since } = draft;
    let unknown: TidemarkError | undefined;
    let resent = {};
    let waitMs = FULL_WAIT_MS;
    for (;;) {
      try {
        const bytes = codec === "none" ? draft.builder.build(draft.owner!) : await this.#ordered(this.#encoded(draft));
        return await send(bytes, { acks, ...(ifEnd !== undefined && { ifEnd }), fromZero: true, ...resent });
      } catch (thrown) {
        const error = TidemarkError.from(thrown);
        const full = error.code === "BACKPRESSURE";
        if (isForgotten(error)) throw outcomeForgotten(error);
        if (error.kind !== "reopen" && !full) throw error;
        if (!full) resent = { resentSince: since };
        if (error.code === "OUTCOME_UNKNOWN") unknown = error;
        try {
          if (full && pause) {
            await pause(waitMs);
            waitMs = Math.min(2 * waitMs, FULL_WAIT_MS_MAX);
          } else await reopened();
        } catch (final) {
          // It may be in the log, by any of its tries: the caller must know which of the two errors it is.
          throw unknown ?? final;
        }
      }
    }
  }

  #leave(draft: Draft, thrown?: unknown): void {
    this.#inFlight.splice(this.#inFlight.indexOf(draft), 1);
    if (thrown !== undefined) {
      // Numbers are missing before it, so it is not in the log: whether a batch before it was refused, or comes after
      // it on the way to a log that was opened again, or was lost with an ack level that allows it.
      this.#gap = true;
      if (isAhead(thrown)) {
        this.#again.push(draft);
        this.#again.sort((a, b) => a.order - b.order);
        return;
      }
      draft.reject(thrown);
    }
    this.#pendingBytes -= draft.bytes;
    draft.builder.reset();
    const { builder } = draft;
    if (builder.bytesMax === this.#spareBytesMax && this.#spare.length < IN_FLIGHT_BATCHES_MAX)
      this.#spare.push(builder);
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}

/**
 * Near the limit only the log can tell; should it refuse, no other call's records are refused along with it. What an
 * encoding adds is counted from above: a name's character takes up to three bytes.
 */
function isNear(bytes: number, { headers }: ProducerRecord, recordBytesMax: number): boolean {
  let most = bytes + OVERHEAD_MAX;
  if (headers) for (const [name] of headers) most += HEADER_OVERHEAD_MAX + 2 * name.length;
  return most > recordBytesMax;
}

const isForgotten = ({ code, details }: TidemarkError): boolean =>
  code === "OUT_OF_ORDER_SEQUENCE" && details["forgotten"] !== undefined;

function outcomeForgotten(error: TidemarkError): TidemarkError {
  const message =
    "the append was sent again, but the log has forgotten this producer: its records may be in the " +
    "log already. Read from resentSince on to find out";
  return new TidemarkError("OUTCOME_UNKNOWN", message, { ...error.details, reason: "forgotten" }, { cause: error });
}

/** The log expected an earlier sequence (numbers wrap, so half of them count as later). */
function isAhead(thrown: unknown): boolean {
  if (!(thrown instanceof TidemarkError) || thrown.code !== "OUT_OF_ORDER_SEQUENCE") return false;
  const ahead = (Number(thrown.details["received"]) - Number(thrown.details["expected"]) + SEQUENCES) % SEQUENCES;
  return ahead > 0 && ahead < SEQUENCES / 2;
}
