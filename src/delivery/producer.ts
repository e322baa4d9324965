/**
 * The idempotent producer. It makes batches of single appends, numbers them, keeps them until they are acked, and sends
 * them again, with the same sequence, to the next leader of the log.
 *
 *   append → builder ──full, or end of the turn──▶ waiting ──sequence given──▶ in flight (at most 5) ──ack──▶ promises
 *                                                    ▲                             │
 *                                                    └── refused behind a gap ─────┘ (new producer epoch, renumbered)
 *
 * A batch whose outcome is unknown stays in flight and is sent again unchanged: if the log has it already, it answers
 * with the first offsets. Each re-send names an offset at which the log certainly ended before the batch was first
 * sent. A log that has forgotten this producer since then refuses the batch, and the append fails as OUTCOME_UNKNOWN
 * (details: reason "forgotten") instead of making a second record.
 *
 * A batch that was refused for certain leaves a gap in the sequences. The batches in flight behind it are then refused
 * as well, as out of order, and so are known not to be in the log. Once all have answered, these go out again, in their
 * order, under a new epoch that begins at 0.
 */
import { TidemarkError } from "../errors.ts";
import { type Kernel, KERNEL_BATCH_RECORDS_MAX } from "../kernel/types.ts";
import type { Acks, LogAppendOptions, AppendResult } from "../log/types.ts";
import { BatchBuilder, type BatchOwner, type Header } from "../record/batch-builder.ts";

/** Kafka's max.in.flight with idempotence: the log remembers this many batches of a producer. */
const IN_FLIGHT_BATCHES_MAX = 5;
/**
 * Size, in multiples of batchBytes, up to which several calls of appendBatch share a batch. Larger ones were no faster.
 */
const GATHERED_MAX = 2;
const SEQUENCES = 2 ** 31;
/**
 * First pause before a batch is sent again to a log that had no room; doubles with each try, up to FULL_WAIT_MS_MAX.
 */
const FULL_WAIT_MS = 10;
const FULL_WAIT_MS_MAX = 320;
const EPOCH_MAX = 0x7fff;
/** More bytes than the varints around a record's key and value, and around a header's name and value, can take. */
const OVERHEAD_MAX = 64;
const HEADER_OVERHEAD_MAX = 10;

export interface ProducerAck {
  readonly offset: number;
  readonly timestamp: number;
  readonly acks: Acks;
  readonly duplicate: boolean;
}

/** The ack of a batch whose records succeed or fail together. */
export interface ProducerBatchAck extends ProducerAck {
  /** Offset of the first record; `offset` is the last record's. */
  readonly baseOffset: number;
}

export interface ProducerRecord {
  readonly key: Uint8Array | null;
  readonly value: Uint8Array | null;
  readonly headers?: readonly Header[] | undefined;
  readonly timestamp: number;
}

/** `memory`: of the batch, where the receiver is done with it and gives it back for a later batch. */
export interface Sent extends AppendResult {
  readonly memory?: ArrayBuffer | undefined;
}

export interface ProducerOptions {
  readonly kernel: Kernel;
  /** Sends one batch to the leader. It may transfer the bytes: the producer does not use them again. */
  readonly send: (batch: Uint8Array, options: LogAppendOptions) => Promise<Sent>;
  /** Resolves when a log that failed is open again; rejects when it never will be. */
  readonly reopened: () => Promise<void>;
  /**
   * Resolves after `ms`. If it is left out, a batch that a full log refused waits for `reopened` instead, and
   * `reopened` must pause by itself.
   */
  readonly pause?: (ms: number) => Promise<void>;
  /** Runs `work` soon, once the caller's turn is over. */
  readonly schedule: (work: () => void) => void;
  /** A new producer id: 53 random bits. */
  readonly newId: () => number;
  /**
   * An offset at which the log ended, flushed, at some time before now; the later the better. Default 0: nothing is
   * known.
   */
  readonly logEnd?: () => number;
  /**
   * What an ack becomes that the caller is given. `owner` and `at` name its record (record-id.ts). Default: it stays as
   * it is.
   */
  readonly acked?: Acked;
  readonly codec: "none" | "gzip";
  // Getters of the options read these for each append, because another leader's volume may take other batch sizes.
  readonly batchBytes: number;
  readonly recordBytesMax: number;
  /** Largest batch that the log takes. A record larger than batchBytes gets a batch of its own, up to this size. */
  readonly batchBytesMax: number;
  readonly inFlightBytesMax: number;
}

