/**
 * Async iterators that end as soon as their reader asks. An async generator alone can't: its return() waits for the
 * next() under way, which may wait for a record that never comes.
 *
 *   next()      ──▶ the generator's next batch ──┐
 *   return(), throw(), an abort ─────────────────┴─▶ waiting calls are answered at once; the generator's fetch ends
 */
import { TidemarkError } from "../errors.ts";
import type { AnyBatch, PlainRecord } from "./read-record.ts";

type Result<T> = IteratorResult<T, undefined>;
const DONE = { done: true, value: undefined } as const;

interface Call<T> {
  readonly resolve: (result: Result<T>) => void;
  readonly reject: (reason: unknown) => void;
}

export interface Endable {
  readonly signal?: AbortSignal | undefined;
  /** The read has no end of its own, so a plain abort() is its normal end. Any other reason is thrown. */
  readonly follow?: boolean | undefined;
}

/**
 * The prototype of the platform's own async iterators, so that newer methods of theirs (`await using`) work here too.
 */
const AsyncIterators = Object.getPrototypeOf(Object.getPrototypeOf(async function* () {}.prototype)) as object;

export class BatchReading<T> implements AsyncIterableIterator<T, undefined> {
  readonly #source: AsyncGenerator<T, void>;
  readonly #ended: AbortController;
  readonly #by: Endable;
  readonly #calls = new Set<Call<T>>();
  #begun = false;
  /** The reason of an abort that came while no call waited. The next call throws it. */
  #failure: { readonly thrown: unknown } | undefined;
  isOver = false;

  /** The fetches of `source` must use the signal of `ended`. */
  constructor(source: AsyncGenerator<T, void>, ended: AbortController, by: Endable) {
    this.#source = source;
    this.#ended = ended;
    this.#by = by;
  }

  next(): Promise<Result<T>> {
    if (!this.#begun) this.#begin();
    if (this.#failure) {
      const { thrown } = this.#failure;
      this.#failure = undefined;
      return Promise.reject(thrown);
    }
    if (this.isOver) return Promise.resolve(DONE);
    return new Promise((resolve, reject) => {
      const call = { resolve, reject };
      this.#calls.add(call);
      this.#source.next().then(
        (result) => {
          this.#calls.delete(call);
          if (result.done) this.#end();
          resolve(result.done ? DONE : result);
        },
        (thrown: unknown) => {
          this.#calls.delete(call);
          this.#end();
          reject(thrown);
        },
      );
    });
  }

  return(): Promise<Result<T>> {
    this.#end();
    return Promise.resolve(DONE);
  }

  throw(thrown?: unknown): Promise<Result<T>> {
    this.#end();
    return Promise.reject(thrown);
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  readonly #abort = (): void => {
    if (this.isOver) return;
    const [first] = this.#calls;
    const thrown: unknown = this.#by.signal!.reason;
    const isPlain = (thrown as { name?: unknown } | null | undefined)?.name === "AbortError";
    if (!this.#by.follow || !isPlain) {
      if (first) first.reject(thrown);
      else this.#failure = { thrown };
    }
    this.#end();
  };

  #begin(): void {
    this.#begun = true;
    const { signal } = this.#by;
    if (signal?.aborted) this.#abort();
    else if (!this.isOver) signal?.addEventListener("abort", this.#abort);
  }

  #end(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.#by.signal?.removeEventListener("abort", this.#abort);
    for (const { resolve } of this.#calls) resolve(DONE);
    this.#calls.clear();
    this.#ended.abort(new TidemarkError("CLOSED", "the read has ended"));
    // Its fetch was cancelled, so the generator ends as well. How it ends does not matter.
    this.#source.return().catch(() => undefined);
  }
}

type Batches<V> = Pick<BatchReading<AnyBatch<V>>, "next" | "return" | "throw" | "isOver">;

/**
 * The records of those batches, one by one. While a batch is at hand next() resolves without waiting for another call.
 */
export class RecordReading<V> implements AsyncIterableIterator<PlainRecord<V>, undefined> {
  readonly #batches: Batches<V>;
  #batch: AnyBatch<V> | undefined;
  #at = 0;
  /** Number of calls that wait for the next batch; they are answered in order. */
  #waiting = 0;
  #turn: Promise<unknown> = Promise.resolve();

  constructor(batches: Batches<V>) {
    this.#batches = batches;
  }

  next(): Promise<Result<PlainRecord<V>>> {
    if (this.#waiting === 0 && this.#hasRecord()) return Promise.resolve(this.#take());
    this.#waiting++;
    const result = this.#turn.then(() => this.#advance());
    this.#turn = result.catch(() => undefined);
    return result;
  }

  return(): Promise<Result<PlainRecord<V>>> {
    return this.#batches.return() as Promise<Result<never>>;
  }

  throw(thrown?: unknown): Promise<Result<PlainRecord<V>>> {
    return this.#batches.throw(thrown) as Promise<Result<never>>;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  #hasRecord(): boolean {
    return this.#batch !== undefined && this.#at < this.#batch.count && !this.#batches.isOver;
  }

  #take(): Result<PlainRecord<V>> {
    return { done: false, value: this.#batch!.plain(this.#at++) };
  }

  async #advance(): Promise<Result<PlainRecord<V>>> {
    try {
      while (!this.#hasRecord()) {
        this.#batch = undefined;
        const next = await this.#batches.next();
        if (next.done) return DONE;
        this.#batch = next.value;
        this.#at = 0;
      }
      return this.#take();
    } finally {
      this.#waiting--;
    }
  }
}

for (const reading of [BatchReading, RecordReading]) Object.setPrototypeOf(reading.prototype, AsyncIterators);
