/**
 * The pulling reader. It fetches raw batches, from the second time on one step ahead. It verifies their checksums here,
 * as the last step before the application, and hands out whole batches. A record is decoded when it is read.
 *
 * Damage ends a read with CORRUPT_RANGE (details from, to). When a batch fails its check here, the reader asks the log
 * to verify the segment, so that the range is exact and no good record behind the damage is skipped with it.
 */
import { TidemarkError } from "../errors.ts";
import type { Kernel } from "../kernel/types.ts";
import type { Fetched, FetchOptions, Isolation, StartPosition } from "../log/types.ts";
import { decodeBatch, type RecordBatch, splitBatches } from "../record/record-batch.ts";
import { type AnyBatch, type Deserializer, ReadBatch } from "./read-record.ts";
import { BatchReading } from "./reading.ts";

/** What a reader needs of a log. `LogApi` has it, and so does a port to a log. */
export interface ReadSource {
  fetch(from: number, options: FetchOptions): Promise<Fetched>;
  resolve(position: StartPosition, isolation?: Isolation): Promise<number>;
  /** What a batch becomes in a topic with a schema or middleware (src/typed). */
  typed?<V>(batch: ReadBatch<V>): Promise<AnyBatch<V>>;
}

/** The options of a topic's reads, in the browser and at the edge. */
export interface ReaderOptions {
  /**
   * Default "earliest". "latest" is the end as of the call of read(). If retention removes the place before the first
   * records are fetched, the read begins where the log then begins; an offset is OFFSET_OUT_OF_RANGE.
   */
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
 * Begins at once: "latest" is the log's end as of this call, and so is the end of a read that does not follow. Batches
 * are fetched from the first next() on. return(), throw() and an abort end the read at once, even while it waits. An
 * abort rejects with the signal's reason. Only a read that follows, which has no end of its own, ends without an error
 * on a plain `abort()`, as if there were no more records.
 */
export function readBatches<V>(
  source: ReadSource,
  kernel: Kernel | Promise<Kernel>,
  serializer: Deserializer<V>,
  options: ReaderOptions = {},
): BatchReading<AnyBatch<V>> {
  const { isolation = "committed", follow = false, maxBytes = 1024 * 1024, signal } = options;
  const ended = new AbortController();
  const fetchOptions: FetchOptions = { maxBytes, isolation, wait: follow, signal: ended.signal };
  const to = options.to ?? (follow ? Infinity : source.resolve("latest", isolation));
  const { from = "earliest" } = options;
  const range = Promise.all([source.resolve(from, isolation), to]);
  // A failure is reported by the first next(). Until then it must not count as unhandled.
  range.catch(() => undefined);
  const first = typeof from === "number" && ([from, to as number] as const);
  return new BatchReading(fetchAll(source, kernel, serializer, range, first, fetchOptions), ended, { follow, signal });
}

async function* fetchAll<V>(
  source: ReadSource,
  kernel: Kernel | Promise<Kernel>,
  serializer: Deserializer<V>,
  range: Promise<readonly [number, number]>,
  first: readonly [number, number] | false,
  options: FetchOptions,
): AsyncGenerator<AnyBatch<V>, void> {
  const fetch = (from: number, to?: number): Promise<Fetched> => {
    // With `to` the log may answer with a part of a large batch. Only the first fetch of a read passes `to`. Later
    // fetches want whole batches, because the read takes all of each.
    const fetched = source.fetch(from, { ...options, to: options.wait ? undefined : to });
    // A failure is reported when this fetch's turn comes. Until then it must not count as unhandled.
    fetched.catch(() => undefined);
    return fetched;
  };
  // A seek takes one round trip: its first piece is asked for before it is known whether the log has that offset. An
  // end that is still a promise is no number to compare with.
  let ahead = first && first[0] < first[1] && fetch(...first);
  const [from, to] = await range;
  let offset = from;
  while (offset < to) {
    const fetched = await (ahead || fetch(offset, offset > from ? undefined : to)).catch((thrown: TidemarkError) => {
      // Retention may have moved the log's start since the log said where this position is.
      const start = thrown.details?.["logStartOffset"] as number;
      if (first || offset > from || !(start > offset)) throw thrown;
      return fetch((offset = start), to);
    });
    if (fetched.nextOffset <= offset) return;
    // The first fetch is alone until its batches are read: a read that needs one batch costs no second fetch.
    ahead = fetched.nextOffset < to && offset > from && fetch(fetched.nextOffset);
    const { batches, nextOffset } = await decodeAll(source, await kernel, fetched, offset, options);
    // A verified answer ends before the damage. Data that was fetched ahead lies behind it and would skip it in
    // silence.
    if (nextOffset !== fetched.nextOffset) ahead = false;
    for (const batch of batches) {
      const part = new ReadBatch(batch, offset, Math.min(to, nextOffset), serializer);
      // Control batches are for the log, not for its readers.
      if (!batch.isControl && part.count > 0) yield source.typed ? await source.typed(part) : part;
    }
    offset = nextOffset;
  }
}

export interface Decoded {
  readonly batches: RecordBatch[];
  readonly nextOffset: number;
}

/** Batches of an answer, checked. If they were damaged on their way, the answer is fetched anew. */
export async function decodeAll(
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
    // The disk or the way here may be to blame. Asked to verify, the log checks the disk: it throws the exact damaged
    // range, or sends the batches before it again. If those are bad too, they were changed on the way.
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
