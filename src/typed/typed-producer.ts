/**
 * The producer of a topic with a schema or middleware. It has the calls of Producer, and that one behind it.
 *
 *   append ─▶ judged (maybe later) ─▶ middleware ─▶ its turn ─▶ Producer
 *
 * Records go to the log in the order of the calls, however long each is judged. Where nothing is asynchronous a record
 * is in the producer before append() returns, so calls share batches as ever.
 */
import { type ErrorDetails, TidemarkError } from "../errors.ts";
import type { ProducerAck, ProducerBatchAck, ProducerRecord } from "../delivery/producer.ts";
import type { Deserializer } from "../delivery/read-record.ts";
import type { Acks } from "../log/types.ts";
import { type AppendStep, bytesOfMiddleware, type Middleware, type MiddlewareRecord, through } from "./middleware.ts";
import { isPromise, type Judged, mismatch, type Mismatch, mismatchError, textOfThrown } from "./mismatch.ts";
import { RecordHeaders } from "./record-headers.ts";
import { JUDGING_MS, Turns } from "./turns.ts";
import type { Typing } from "./typing.ts";

/** What is used of a producer. What it takes beside the records is passed on: `ifEnd`, or a client's options. */
export interface AnyProducer<More = number> {
  readonly pendingBytes: number;
  append(record: ProducerRecord, acks: Acks, more?: More): Promise<ProducerAck>;
  appendBatch(records: readonly ProducerRecord[], acks: Acks, more?: More): Promise<ProducerBatchAck>;
  /**
   * Resolves when fewer than `bytes` are pending. close() passes `pause`, which waits for `ms` milliseconds. Then a
   * record that no schema or middleware has let pass after JUDGING_MS is CLOSED, and so is every later record.
   */
  drained(bytes?: number, pause?: (ms: number) => Promise<void>): Promise<void>;
}

/** close() looks after this time whether some record is still being judged. Each further pause is twice as long. */
const PAUSE_MS = 250;

type Records = readonly ProducerRecord[];
type Send<A> = (records: Records) => Promise<A>;

/** At least 1: a record of no bytes is waited for like any other. */
const sizeOf = ({ key, value }: ProducerRecord): number => (key?.length ?? 0) + (value?.length ?? 0) || 1;

class Draft implements MiddlewareRecord {
  readonly offset = undefined;
  readonly timestamp: number;
  keyBytes: Uint8Array | null;
  valueBytes: Uint8Array | null;
  readonly #headers: RecordHeaders;

  constructor({ key, value, headers, timestamp }: ProducerRecord) {
    this.keyBytes = key;
    this.valueBytes = value;
    this.#headers = new RecordHeaders(headers);
    this.timestamp = timestamp;
  }
  /** Without a setter: what middleware would put here is no RecordHeaders, so assigning throws. */
  get headers(): RecordHeaders {
    return this.#headers;
  }
  fail(): void {
    throw new TidemarkError("INVALID_ARGUMENT", "fail() is for records that are read: throw instead", { field: "use" });
  }
  /** INVALID_ARGUMENT for a key or a value that middleware has replaced by anything but bytes. */
  toRecord(): ProducerRecord {
    const { timestamp } = this;
    const key = bytesOfMiddleware("keyBytes", this.keyBytes);
    const value = bytesOfMiddleware("valueBytes", this.valueBytes);
    const headers = [...this.#headers];
    return { key, value, timestamp, ...(headers.length > 0 && { headers }) };
  }
}

export interface TypedProducerHost {
  readonly typing: Typing;
  readonly serializer: Deserializer<unknown>;
  /** The middleware of the moment. */
  uses(): readonly Middleware[];
  /** Beyond twice this an append is BACKPRESSURE. */
  readonly inFlightBytesMax: number;
}

export class TypedProducer<More = number> implements AnyProducer<More> {
  readonly #plain: AnyProducer<More>;
  readonly #host: TypedProducerHost;
  readonly #turns = new Turns();
  /** The bytes of records that are being judged or wait for their turn. The plain producer does not have them yet. */
  #bytes = 0;
  readonly #idle: (() => void)[] = [];

  constructor(plain: AnyProducer<More>, host: TypedProducerHost) {
    this.#plain = plain;
    this.#host = host;
  }

  /** Bytes of records that are being judged, wait, or are in flight. */
  get pendingBytes(): number {
    return this.#bytes + this.#plain.pendingBytes;
  }

