/**
 * Appends to one stream: a request becomes batches, is checked against the stream and its writers, and gets its offset,
 * all in one turn. There is no await between the check of a sequence and the batch's place in the log's queue.
 *
 *   request ── small ──────────────────────▶ take ── refused, or a duplicate ──▶ answer
 *           └─ large ── encoded in slices ──▶ │
 *                                             └──▶ Log's queue ──▶ group commit ──▶ answer
 *   close   a flag, written in the transaction of the final append (reached)
 */
import type { PackingKernel } from "../../src/kernel/types.ts";
import type { Log } from "../../src/log/log.ts";
import type { Sending } from "../../src/log/producer-state.ts";
import type { AppendResult } from "../../src/log/types.ts";
import { nextOffsetOf, readHeader } from "../../src/record/format.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { encodeBody, encodeInSlices, turn } from "./body-encoder.ts";
import { ENCODE_SLICE_BYTES } from "./body-limits.ts";
import { EncodeQueue } from "./encode-queue.ts";
import { noLines } from "./line-cutter.ts";
import { mediaType } from "./media-type.ts";
import { offerAll } from "./offer-all.ts";
import type { StreamConfig } from "./stream-config.ts";
import { type WriterProducer, stateHeaders, type StreamState } from "./writer-state.ts";

export interface AppendRequest {
  readonly body: Uint8Array;
  readonly contentType: string | undefined;
  readonly closing: boolean;
  readonly producer: WriterProducer | undefined;
  readonly seq: string | undefined;
  readonly ifEnd: number | undefined;
  readonly sending?: Sending;
  /** True if the body is lines with whole records (line-cutter.ts), in a stream of any type. */
  readonly isLines?: boolean;
  /** The request's traceparent, stored in the first record's headers. */
  readonly trace?: string | undefined;
}

export interface AppendOutcome {
  readonly nextOffset: number;
  readonly closed: boolean;
  readonly duplicate: boolean;
  /** The highest request that was taken from the producer. */
  readonly producer: WriterProducer | undefined;
}

/** The stream that is appended to. */
interface AppendableStream {
  readonly kernel: PackingKernel;
  readonly log: Log;
  /** True if it has ended: the tables may belong to another stream then. */
  readonly store: { readonly isEnded: boolean };
  readonly config: StreamConfig;
  readonly closed: boolean;
  readonly tail: number;
  touch(): void;
  save(change: Partial<StreamConfig>): void;
  saveState(offset: number): void;
}

interface AppendsHost {
  readonly stream: AppendableStream;
  readonly state: StreamState;
  now(): number;
  /** The stream was closed without a record. */
  closed(): void;
  /** The tables refused what memory counts as taken, so memory can no longer be trusted. */
  failed(thrown: unknown): void;
}

/** Bytes on their way to the disk. An append beyond this is BACKPRESSURE (429). */
export const QUEUE_BYTES_MAX = 16 * 1024 * 1024;
export const QUEUE_APPENDS_MAX = 5_000;

export class Appends {
  readonly #host: AppendsHost;
  #closing = false;
  /** The stream closes in the transaction of the chunk that ends at this offset. */
  #closeAt: number | undefined;
  #closingBy: WriterProducer | undefined;
  readonly #encodings = new EncodeQueue();
  readonly #pending = new Set<Promise<unknown>>();
  #pendingBytes = 0;

  constructor(host: AppendsHost) {
    this.#host = host;
  }

