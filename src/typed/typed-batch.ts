/**
 * Records of one stored batch as a reader of a typed topic gets them: through the middleware, from the log outwards,
 * then through the schema. All of a batch are made before the first is handed out, because either may be asynchronous.
 */
import { TidemarkError } from "../errors.ts";
import {
  type AnyBatch,
  type Deserializer,
  type RawHeaders,
  type ReadBatch,
  type ReadRecord,
  shownOf,
  type ShownRecord,
  textHeadersOf,
  type TextHeaders,
  textOf,
  valueOf,
} from "../delivery/read-record.ts";
import { bytesOfMiddleware, type Middleware, type MiddlewareRecord, through } from "./middleware.ts";
import { isPromise, type Judged, mismatch, type Mismatch, mismatchError } from "./mismatch.ts";
import { RecordHeaders } from "./record-headers.ts";
import type { Typing } from "./typing.ts";

/** A record while middleware has it, on its way to a reader. */
class ReadDraft implements MiddlewareRecord {
  readonly #record: ReadRecord<unknown>;
  readonly offset: number;
  readonly timestamp: number;
  keyBytes: Uint8Array | null;
  valueBytes: Uint8Array | null;
  readonly #headers: RecordHeaders;
  failure: { readonly thrown: unknown } | undefined;

  constructor(record: ReadRecord<unknown>) {
    this.#record = record;
    this.offset = record.offset;
    this.timestamp = record.timestamp;
    this.keyBytes = record.keyBytes;
    this.valueBytes = record.valueBytes;
    this.#headers = new RecordHeaders(record.rawHeaders);
  }
  get headers(): RecordHeaders {
    return this.#headers;
  }
  get id(): string {
    return this.#record.id;
  }
  get provisional(): boolean {
    return this.#record.provisional;
  }
  get rawHeaders(): RawHeaders {
    return this.#headers.isChanged ? [...this.#headers] : this.#record.rawHeaders;
  }
  fail(error: unknown): void {
    this.failure ??= { thrown: error };
  }
  /** A record whose key or value middleware has replaced by anything but bytes fails. */
  check(): void {
    for (const field of ["keyBytes", "valueBytes"] as const)
      try {
        this[field] = bytesOfMiddleware(field, this[field]);
      } catch (thrown) {
        this.fail(thrown);
        this[field] = null;
      }
  }
}

type Source = Pick<ReadRecord<unknown>, "offset" | "id" | "provisional" | "timestamp" | "keyBytes" | "valueBytes"> & {
  readonly rawHeaders: RawHeaders;
  readonly failure?: { readonly thrown: unknown } | undefined;
};

/** A plain record (PlainRecord has the same fields), with its event's type if its topic has such. */
export class TypedRecord<V = unknown> {
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
  declare readonly type?: string;

  constructor(from: Source, type: string | undefined) {
    this.offset = from.offset;
    this.id = from.id;
    this.provisional = from.provisional;
    this.timestamp = from.timestamp;
    this.key = textOf(from.keyBytes);
    if (type !== undefined) this.type = type;
    this.value = null;
    this.headers = textHeadersOf(from.rawHeaders);
    this.keyBytes = from.keyBytes;
    this.valueBytes = from.valueBytes;
    this.rawHeaders = from.rawHeaders;
  }
  toJSON(): ShownRecord<V> {
    return shownOf<V>(this);
  }
}

function give(record: TypedRecord, value: unknown): void {
  (record as { value: unknown }).value = value;
}

/** Makes `record.value` throw this error. The record's other fields, and other records, can be read. */
function giveError(record: TypedRecord, thrown: unknown): void {
  const get = (): never => {
    throw thrown;
  };
  Object.defineProperty(record, "value", { get, enumerable: true, configurable: true });
}

export class TypedBatch<V> implements AnyBatch<V> {
  readonly baseOffset: number;
  readonly nextOffset: number;
  readonly #records: readonly TypedRecord<V>[];