type Acked = <T extends ProducerAck>(ack: T, owner: BatchOwner, at: number) => T;
type Settle = (ack: ProducerBatchAck) => void;
const same = <T>(ack: T): T => ack;

/**
 * Records that will be one batch. Flat arrays instead of one object per record, because there may be a million records.
 */
class Draft {
  // One entry for each call. For a call with several records: the last record's timestamp, and the number of records up
  // to it.
  readonly resolves: Settle[] = [];
  readonly rejects: ((reason: unknown) => void)[] = [];
  readonly timestamps: number[] = [];
  readonly ends: number[] = [];
  /**
   * Producer id, epoch and base sequence; set when the batch is sent, and again if it must be renumbered. The same
   * records and owner build the same bytes, so a batch whose bytes were transferred is built again when it is re-sent.
   */
  owner: BatchOwner | undefined;
  bytes = 0;
  /** Number of the batch in the order of sending, used to sort batches that must be sent again. */
  order = 0;
  /** A flushed end of the log, from before the batch was first sent under its present sequence. */
  since = 0;

  constructor(
    readonly builder: BatchBuilder,
    readonly acks: Acks,
    readonly ifEnd: number | undefined,
    /** True for appendBatch: one promise for all records of a call. */
    readonly whole: boolean,
    /** True if no other call's records may join the batch. */
    readonly alone: boolean,
  ) {}

