/** Appending a whole iterable: the source is pulled as fast as acks come in. Loaded when it is first done. */
import { TidemarkError } from "../../errors.ts";
import type { Ack, Producer } from "../../delivery/producer.ts";
import { refused } from "../../topic/check.ts";
import type { AppendAllOptions } from "../api.ts";
import { laterTurn } from "../platform/timing.ts";

/** Records after which a source that never waits makes room for acks and the page's own work. */
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

/** What ends the whole before the source does. */
class Stop {
  failure: { readonly thrown: unknown } | undefined;
  /**
   * By an abort, or because the tide was closed: then nothing is waited for. A record that was refused lets those
   * before it end.
   */
  isAtOnce = false;
  #wake: (() => void) | undefined;

  by(thrown: unknown, isAtOnce: boolean): void {
    this.failure ??= { thrown };
    this.isAtOnce ||= isAtOnce;
    this.#wake?.();
  }

  /** Resolves with `work`, or with nothing when this stops. One wait at a time. */
  orStop<T>(work: PromiseLike<T>, isStopped = (): boolean => this.failure !== undefined): Promise<T | undefined> {
    return new Promise((resolve, reject) => {
      this.#wake = () => isStopped() && resolve(undefined);
      this.#wake();
      work.then(resolve, reject);
    });
  }
}

export interface AppendAllInput<T> {
  readonly records: Iterable<T> | AsyncIterable<T>;
  /** Throws for a record that is none. */
  readonly append: (record: T) => Promise<Ack>;
  readonly producer: Producer;
  readonly inFlightBytesMax: number;
  /** Calls back when the tide is closed; gives back how to be called no more. */
  readonly onClosed: (closed: (reason: unknown) => void) => () => void;
  readonly options: AppendAllOptions;
}

/**
 * Resolves when everything is acked. Rejects with the first failure, once all before it is acked or has failed; an
 * abort and a closed tide end it at once. The source is told that it is at its end in each case.
 */
export async function appendAll<T>({ records, onClosed, options, ...rest }: AppendAllInput<T>) {
  const { signal } = options;
  const source = sourceOf(records);
  const stop = new Stop();
  const abort = (): void => stop.by(signal!.reason, true);
  const unheard = onClosed((reason) => stop.by(reason, true));
  signal?.addEventListener("abort", abort);
  if (signal?.aborted) abort();
  try {
    return await run(source, stop, { ...rest, options });
  } finally {
    unheard();
    signal?.removeEventListener("abort", abort);
    // Not awaited: a generator that waits answers only when what it waits for has come.
    if (stop.failure) void Promise.resolve(source.return?.()).catch(() => undefined);
  }
}

async function run<T>(
  source: Source<T>,
  stop: Stop,
  { append, producer, inFlightBytesMax, options: { onProgress } }: Omit<AppendAllInput<T>, "records" | "onClosed">,
) {
  let appended = 0;
  let acked = 0;
  let firstOffset: number | undefined;
  let lastOffset: number | undefined;
  const count = ({ offset }: Ack): void => {
    acked++;
    firstOffset = Math.min(firstOffset ?? offset, offset);
    lastOffset = Math.max(lastOffset ?? offset, offset);
  };
  const refuse = (thrown: unknown): void => stop.by(thrown, false);
  const pull = async (): Promise<void> => {
    while (!stop.failure) {
      const asked = source.next();
      const next = "then" in asked ? await stop.orStop(asked) : asked;
      if (!next || next.done) break;
      // A list may hold promises of records.
      const record = isPromise(next.value) ? await stop.orStop(next.value) : next.value;
      if (stop.failure) break;
      try {
        append(record as T).then(count, refuse);
      } catch (thrown) {
        // Which one: the source may not know it any more.
        refuse(TidemarkError.from(thrown, "INVALID_ARGUMENT").with({ record: appended }));
        break;
      }
      const full = producer.pendingBytes >= inFlightBytesMax;
      if (++appended % PROGRESS_RECORDS > 0 && !full) continue;
      // The producer's limit holds this loop back; each time it does is a time to tell how far we are.
      await stop.orStop(full ? producer.drained(inFlightBytesMax) : laterTurn());
      onProgress?.({ appended, acked });
    }
  };
  // A source that fails, or a rejected promise in a list: what was appended before it is waited for, too.
  await pull().catch(refuse);
  await stop.orStop(producer.drained(), () => stop.isAtOnce);
  if (stop.failure) throw stop.failure.thrown;
  onProgress?.({ appended, acked });
  return { appended, firstOffset, lastOffset };
}

const isPromise = <T>(value: T | PromiseLike<T>): value is PromiseLike<T> =>
  typeof (value as { then?: unknown } | null | undefined)?.then === "function";