  get #stream(): AppendableStream {
    return this.#host.stream;
  }

  append(request: AppendRequest): Promise<AppendOutcome> {
    const { length } = request.body;
    if (length <= ENCODE_SLICE_BYTES && this.#encodings.isIdle) return this.#take(request);
    this.#checkRoom(length);
    return this.#encodings.run(
      length,
      () => this.#encodeLarge(request),
      (encoded) => this.#take(request, encoded),
    );
  }

  /** Changes nothing. Undefined if the request is no repeat, or can't be taken for another reason. */
  repeated(request: AppendRequest): Promise<AppendOutcome> | undefined {
    const { producer, sending } = request;
    if (!producer || this.#stream.store.isEnded) return undefined;
    try {
      if (this.#stream.closed) return Promise.resolve(this.#appendToClosed(request));
      if (this.#isOther(request)) return undefined;
      const repeated = this.#host.state.admit(producer, sending);
      return repeated === undefined ? undefined : this.#duplicate({ ...producer, seq: repeated });
    } catch {
      return undefined;
    }
  }

  async #encodeLarge(request: AppendRequest): Promise<readonly Uint8Array[] | undefined> {
    // An append that is refused anyway need not be encoded first.
    if (request.body.length <= ENCODE_SLICE_BYTES || this.#stream.closed || this.#isOther(request)) return undefined;
    return encodeInSlices(this.#stream.kernel, this.#asked(request), turn);
  }

  #asked({ body, producer, seq, trace, isLines }: AppendRequest) {
    const type = mediaType(this.#stream.config.contentType);
    const headers = stateHeaders(producer, seq, trace);
    return { body, mediaType: type, headers, timestamp: this.#host.now(), isLines };
  }

  #isOther({ contentType, isLines = false }: AppendRequest): boolean {
    if (isLines) return false;
    return contentType === undefined || mediaType(contentType) !== mediaType(this.#stream.config.contentType);
  }

  async #take(request: AppendRequest, encoded?: readonly Uint8Array[]): Promise<AppendOutcome> {
    const { body, producer, closing, seq } = request;
    if (this.#closing) await this.settled();
    this.#checkThere();
    if (this.#stream.closed) return this.#appendToClosed(request);
    if (body.length === 0) {
      if (!closing) throw badRequest("the body is empty; an append brings records, or closes the stream");
      return this.#closeOnly(request);
    }
    const wanted = `this stream takes ${this.#stream.config.contentType}`;
    if (request.contentType === undefined) throw badRequest(`the append has no content type; ${wanted}`);
    if (this.#isOther(request)) throw new EdgeError("CONFLICT", `the append is ${request.contentType}; ${wanted}`);
    const repeated = producer && this.#host.state.admit(producer, request.sending);
    if (repeated !== undefined) return this.#duplicate({ ...producer!, seq: repeated });
    this.#host.state.checkSeq(seq);
    const batches = encoded ?? encodeBody(this.#stream.kernel, this.#asked(request));
    if (batches.length === 0)
      throw request.isLines ? noLines() : badRequest("the array is empty; an append has at least one message");
    const nextOffset = await this.#enqueue(batches, request.ifEnd, (offset) => {
      this.#host.state.take(producer, seq, offset);
      if (closing) this.#closing = true;
      this.#closingBy = producer;
    });
    this.#stream.touch();
    return { nextOffset, closed: closing, duplicate: false, producer };
  }

  /** The first records of a new stream, and whether they are its last. */
  async begin(batches: readonly Uint8Array[], closed: boolean): Promise<void> {
    if (batches.length > 0) await this.#enqueue(batches, undefined, () => (this.#closing = closed));
  }

  /**
   * Queues batches that belong together, all in this turn. `taken` runs in the same turn, once the log has given the
   * first batch its offset. After that only a store that fails can refuse a batch, and then the stream is opened anew.
   * Throws a refusal at once.
   */
  #enqueue(
    batches: readonly Uint8Array[],
    ifEnd: number | undefined,
    taken: (offset: number) => void,
  ): Promise<number> {
    const bytes = batches.reduce((sum, batch) => sum + batch.length, 0);
    this.#checkRoom(bytes);
    const [first, ...rest] = batches as [Uint8Array, ...Uint8Array[]];
    const { baseOffset, done } = this.#stream.log.offer(first, ifEnd === undefined ? {} : { ifEnd });
    taken(baseOffset);
    const others = rest.map((batch) => this.#stream.log.append(batch));
    if (this.#closing) this.#closeAt = nextOffsetOf(readHeader(batches.at(-1)!));
    const last = others.length === 0 ? done : Promise.all([done, ...others]).then((all) => all.at(-1)!);
    return this.#track(last, bytes);
  }

  /** The stream was deleted while the request was being checked. A retry meets the stream that is there now, if any. */
  #checkThere(): void {
    if (this.#stream.store.isEnded)
      throw new EdgeError("CLOSED", "the stream was deleted meanwhile", { reason: "deleted" });
  }

  #checkRoom(bytes: number): void {
    const waiting = this.#pendingBytes + this.#encodings.bytes;
    if (this.#pending.size >= QUEUE_APPENDS_MAX || (waiting > 0 && waiting + bytes > QUEUE_BYTES_MAX)) {
      throw new EdgeError(
        "BACKPRESSURE",
        "too many appends of this stream wait to be stored: send this one again later",
        { queueBytes: waiting },
      );
    }
  }

  /** Counts queued work until it is done. Resolves to the offset behind it. */
  #track(work: Promise<AppendResult>, bytes: number): Promise<number> {
    this.#pending.add(work);
    this.#pendingBytes += bytes;
    const end = (): void => {
      this.#pending.delete(work);
      this.#pendingBytes -= bytes;
    };
    return work.then(
      ({ lastOffset }) => {
        end();
        return lastOffset + 1;
      },
      (thrown: unknown) => {
        end();
        // The batch was taken and then refused, so sequence numbers in memory are ahead of the log.
        this.#host.failed(thrown);
        throw thrown;
      },
    );
  }

  /** Appends record batches as a client encoded them. Bytes under the checksum are not changed. */
  async appendBatches(
    batches: readonly Uint8Array[],
    ifEnd: number | undefined,
    sending: Sending = {},
  ): Promise<AppendResult[]> {
    if (this.#closing) await this.settled();
    this.#checkThere();
    if (this.#stream.closed) throw this.#closedConflict();
    const bytes = batches.reduce((sum, batch) => sum + batch.length, 0);
    this.#checkRoom(bytes);
    // All or nothing: everything that any batch can be refused for is checked before the first one is queued, and all
    // are one commit.
    return this.#counted(
      offerAll(this.#stream.log, batches, { ...sending, ...(ifEnd !== undefined && { ifEnd }) }),
      bytes,
    );
  }

  /**
   * Judges and queues a push in one turn. `judge` returns the answer of a push that needs no place in the log, or
   * throws.
   */
  async pushBatches<Answer>(
    bytes: number,
    judge: () => Promise<Answer> | undefined,
    queue: () => Promise<Answer>,
  ): Promise<Answer> {
    if (this.#closing) await this.settled();
    this.#checkThere();
    if (this.#stream.closed) throw this.#closedConflict();
    const known = judge();
    if (known) return known;
    this.#checkRoom(bytes);
    return this.#counted(queue(), bytes);
  }

  /** Counts the bytes of queued work until it is done. */
  async #counted<Result>(work: Promise<Result>, bytes: number): Promise<Result> {
    this.#pendingBytes += bytes;
    const pending = Promise.allSettled([work]);
    this.#pending.add(pending);
    try {
      const result = await work;
      this.#stream.touch();
      return result;
    } finally {
      await pending;
      this.#pending.delete(pending);
      this.#pendingBytes -= bytes;
    }
  }

  /** Resolves once everything that is queued so far is in the log, or has failed. */
  async settled(): Promise<void> {
    await Promise.allSettled([...this.#pending]);
  }

  async #settledTail(): Promise<number> {
    await this.settled();
    return this.#stream.tail;
  }

  /** The answer for a repeat: its records are in the log already, or will be once the queue has settled. */
  async #duplicate(producer: WriterProducer): Promise<AppendOutcome> {
    return { nextOffset: await this.#settledTail(), closed: false, duplicate: true, producer };
  }

  async #closeOnly(request: AppendRequest): Promise<AppendOutcome> {
    const { producer, seq, ifEnd, sending } = request;
    const repeated = producer && this.#host.state.admit(producer, sending);
    if (repeated !== undefined) return this.#duplicate({ ...producer!, seq: repeated });
    // To close is for good: whoever names an end or a sequence wants it only then, as of an append.
    this.#host.state.checkSeq(seq);
    const { logEndOffset } = this.#stream.log;
    const isQueued = this.#pending.size > 0;
    if (ifEnd !== undefined && (isQueued ? ifEnd < logEndOffset : ifEnd !== logEndOffset))
      throw new EdgeError("OFFSET_CONFLICT", `the log ends at ${logEndOffset}, not ${ifEnd}`, { logEndOffset, ifEnd });
    if (ifEnd !== undefined && isQueued) {
      // What is queued moves the end.
      await this.settled();
      return this.#take(request);
    }
    this.#host.state.take(producer, seq, logEndOffset);
    this.#closing = true;
    await this.settled();
    this.#stream.touch();
    try {
      this.#stream.save({ closed: true, closedBy: producer });
      // A close without a record has no offset. It takes effect at the log's end.
      this.#host.state.reached(Infinity);
      this.#stream.saveState(this.#stream.tail);
    } catch (thrown) {
      // A full database refuses the close after it was taken, so memory is ahead of the tables.
      this.#host.failed(thrown);
      throw thrown;
    }
    this.#host.closed();
    return { nextOffset: this.#stream.tail, closed: true, duplicate: false, producer };
  }

  #appendToClosed({ body, closing, producer }: AppendRequest): AppendOutcome {
    const { closedBy } = this.#stream.config;
    const answer = { nextOffset: this.#stream.tail, closed: true, duplicate: true, producer };
    const isSame =
      producer &&
      closedBy &&
      producer.id === closedBy.id &&
      producer.epoch === closedBy.epoch &&
      producer.seq === closedBy.seq;
    if (closing && (isSame || (body.length === 0 && !producer))) return answer;
    throw this.#closedConflict();
  }

  #closedConflict(): EdgeError {
    return new EdgeError("STREAM_CLOSED", "the stream is closed: it can be read, and takes nothing more", {
      nextOffset: this.#stream.tail,
    });
  }

  /** The log has reached this offset. Runs in the transaction of that append. */
  reached(offset: number): void {
    if (this.#closeAt === undefined || offset < this.#closeAt) return;
    this.#stream.save({ closed: true, closedBy: this.#closingBy });
    this.#closeAt = undefined;
  }
}