  resolve({ baseOffset, duplicate, acks }: AppendResult, acked: Acked = same): void {
    const { timestamps, resolves, ends } = this;
    const owner = this.owner!;
    for (let i = 0, first = baseOffset; i < resolves.length; i++) {
      const timestamp = timestamps[i]!;
      if (!this.whole)
        (resolves[i] as (ack: ProducerAck) => void)(
          acked({ offset: baseOffset + i, timestamp, acks, duplicate }, owner, i),
        );
      else {
        const end = baseOffset + ends[i]!;
        resolves[i]!(acked({ offset: end - 1, timestamp, acks, duplicate, baseOffset: first }, owner, ends[i]! - 1));
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
  /** Batches that wait to be sent. The last one takes more records until it is full or sent. */
  readonly #waiting: Draft[] = [];
  readonly #inFlight: Draft[] = [];
  /** Batches that were refused because of a gap. They are sent again before any other. */
  readonly #again: Draft[] = [];
  /** A gap in the sequences exists: nothing is sent until all batches in flight have answered. */
  #gap = false;
  #pendingBytes = 0;
  #sent = 0;
  /** Offset behind the newest record that is known to be flushed. */
  #flushedEnd = 0;
  #sending: Promise<unknown> = Promise.resolve();
  readonly #idle: (() => void)[] = [];
  readonly #spare: BatchBuilder[] = [];
  /** The size in bytes that the spare builders are made for. */
  #spareBytesMax = 0;

  constructor(options: ProducerOptions) {
    this.#options = options;
    this.#id = options.newId();
  }

  /** Bytes of records that wait or are in flight. */
  get pendingBytes(): number {
    return this.#pendingBytes;
  }

  /** A way of its own beside appendBatch: a million single records a second should make no arrays and run no loops. */
  append(record: ProducerRecord, acks: Acks, ifEnd?: number): Promise<ProducerAck> {
    return new Promise<ProducerAck>((resolve, reject) => {
      const { recordBytesMax } = this.#options;
      const bytes = this.#room(record, recordBytesMax);
      const alone = ifEnd !== undefined || isNear(bytes, record, recordBytesMax);
      let draft = alone ? undefined : this.#gathering(acks, false, bytes);
      if (!draft?.builder.tryAppend(record)) {
        draft = new Draft(this.#builder(), acks, ifEnd, false, alone);
        if (!draft.builder.tryAppend(record)) throw this.#tooLarge([record]);
        this.#waiting.push(draft);
      }
      this.#join(draft, bytes, record.timestamp, resolve, reject);
    });
  }

  /** Appends all records, of which there is at least one, or none, with one ack whose offset is the last record's. */
  appendBatch(records: readonly ProducerRecord[], acks: Acks, ifEnd?: number): Promise<ProducerBatchAck> {
    return new Promise<ProducerBatchAck>((resolve, reject) => {
      const { recordBytesMax } = this.#options;
      let bytes = 0;
      let alone = ifEnd !== undefined;
      for (const record of records) {
        const more = this.#room(record, recordBytesMax);
        alone ||= isNear(more, record, recordBytesMax);
        bytes += more;
      }
      let draft = alone ? undefined : this.#gathering(acks, true, bytes);
      if (!draft?.builder.tryAppendAll(records)) {
        // Records that fit no batch must change nothing, neither the batch that waits nor later ones.
        draft = new Draft(this.#builder(), acks, ifEnd, true, alone);
        if (!draft.builder.tryAppendAll(records)) throw this.#tooLarge(records);
        this.#waiting.push(draft);
      }
      draft.ends.push(draft.builder.count);
      this.#join(draft, bytes, records.at(-1)!.timestamp, resolve, reject);
    });
  }

  /** A call whose records are in this batch now. */
  #join(draft: Draft, bytes: number, timestamp: number, resolve: Settle, reject: (reason: unknown) => void): void {
    draft.timestamps.push(timestamp);
    draft.resolves.push(resolve);
    draft.rejects.push(reject);
    draft.bytes += bytes;
    this.#pendingBytes += bytes;
    this.#wake();
  }

  /**
   * The waiting batch that one more call's records join, if its ack level and condition allow it: one that is not sent
   * before this turn ends, or can't be sent because enough others are in flight. Calls that share a batch share its
   * message, write, flush and ack.
   */
  #gathering(acks: Acks, whole: boolean, bytes: number): Draft | undefined {
    const last = this.#waiting.at(-1);
    if (!last || last.alone || last.whole !== whole || last.acks !== acks) return undefined;
    return last.bytes + bytes <= this.#options.batchBytes * (whole ? GATHERED_MAX : 1) ? last : undefined;
  }

  /** Resolves when fewer than `bytes` are pending. For callers that can wait. */
  async drained(bytes = 1): Promise<void> {
    while (this.#pendingBytes >= bytes) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** What this record adds to the pending bytes. RECORD_TOO_LARGE; BACKPRESSURE if twice the limit would be pending. */
  #room(record: ProducerRecord, recordBytesMax: number): number {
    const bytes = bytesOf(record);
    const { inFlightBytesMax } = this.#options;
    if (bytes > recordBytesMax)
      throw new TidemarkError("RECORD_TOO_LARGE", `a record of ${bytes} bytes; at most ${recordBytesMax}`, {
        bytes,
        recordBytesMax,
      });
    if (this.#pendingBytes >= inFlightBytesMax && this.#pendingBytes + bytes > 2 * inFlightBytesMax) {
      throw new TidemarkError("BACKPRESSURE", "too many bytes wait for their ack: await appends", {
        pendingBytes: this.#pendingBytes,
        inFlightBytesMax,
      });
    }
    // A record of no bytes is waited for like any other.
    return bytes || 1;
  }

  /** The error for records that fit no batch: the first one is too large, or all together are. */
  #tooLarge(records: readonly ProducerRecord[]): TidemarkError {
    const { batchBytesMax } = this.#options;
    if (this.#builder().tryAppend(records[0]!))
      return new TidemarkError(
        "BATCH_TOO_LARGE",
        `a batch has at most ${batchBytesMax} bytes and ${KERNEL_BATCH_RECORDS_MAX} records`,
        { batchBytesMax },
      );
    const bytes = bytesOf(records[0]!);
    return new TidemarkError(
      "RECORD_TOO_LARGE",
      `a record of ${bytes} bytes, not yet encoded, fits no batch of ${batchBytesMax}`,
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

  /** Sends as many batches as may be in flight. While no more may be sent, the last waiting batch grows. */
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

  /**
   * Every batch in flight has answered, so those left are known not to be in the log. They get a new epoch and
   * sequences from 0.
   */
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
      if (result.memory) draft.builder.giveBack(result.memory);
      this.#leave(draft);
      draft.resolve(result, this.#options.acked);
    } catch (thrown) {
      this.#leave(draft, thrown);
    } finally {
      this.#pump();
    }
  }

  /** The batch's bytes; compressed if that is wanted and makes them smaller. */
  async #encoded({ builder, owner }: Draft): Promise<Uint8Array> {
    const built = builder.build(owner!);
    const { compressBatch } = await import("../record/codec.ts");
    const packed = await compressBatch(this.#options.kernel, built);
    return packed.length < built.length ? packed : built;
  }

  /**
   * Compression takes several turns of the event loop, but batches must still be sent in sequence. This keeps the
   * order.
   */
  #ordered<T>(work: Promise<T>): Promise<T> {
    const before = this.#sending;
    const done = work.then(async (result) => {
      await before;
      return result;
    });
    this.#sending = done.catch(() => undefined);
    return done;
  }

  /**
   * Sends one batch until its outcome is known. The host bounds this: `reopened` rejects once the log is closed for
   * good.
   */
  async #send(draft: Draft): Promise<Sent> {
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
          if (pause && (full || isLasting(error))) {
            if (!full && waitMs === FULL_WAIT_MS_MAX) throw error;
            await pause(waitMs);
            waitMs = Math.min(2 * waitMs, FULL_WAIT_MS_MAX);
          }
          if (!full || !pause) await reopened();
        } catch (final) {
          // Any of the tries may have put it into the log: the caller must learn that the outcome is unknown.
          throw unknown ?? final;
        }
      }
    }
  }

