/**
 * The pulling reader: fetches raw batches one step ahead, checks their checksums here, at the end of their way, and hands
 * them out whole; a record is decoded when it is looked at.
 *
 * Damage ends a read with CORRUPT_RANGE (details from, to). A batch that fails its check here makes the reader ask the log
 * to verify the segment, so that the range is exact and no good record behind it is skipped along.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import type { Fetched, FetchOptions, Isolation, StartPosition } from "../log/types.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../record/record-batch.ts";
import type { Serializer } from "./serializer.ts";

/** What a reader needs of a log; `LogApi` has it, and so has a port to one. */
export interface ReadSource {
  fetch(from: number, options: FetchOptions): Promise<Fetched>;
  resolve(position: StartPosition, isolation?: Isolation): Promise<number>;
}

export interface ReaderOptions {
  readonly from?: StartPosition;
  readonly to?: number;
  readonly follow?: boolean;
  readonly isolation?: Isolation;
  readonly signal?: AbortSignal;
  readonly maxBytes?: number;
}

const decoder = new TextDecoder();
const textOf = (bytes: Uint8Array | null): string | null => (bytes === null ? null : decoder.decode(bytes));

export class ReadRecord<V> {
  readonly #batch: RecordBatch;
  readonly #at: number;
  readonly #serializer: Serializer<V>;

  constructor(batch: RecordBatch, at: number, serializer: Serializer<V>) {
    this.#batch = batch;
    this.#at = at;
    this.#serializer = serializer;
  }
  get offset(): number {
    return this.#batch.offsetAt(this.#at);
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
    const bytes = this.valueBytes;
    return bytes === null ? null : this.#serializer.deserialize(bytes);
  }
  get headers(): Readonly<Record<string, string | null>> {
    // No prototype: a header may be named like a method.
    const headers = Object.create(null) as Record<string, string | null>;
    for (const [name, value] of this.#batch.headersAt(this.#at)) headers[name] = textOf(value);
    return headers;
  }
}

/** The records of one batch that lie inside the read's range. */
export class ReadBatch<V> implements Iterable<ReadRecord<V>> {
  readonly #batch: RecordBatch;
  readonly #serializer: Serializer<V>;
  readonly #first: number;
  readonly #end: number;
  readonly baseOffset: number;
  readonly nextOffset: number;

  constructor(batch: RecordBatch, from: number, to: number, serializer: Serializer<V>) {
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
}

export async function* readBatches<V>(source: ReadSource, kernel: Kernel, serializer: Serializer<V>, options: ReaderOptions): AsyncGenerator<ReadBatch<V>> {
  const { isolation = "committed", follow = false, maxBytes = 1024 * 1024, signal } = options;
  signal?.throwIfAborted();
  let offset = await source.resolve(options.from ?? "earliest", isolation);
  const to = options.to ?? (follow ? Infinity : await source.resolve("latest", isolation));
  // The read's own end stops a fetch that runs ahead.
  const ended = new AbortController();
  const abort = () => ended.abort(signal!.reason);
  signal?.addEventListener("abort", abort, { once: true });
  const fetchOptions: FetchOptions = { maxBytes, isolation, wait: follow, signal: ended.signal };
  const fetch = (from: number): Promise<Fetched> => {
    const fetched = source.fetch(from, fetchOptions);
    // Looked at when its turn comes; until then a failure is not unhandled.
    fetched.catch(() => undefined);
    return fetched;
  };
  try {
    let ahead = offset < to ? fetch(offset) : undefined;
    while (ahead) {
      const fetched = await ahead;
      if (fetched.bytes.length === 0 && fetched.nextOffset <= offset) return;
      ahead = fetched.nextOffset < to ? fetch(fetched.nextOffset) : undefined;
      const { batches, nextOffset } = await decodeAll(source, kernel, fetched, offset, fetchOptions);
      // A verified answer ends before the damage: what was fetched ahead of it would skip it in silence.
      if (nextOffset !== fetched.nextOffset) ahead = nextOffset < to ? fetch(nextOffset) : undefined;
      for (const batch of batches) {
        signal?.throwIfAborted();
        const part = new ReadBatch(batch, offset, to, serializer);
        // Control batches speak to the log, not to its readers.
        if (!batch.isControl && part.count > 0) yield part;
      }
      offset = nextOffset;
    }
  } finally {
    signal?.removeEventListener("abort", abort);
    ended.abort(new TidemarkError("CLOSED", "the read has ended"));
  }
}

interface Decoded {
  readonly batches: RecordBatch[];
  readonly nextOffset: number;
}

async function decodeAll(source: ReadSource, kernel: Kernel, fetched: Fetched, from: number, options: FetchOptions): Promise<Decoded> {
  try {
    return { batches: await decodeOnce(kernel, fetched.bytes), nextOffset: fetched.nextOffset };
  } catch (thrown) {
    if (!(thrown instanceof TidemarkError && ["CORRUPT_RANGE", "INVALID_BATCH"].includes(thrown.code))) throw thrown;
    // Whether the disk or the way here is to blame: the log looks at the disk and throws the exact range, or sends again
    // what stands before it. What is bad even then was changed on the way.
    const { bytes, nextOffset } = await source.fetch(from, { ...options, wait: false, verify: true });
    return { batches: await decodeOnce(kernel, bytes), nextOffset };
  }
}

async function decodeOnce(kernel: Kernel, bytes: Uint8Array): Promise<RecordBatch[]> {
  const batches: RecordBatch[] = [];
  for (const each of splitBatches(bytes)) {
    const batch = decodeBatch(kernel, each);
    batches.push(batch instanceof Promise ? await batch : batch);
  }
  return batches;
}
