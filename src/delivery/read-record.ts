/**
 * Records of one checked batch, as a reader gets them.
 *
 *   of readBatches()   ReadRecord    decodes a field each time it is read, so fields that nobody reads cost nothing
 *   of read()          PlainRecord   has every field as an own property: it can be spread, logged, compared and kept
 */
import { TidemarkError } from "../errors.ts";
import { PROVISIONAL_FROM } from "../log/provisional-layout.ts";
import { textDecoder } from "../record/bytes.ts";

/** A checked batch, whoever has checked it: the kernel (record-batch.ts), or a client without one (src/client). */
export interface CheckedBatch {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly count: number;
  offsetAt(i: number): number;
  idAt(i: number): string;
  timestampAt(i: number): number;
  keyAt(i: number): Uint8Array | null;
  valueAt(i: number): Uint8Array | null;
  headersAt(i: number): RawHeaders;
}

/** The part of a serializer that a reader needs. */
export interface Deserializer<T> {
  deserialize(bytes: Uint8Array): T;
}

export type RawHeaders = readonly (readonly [name: string, value: Uint8Array | null])[];
export type TextHeaders = Readonly<Record<string, string | null>>;

/** The fields that JSON and a console show of a record. */
export interface ShownRecord<V> {
  readonly offset: number;
  readonly timestamp: number;
  readonly key: string | null;
  readonly value: V | null;
  readonly headers: TextHeaders;
}

// A byte-order mark is part of the text and is kept.
export const textOf = (bytes: Uint8Array | null): string | null => (bytes === null ? null : textDecoder.decode(bytes));

/** Most records have no headers and share these. */
const NO_RAW_HEADERS: RawHeaders = Object.freeze([]);
const NO_HEADERS: TextHeaders = Object.freeze(Object.create(null) as TextHeaders);

function rawHeadersAt(batch: CheckedBatch, at: number): RawHeaders {
  const headers = batch.headersAt(at);
  return headers.length === 0 ? NO_RAW_HEADERS : headers;
}

export function textHeadersOf(raw: RawHeaders): TextHeaders {
  if (raw.length === 0) return NO_HEADERS;
  // No prototype, because a header may be named like a method.
  const headers = Object.create(null) as Record<string, string | null>;
  for (const [name, value] of raw) headers[name] = textOf(value);
  return headers;
}

export function valueOf<V>(bytes: Uint8Array | null, offset: number, serializer: Deserializer<V>): V | null {
  if (bytes === null) return null;
  try {
    return serializer.deserialize(bytes);
  } catch (cause) {
    if (cause instanceof TidemarkError) throw cause;
    const message =
      `the serializer can't read the value at offset ${offset} (${String(cause)}); ` + "valueBytes has its bytes";
    throw new TidemarkError("UNSUPPORTED_FORMAT", message, { offset }, { cause });
  }
}

export const shownOf = <V>({ offset, timestamp, key, value, headers }: ShownRecord<V>): ShownRecord<V> => ({
  offset,
  timestamp,
  key,
  value,
  headers,
});

const INSPECT: unique symbol = Symbol.for("nodejs.util.inspect.custom");

export class ReadRecord<V> {
  readonly #batch: CheckedBatch;
  readonly #at: number;
  readonly #serializer: Deserializer<V>;

  constructor(batch: CheckedBatch, at: number, serializer: Deserializer<V>) {
    this.#batch = batch;
    this.#at = at;
    this.#serializer = serializer;
  }
  get offset(): number {
    return this.#batch.offsetAt(this.#at);
  }
  get id(): string {
    return this.#batch.idAt(this.#at);
  }
  get provisional(): boolean {
    return this.offset >= PROVISIONAL_FROM;
  }
  get timestamp(): number {
    return this.#batch.timestampAt(this.#at);
  }
  get keyBytes(): Uint8Array | null {
    return this.#batch.keyAt(this.#at);
  }
  get key(): string | null {
    return textOf(this.keyBytes);
  }
  get valueBytes(): Uint8Array | null {
    return this.#batch.valueAt(this.#at);
  }
  get value(): V | null {
    return valueOf(this.valueBytes, this.offset, this.#serializer);
  }
  get rawHeaders(): RawHeaders {
    return rawHeadersAt(this.#batch, this.#at);
  }
  get headers(): TextHeaders {
    return textHeadersOf(this.rawHeaders);
  }
  toJSON(): ShownRecord<V> {
    return shownOf<V>(this);
  }
  [INSPECT](): ShownRecord<V> {
    return this.toJSON();
  }
}

export class PlainRecord<V> {
  readonly offset: number;
  readonly id: string;
  readonly provisional: boolean;
  readonly timestamp: number;
  readonly key: string | null;
  readonly value!: V | null;
  readonly headers: TextHeaders;
  readonly keyBytes: Uint8Array | null;
  readonly valueBytes: Uint8Array | null;
  readonly rawHeaders: RawHeaders;

  constructor(batch: CheckedBatch, at: number, serializer: Deserializer<V>) {
    const offset = batch.offsetAt(at);
    const keyBytes = batch.keyAt(at);
    const valueBytes = batch.valueAt(at);
    const rawHeaders = rawHeadersAt(batch, at);
    this.offset = offset;
    this.id = batch.idAt(at);
    this.provisional = offset >= PROVISIONAL_FROM;
    this.timestamp = batch.timestampAt(at);
    this.key = textOf(keyBytes);
    try {
      (this as { value: V | null }).value = valueOf(valueBytes, offset, serializer);
    } catch (thrown) {
      // The error is thrown when this value is read. Reading the record's other fields, or other records, goes on.
      const get = (): never => {
        throw thrown;
      };
      Object.defineProperty(this, "value", { get, enumerable: true });
    }
    this.headers = textHeadersOf(rawHeaders);
    this.keyBytes = keyBytes;
    this.valueBytes = valueBytes;
    this.rawHeaders = rawHeaders;
  }
  toJSON(): ShownRecord<V> {
    return shownOf<V>(this);
  }
}

/** A record of either kind, also of a topic with a schema (src/typed). */
export type AnyRecord<V> = Omit<ReadRecord<V>, typeof INSPECT>;

/** A batch as its reader gets it. */
export interface AnyBatch<V> extends Iterable<AnyRecord<V>> {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly count: number;
  /** Record n of them, from 0, with every field as an own property. */
  plain(n: number): PlainRecord<V>;
}

/** The records of one batch that are inside the read's range. */
export class ReadBatch<V> implements AnyBatch<V> {
  readonly #batch: CheckedBatch;
  readonly #serializer: Deserializer<V>;
  readonly #first: number;
  readonly #end: number;
  readonly baseOffset: number;
  readonly nextOffset: number;

  constructor(batch: CheckedBatch, from: number, to: number, serializer: Deserializer<V>) {
    this.#batch = batch;
    this.#serializer = serializer;
    let first = 0;
    let end = batch.count;
    while (first < end && batch.offsetAt(first) < from) first++;
    while (end > first && batch.offsetAt(end - 1) >= to) end--;
    this.#first = first;
    this.#end = end;
    this.baseOffset = first < end ? batch.offsetAt(first) : Math.max(from, batch.baseOffset);
    this.nextOffset = Math.min(to, batch.nextOffset);
  }
  get count(): number {
    return this.#end - this.#first;
  }
  *[Symbol.iterator](): IterableIterator<ReadRecord<V>> {
    for (let i = this.#first; i < this.#end; i++) yield new ReadRecord(this.#batch, i, this.#serializer);
  }
  plain(n: number): PlainRecord<V> {
    return new PlainRecord(this.#batch, this.#first + n, this.#serializer);
  }
}