  #leave(draft: Draft, thrown?: unknown): void {
    this.#inFlight.splice(this.#inFlight.indexOf(draft), 1);
    if (thrown !== undefined) {
      // Sequences before it are missing in the log, so this batch is not in the log either. A batch before it was
      // refused, or will arrive after it at a log that was opened again, or was lost under an ack level that allows
      // loss.
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

/** Bytes of its key, value and headers. */
function bytesOf({ key, value, headers }: ProducerRecord): number {
  let bytes = (key?.length ?? 0) + (value?.length ?? 0);
  if (headers) for (const [name, text] of headers) bytes += name.length + (text?.length ?? 0);
  return bytes;
}

/**
 * True if the record may be too large; only the log can tell. Such a record gets a batch of its own, so that no other
 * call's records are refused with it. The encoded size is estimated from above: a character of a name takes up to three
 * bytes.
 */
function isNear(bytes: number, { headers }: ProducerRecord, recordBytesMax: number): boolean {
  let most = bytes + OVERHEAD_MAX;
  if (headers) for (const [name] of headers) most += HEADER_OVERHEAD_MAX + 2 * name.length;
  return most > recordBytesMax;
}

/**
 * True if storage refuses a call and the store works on, so that nothing will be opened again: a file that can't be
 * read, a slot that can't be made. It may pass, and is told to the caller if it does not.
 */
export const isLasting = ({ code, details }: TidemarkError): boolean =>
  code === "STORAGE_FAILED" && !details["poisoned"];

const isForgotten = ({ code, details }: TidemarkError): boolean =>
  code === "OUT_OF_ORDER_SEQUENCE" && details["forgotten"] !== undefined;

function outcomeForgotten(error: TidemarkError): TidemarkError {
  const message =
    "the append was sent again: this producer was forgotten, and the log may hold this batch: read from resentSince on";
  return new TidemarkError("OUTCOME_UNKNOWN", message, { ...error.details, reason: "forgotten" }, { cause: error });
}

/** True if the log expected an earlier sequence. Sequences wrap, so half of all numbers count as later. */
function isAhead(thrown: unknown): boolean {
  if (!(thrown instanceof TidemarkError) || thrown.code !== "OUT_OF_ORDER_SEQUENCE") return false;
  const ahead = (Number(thrown.details["received"]) - Number(thrown.details["expected"]) + SEQUENCES) % SEQUENCES;
  return ahead > 0 && ahead < SEQUENCES / 2;
}