  async drained(bytes = 1, pause?: (ms: number) => Promise<void>): Promise<void> {
    if (pause) void this.#end(pause);
    while (this.pendingBytes >= bytes) {
      if (this.#plain.pendingBytes >= bytes) await this.#plain.drained(bytes);
      else await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  async #end(pause: (ms: number) => Promise<void>): Promise<void> {
    // In pauses that double, a little more than JUDGING_MS together: one alone would keep a process alive that has
    // nothing left to wait for, and timers of a hidden page may be a minute late each.
    for (let ms = PAUSE_MS; ms < JUDGING_MS && this.#bytes > 0; ms *= 2) await pause(ms);
    const { topic } = this.#host.typing;
    const message = "closed before schema or middleware let this append pass";
    this.#turns.end(new TidemarkError("CLOSED", message, { topic, reason: "closed" }));
  }

  append(record: ProducerRecord, acks: Acks, more?: More): Promise<ProducerAck> {
    return this.#run([record], acks, false, ([only]) => this.#plain.append(only!, acks, more));
  }

  appendBatch(records: readonly ProducerRecord[], acks: Acks, more?: More): Promise<ProducerBatchAck> {
    return this.#run(records, acks, true, (all) => this.#plain.appendBatch(all, acks, more));
  }

  #run<A extends ProducerAck>(records: Records, acks: Acks, whole: boolean, send: Send<A>): Promise<A> {
    const uses = this.#host.uses();
    try {
      const checked = this.#checked(records, whole);
      if (this.#turns.isEmpty && uses.length === 0 && !isPromise(checked)) return send(checked);
      const bytes = records.reduce((sum, record) => sum + sizeOf(record), 0);
      // Records that find no room are refused for that. What an asynchronous schema says of them is heard by nobody.
      if (isPromise(checked)) checked.catch(() => undefined);
      this.#checkRoom(bytes);
      return this.#inTurn(checked, bytes, send, { uses, acks });
    } catch (thrown) {
      return Promise.reject(thrown);
    }
  }

  #checkRoom(bytes: number): void {
    const { inFlightBytesMax } = this.#host;
    const { pendingBytes } = this;
    if (pendingBytes < inFlightBytesMax || pendingBytes + bytes <= 2 * inFlightBytesMax) return;
    throw new TidemarkError("BACKPRESSURE", "too many bytes wait for their ack: await appends", {
      pendingBytes,
      inFlightBytesMax,
    });
  }

  /** A call that can't go on at once. Nothing of it is appended if it fails before it has gone on. */
  async #inTurn<A extends ProducerAck>(
    checked: Records | Promise<Records>,
    bytes: number,
    send: Send<A>,
    { uses, acks }: { readonly uses: readonly Middleware[]; readonly acks: Acks },
  ): Promise<A> {
    const turn = this.#turns.take();
    let waiting = bytes;
    this.#bytes += bytes;
    // From then on the producer counts them, or they have failed.
    const passed = (): void => {
      this.#bytes -= waiting;
      waiting = 0;
      for (const resolve of this.#idle.splice(0)) resolve();
    };
    try {
      // The first await is here: middleware begins in the order of the calls.
      const records = await Promise.race([checked, turn.ended]);
      const drafts = uses.length === 0 ? undefined : Object.freeze(records.map((record) => new Draft(record)));
      const centre = (): Promise<A> =>
        turn.go(() => {
          const acked = send(drafts ? drafts.map((draft) => draft.toRecord()) : records);
          passed();
          return acked;
        });
      if (!drafts) return await centre();
      const step: AppendStep = { operation: "append", topic: this.#host.typing.topic, records: drafts, acks };
      return await Promise.race([through(uses, step, centre), turn.ended]);
    } finally {
      turn.leave();
      passed();
    }
  }

  /** The records with their headers, if all fit. Throws or rejects with SCHEMA_MISMATCH for the first that does not. */
  #checked(records: Records, whole: boolean): Records | Promise<Records> {
    const { typing } = this.#host;
    if (!typing.hasSchema) return records;
    const judged = records.map((record) => this.#judged(record));
    const taken = (all: readonly Judged[]): Records =>
      records.map((record, at) => {
        const one = all[at]!;
        if (one.issues) throw this.#refusal(one, record, whole ? at : undefined);
        const headers = typing.stamped(record.headers);
        return headers === record.headers ? record : { ...record, headers };
      });
    return judged.some(isPromise) ? Promise.all(judged).then(taken) : taken(judged as Judged[]);
  }

  #judged({ value, headers = [] }: ProducerRecord): Judged | Promise<Judged> {
    const { typing, serializer } = this.#host;
    let read: unknown;
    try {
      read = value === null ? null : serializer.deserialize(value);
    } catch (cause) {
      return mismatch(`the serializer can't read what it made of the value: ${textOfThrown(cause)}`, cause);
    }
    return typing.fits(read, headers, value === null);
  }

  #refusal(one: Mismatch, { headers = [] }: ProducerRecord, at: number | undefined): TidemarkError {
    const { typing } = this.#host;
    const type = typing.typeOf(headers);
    const details: ErrorDetails = {
      topic: typing.topic,
      ...(type !== undefined && { type }),
      ...(at !== undefined && { record: at }),
    };
    return mismatchError(at === undefined ? "the value" : `records[${at}]`, one, details);
  }
}