  constructor({ baseOffset, nextOffset }: ReadBatch<unknown>, records: readonly TypedRecord<V>[]) {
    this.baseOffset = baseOffset;
    this.nextOffset = nextOffset;
    this.#records = records;
  }
  /** The number of records, without those that onInvalid leaves out. */
  get count(): number {
    return this.#records.length;
  }
  [Symbol.iterator](): IterableIterator<TypedRecord<V>> {
    return this.#records[Symbol.iterator]();
  }
  plain(n: number): TypedRecord<V> {
    return this.#records[n]!;
  }
}

export class TypedReader {
  readonly #typing: Typing;
  readonly #serializer: Deserializer<unknown>;
  readonly #uses: () => readonly Middleware[];

  /** `uses` gives the middleware of the moment. */
  constructor(typing: Typing, serializer: Deserializer<unknown>, uses: () => readonly Middleware[]) {
    this.#typing = typing;
    this.#serializer = serializer;
    this.#uses = uses;
  }

  async batch(batch: ReadBatch<unknown>): Promise<TypedBatch<unknown>> {
    const uses = this.#uses();
    let sources: readonly Source[] = [...batch];
    if (uses.length > 0) {
      const drafts = Object.freeze([...batch].map((record) => new ReadDraft(record)));
      const step = { operation: "read", topic: this.#typing.topic, records: drafts } as const;
      await through(uses, step, () => Promise.resolve(undefined));
      for (const draft of drafts) draft.check();
      sources = drafts;
    }
    const made = sources.map((source) => this.#record(source));
    const records = made.some(isPromise) ? await Promise.all(made) : (made as (TypedRecord | undefined)[]);
    return new TypedBatch(
      batch,
      records.filter((record) => record !== undefined),
    );
  }

  /** Undefined for a record that is left out. */
  #record(source: Source): TypedRecord | undefined | Promise<TypedRecord | undefined> {
    const { rawHeaders, valueBytes, offset, failure } = source;
    const record = new TypedRecord(source, this.#typing.typeOf(rawHeaders));
    if (failure) {
      giveError(record, failure.thrown);
      return record;
    }
    let value: unknown;
    try {
      value = valueOf(valueBytes, offset, this.#serializer);
    } catch (thrown) {
      giveError(record, thrown);
      const error = TidemarkError.from(thrown);
      return this.#typing.hasSchema ? this.#unfit(record, mismatch(error.toWire().message, thrown), thrown) : record;
    }
    give(record, value);
    const judged = this.#typing.read(value, rawHeaders, valueBytes === null);
    return isPromise(judged)
      ? Promise.resolve(judged).then((one) => this.#took(record, one))
      : this.#took(record, judged);
  }

  #took(record: TypedRecord, judged: Judged): TypedRecord | undefined | Promise<TypedRecord | undefined> {
    if (judged.issues) return this.#unfit(record, judged);
    give(record, judged.value);
    return record;
  }

  #unfit(
    record: TypedRecord,
    found: Mismatch,
    error?: unknown,
  ): TypedRecord | undefined | Promise<TypedRecord | undefined> {
    const { onInvalid, topic } = this.#typing;
    if (onInvalid === "skip") return undefined;
    const { offset, type } = record;
    if (onInvalid === "throw") {
      const details = { topic, offset, ...(type !== undefined && { type }) };
      giveError(record, error ?? mismatchError(`the record at offset ${offset}`, found, details));
      return record;
    }
    const fixed = (value: unknown): TypedRecord => {
      Object.defineProperty(record, "value", { value, enumerable: true, configurable: true, writable: true });
      return record;
    };
    try {
      const value = onInvalid(record, found.issues);
      return isPromise(value) ? Promise.resolve(value).then(fixed) : fixed(value);
    } catch (thrown) {
      // What onInvalid throws ends the read. It is a rejection, because records before this one may still be judged,
      // and the read waits for those first.
      return Promise.reject(thrown);
    }
  }
}
