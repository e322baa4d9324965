/** Appends a whole iterable: the source is read as fast as acks come in. Each host loads it by the first such call. */
import { TidemarkError } from "../errors.ts";
import { refused } from "./check.ts";

/** Where records wait for their acks. */
export interface Paced {
  readonly pendingBytes: number;
  /** Resolves when fewer bytes than `below` wait; without a number, when none do. */
  drained(below?: number): Promise<void>;
}

export interface AllOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: { readonly appended: number; readonly acked: number }) => void) | undefined;
}

/** What its topic belongs to: a tide, or a client. */
export interface Closable {
  /** Set by the time at which "closed" is told. */
  readonly ended: TidemarkError | undefined;
  on(type: "closed", heard: () => void): () => void;
}

/** After this many records of a source that never waits, acks and the page's own work get a turn. */
const PROGRESS_RECORDS = 4096;

type Source<T> = Iterator<T | PromiseLike<T>> | AsyncIterator<T>;

function sourceOf<T>(records: Iterable<T> | AsyncIterable<T>): Source<T> {
  const { [Symbol.asyncIterator]: async, [Symbol.iterator]: sync } = Object(records) as Partial<
    AsyncIterable<T> & Iterable<T>
  >;
  const iterate = (async ?? sync) as (() => Source<T>) | undefined;
  if (typeof records === "string" || typeof iterate !== "function")
    throw refused("records", records, "an iterable of records, or an async one");
  return iterate.call(records);
}

/** Ends the whole before the source's end. */
class Stop {
  failure: { readonly thrown: unknown } | undefined;
  /**
   * True for an abort, and for a closed tide: then nothing is waited for. After a refused record, the records before it
   * may finish.
   */
  isAtOnce = false;
  #wake: (() => void) | undefined;

  by(thrown: unknown, isAtOnce: boolean): void {
    this.failure ??= { thrown };
    this.isAtOnce ||= isAtOnce;
    this.#wake?.();
  }

  /** Resolves with `work`, or with undefined when this stops. Only one wait at a time. */
  orStop<T>(work: PromiseLike<T>, isStopped = (): boolean => this.failure !== undefined): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#wake = () => isStopped() && resolve(undefined);
      this.#wake();
      work.then(resolve, reject);
    });
  }
}

export interface AppendSource<T> {
  readonly records: Iterable<T> | AsyncIterable<T>;
  /** Throws if the record is invalid, so that nothing behind it is appended. */
  readonly append: (record: T) => Promise<{ readonly offset: number }>;
  /** The producer itself; or, in a topic with a schema or middleware, what resolves with it once it is loaded. */
  readonly producer: Paced | { producer(): Promise<Paced> };
  readonly inFlightBytesMax: number;
  readonly tide: Closable;
  readonly options: AllOptions;
  /** Progress is told at each ack as well, and not only where the source is paused. Default false. */
  readonly tellsAcks?: boolean;
  /** A turn behind what waits already: acks, and the app's own work. */
  readonly laterTurn: () => Promise<void>;
}

/**
 * Resolves when everything is acked. Rejects with the first failure, once everything before it is acked or has failed.
 * An abort and a closed tide end it at once. In each case the source's iterator is closed.
 */
export async function appendSource<T>({ records, tide, options, ...rest }: AppendSource<T>) {
  const { signal } = options;
  const { producer: given } = rest;
  // In a topic with a schema or middleware only that producer counts what waits, and only one turn after the append.
  const isTyped = "producer" in given;
  // Before the source is opened: if it fails, a stream is not locked, and the call can be made again with it.
  const producer = isTyped ? await given.producer() : given;
  const source = sourceOf(records);
  const stop = new Stop();
  const abort = (): void => stop.by(signal!.reason, true);
  const closed = (): void => stop.by(tide.ended, true);
  const unheard = tide.on("closed", closed);
  if (tide.ended) closed();
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  try {
    return await run(source, stop, { ...rest, options, producer, isTyped });
  } finally {
    unheard();
    signal?.removeEventListener("abort", abort);
    // Not awaited: a generator that waits for something only answers when that has come.
    if (stop.failure) void Promise.resolve(source.return?.()).catch(() => undefined);
  }
}

async function run<T>(
  source: Source<T>,
  stop: Stop,
  {
    append,
    producer,
    isTyped,
    inFlightBytesMax,
    laterTurn,
    tellsAcks,
    options: { onProgress },
  }: Omit<AppendSource<T>, "records" | "tide"> & { readonly producer: Paced; readonly isTyped: boolean },
) {
  let appended = 0;
  let acked = 0;
  let settled = 0;
  let wake: (() => void) | undefined;
  let firstOffset: number | undefined;
  let lastOffset: number | undefined;
  const refuse = (thrown: unknown): void => stop.by(thrown, false);
  const count = ({ offset }: { readonly offset: number }): void => {
    acked++;
    firstOffset = Math.min(firstOffset ?? offset, offset);
    lastOffset = Math.max(lastOffset ?? offset, offset);
    try {
      if (tellsAcks) onProgress?.({ appended, acked });
    } catch (thrown) {
      refuse(thrown);
    }
  };
  const pull = async (): Promise<void> => {
    while (!stop.failure) {
      const asked = source.next();
      const next = isPromise(asked) ? await stop.orStop(asked) : asked;
      if (!next || next.done) break;
      // The source may contain promises of records.
      const record = isPromise(next.value) ? await stop.orStop(next.value) : next.value;
      if (stop.failure) break;
      const at = appended;
      // With the index of the record, because the source may not know it any more.
      const refuseIt = (thrown: unknown): void =>
        refuse(thrown instanceof TidemarkError ? thrown.with({ record: at }) : thrown);
      try {
        append(record as T)
          .then(count, refuseIt)
          .finally(() => (settled++, wake?.()));
      } catch (thrown) {
        refuseIt(thrown);
        break;
      }
      if (isTyped) await undefined;
      const full = producer.pendingBytes >= inFlightBytesMax;
      if (++appended % PROGRESS_RECORDS > 0 && !full) continue;
      // The producer's limit pauses this loop. Each pause is a time to report progress.
      await stop.orStop(full ? producer.drained(inFlightBytesMax) : laterTurn());
      onProgress?.({ appended, acked });
    }
  };
  // If the source fails, or a promise in it rejects, the records before that are still waited for.
  await pull().catch(refuse);
  await stop.orStop(producer.drained(), () => stop.isAtOnce);
  // Nothing is pending any more. What waits for an ack hears of it a few turns later.
  const outcomes = async (): Promise<void> => {
    while (settled < appended) await new Promise<void>((resolve) => (wake = resolve));
  };
  await stop.orStop(outcomes(), () => stop.isAtOnce);
  if (stop.failure) throw counted(stop.failure.thrown, { appended, acked });
  onProgress?.({ appended, acked });
  return { appended, firstOffset, lastOffset };
}

/** An error of ours says how far the source was appended. The reason of a signal, and what a source throws, stay. */
const counted = (thrown: unknown, progress: { readonly appended: number; readonly acked: number }): unknown =>
  thrown instanceof TidemarkError ? thrown.with(progress) : thrown;

const isPromise = <T>(value: T | PromiseLike<T>): value is PromiseLike<T> =>
  typeof (value as { then?: unknown } | null | undefined)?.then === "function";
