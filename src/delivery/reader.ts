/**
 * The pulling reader: fetches raw batches one step ahead, checks their checksums here, at the end of their way, and
 * hands them out whole; a record is decoded when it is looked at.
 *
 * Damage ends a read with CORRUPT_RANGE (details from, to). A batch that fails its check here makes the reader ask the
 * log to verify the segment, so that the range is exact and no good record behind it is skipped along.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import type { Fetched, FetchOptions, Isolation, StartPosition } from "../log/types.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../record/record-batch.ts";
import { type Deserializer, ReadBatch } from "./read-record.ts";
import { BatchReading } from "./reading.ts";

/** What a reader needs of a log; `LogApi` has it, and so has a port to one. */
export interface ReadSource {
  fetch(from: number, options: FetchOptions): Promise<Fetched>;
  resolve(position: StartPosition, isolation?: Isolation): Promise<number>;
}

/** Of a topic's reads, in the browser and at the edge. */
export interface ReaderOptions {
  /** Default "earliest". "latest" is the end as of the call of read(). */
  readonly from?: StartPosition | undefined;
  /** Stop before this offset. Default: the end as of the start of the read, or never when following. */
  readonly to?: number | undefined;
  /** Stay and deliver what arrives. Default false. */
  readonly follow?: boolean | undefined;
  /** Default "committed". */
  readonly isolation?: Isolation | undefined;
  /** `abort()` ends a follow as if there were no more. Another reason, and any abort of another read, is thrown. */
  readonly signal?: AbortSignal | undefined;
  /** Bytes per fetch, one fetch ahead. Default 1 MiB. */
  readonly maxBytes?: number | undefined;
}

/**
 * Begins at once: "latest" is the end as of this call, and so is the end of a read that does not follow. Batches are
 * fetched from the first next() on. return(), throw() and an abort end it at once, also while it waits. An abort
 * rejects with the signal's reason; only a read that follows, which has no end of its own, ends with a plain `abort()`
 * as if there were no more.
 */
export function readBatches<V>(
  source: ReadSource,
  kernel: Kernel | Promise<Kernel>,
  serializer: Deserializer<V>,
  options: ReaderOptions = {},
): BatchReading<ReadBatch<V>> {
  const { isolation = "committed", follow = false, maxBytes = 1024 * 1024, signal } = options;
  const ended = new AbortController();
  const fetchOptions: FetchOptions = { maxBytes, isolation, wait: follow, signal: ended.signal };
  const to = options.to ?? (follow ? Infinity : source.resolve("latest", isolation));
  const range = Promise.all([source.resolve(options.from ?? "earliest", isolation), to]);
  // Told to whoever asks for the first batch.
  range.catch(() => undefined);
  return new BatchReading(fetchAll(source, kernel, serializer, range, fetchOptions), ended, { follow, signal });
}

async function* fetchAll<V>(
  source: ReadSource,
  kernel: Kernel | Promise<Kernel>,
  serializer: Deserializer<V>,
  range: Promise<readonly [number, number]>,
  options: FetchOptions,
): AsyncGenerator<ReadBatch<V>, void> {
  const fetch = (from: number): Promise<Fetched> => {
    const fetched = source.fetch(from, options);
    // Looked at when its turn comes; until then a failure is not unhandled.
    fetched.catch(() => undefined);
    return fetched;
  };
  const [from, to] = await range;
  let offset = from;
  let ahead = offset < to ? fetch(offset) : undefined;
  while (ahead) {
    const fetched = await ahead;
    if (fetched.bytes.length === 0 && fetched.nextOffset <= offset) return;
    ahead = fetched.nextOffset < to ? fetch(fetched.nextOffset) : undefined;
    const { batches, nextOffset } = await decodeAll(source, await kernel, fetched, offset, options);
    // A verified answer ends before the damage: what was fetched ahead of it would skip it in silence.
    if (nextOffset !== fetched.nextOffset) ahead = nextOffset < to ? fetch(nextOffset) : undefined;
    for (const batch of batches) {
      const part = new ReadBatch(batch, offset, to, serializer);
      // Control batches speak to the log, not to its readers.
      if (!batch.isControl && part.count > 0) yield part;
    }
    offset = nextOffset;
  }
}

interface Decoded {
  readonly batches: RecordBatch[];
  readonly nextOffset: number;
}

async function decodeAll(
  source: ReadSource,
  kernel: Kernel,
  fetched: Fetched,
  from: number,
  options: FetchOptions,
): Promise<Decoded> {
  try {
    return { batches: await decodeOnce(kernel, fetched.bytes), nextOffset: fetched.nextOffset };
  } catch (thrown) {
    if (!(thrown instanceof TidemarkError && ["CORRUPT_RANGE", "INVALID_BATCH"].includes(thrown.code))) throw thrown;
    // Whether the disk or the way here is to blame: the log looks at the disk and throws the exact range, or sends
    // again what stands before it. What is bad even then was changed on the way.
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
