/**
 * Reads of one log by code inside a Worker.
 *
 *   what is in object storage ──▶ from there, without waking the object (front/archived-reads.ts)
 *   all else                  ──▶ the object
 *   at the log's end          ──▶ a socket that lets the object sleep, until the end moves
 */
import { TidemarkError } from "../../src/errors.ts";
import type { ReaderOptions, ReadSource } from "../../src/delivery/reader.ts";
import type { Fetched, FetchOptions, StartPosition } from "../../src/log/types.ts";
import { gatheredSegments } from "../../src/store/gathered-segments.ts";
import type { KafkaFiles } from "../../src/store/kafka-files.ts";
import { readThrough } from "../front/archived-reads.ts";
import { edgeKernel } from "../kernel.ts";
import { type Ask, Watch } from "../rpc/watch.ts";
import { BATCHES_TYPE } from "../wire/accept.ts";
import { H } from "../wire/durable-streams.ts";
import { wireErrorOf } from "../wire/http.ts";
import { formatOffset, offsetIn } from "../wire/offsets.ts";
import { type AskedObject, errorOf, libraryError } from "./ask-object.ts";

const WATCH_MS = 60_000;
const NOTHING = new Uint8Array(0);

interface LogRange {
  readonly logStartOffset: number;
  readonly logEndOffset: number;
}

/** The log, as its topic knows it. */
interface TopicLog {
  state(): Promise<LogRange | undefined>;
  create(): Promise<void>;
}

export class TopicReads {
  readonly #object: AskedObject;
  readonly #topic: TopicLog;
  /** Turns a batch into records, in a topic with a schema or middleware. */
  typed?: NonNullable<ReadSource["typed"]>;

  constructor(object: AskedObject, topic: TopicLog) {
    this.#object = object;
    this.#topic = topic;
  }

  /** `read.log`: which log the read is of, once an answer has said so. A log made anew meanwhile is another one. */
  async #fetch(from: number, { wait, signal }: FetchOptions, read: { log?: string | null }): Promise<Fetched> {
    for (;;) {
      signal?.throwIfAborted();
      const response = await this.#batches(`?offset=${formatOffset(from)}`);
      if (response.status === 404) {
        if (!wait) return fetched(NOTHING, from);
        // A read that follows has made the topic, if there was none (source).
        throw deleted(this.#object.path);
      }
      if (!response.ok) throw await errorOf(response);
      const log = response.headers.get(H.log);
      if ((read.log ??= log) !== log) throw deleted(this.#object.path);
      const nextOffset = offsetIn(response, H.next);
      const bytes = new Uint8Array(await response.arrayBuffer());
      if (nextOffset > from || !wait || response.headers.get(H.closed) === "true") return fetched(bytes, nextOffset);
      await this.#moved(from, signal, read.log);
    }
  }

  readonly #get: Ask = (query, headers = {}) => this.#object.ask({ method: "GET", query, headers });

  #batches(query: string): Promise<Response> {
    const { env, tenant, path } = this.#object;
    const headers = { accept: BATCHES_TYPE };
    return readThrough({
      asked: {},
      env,
      tenant,
      path,
      url: new URL(this.#object.url(query)),
      headers: new Headers(headers),
      background: undefined,
      ask: (own) => this.#get(query, { ...headers, ...own }),
    });
  }

  /** Where the log begins and ends. Both are 0 for a log that was never written. */
  async #range(): Promise<LogRange> {
    return (await this.#topic.state()) ?? { logStartOffset: 0, logEndOffset: 0 };
  }

  /** Resolves when the log's end has passed `from`. It waits on a socket that lets the object sleep. */
  async #moved(from: number, signal: AbortSignal | undefined, log: string | null): Promise<void> {
    const watching = Watch.open(this.#get, { offset: from, log: log ?? undefined });
    const watch = await watching.catch((thrown: unknown) => {
      const wire = wireErrorOf(thrown);
      if (wire.code === "NOT_FOUND" || wire.code === "GONE") throw deleted(this.#object.path);
      throw thrown instanceof TidemarkError ? thrown : libraryError(wire);
    });
    const close = (): void => watch.close();
    if (signal?.aborted) return close();
    let abort!: () => void;
    const aborted = new Promise<void>((resolve) => (abort = resolve));
    signal?.addEventListener("abort", abort);
    try {
      await Promise.race([watch.past(from, Date.now() + WATCH_MS), aborted]);
    } finally {
      signal?.removeEventListener("abort", abort);
      close();
    }
  }

  async #resolve(position: StartPosition): Promise<number> {
    if (typeof position === "object" && "timestamp" in position) {
      const response = await this.#batches(`?timestamp=${Math.ceil(position.timestamp)}`);
      if (response.status === 404) return 0;
      if (!response.ok) throw await errorOf(response);
      await response.body?.cancel();
      return offsetIn(response, H.from);
    }
    const { logStartOffset, logEndOffset } = await this.#range();
    if (typeof position === "number") {
      if (position >= logStartOffset && position <= logEndOffset) return position;
      throw new TidemarkError(
        "OFFSET_OUT_OF_RANGE",
        `offset ${position} is not in the log, which has ${logStartOffset} to ${logEndOffset}`,
        { offset: position, logStartOffset, logEndOffset },
      );
    }
    if (position === "earliest") return logStartOffset;
    return position === "latest" ? logEndOffset : Math.max(logStartOffset, logEndOffset - position.last);
  }

  /** The source of one read. If the read follows a log that does not exist, that log is made first. */
  source(options: ReaderOptions | undefined): ReadSource {
    const read = {};
    const source: ReadSource = {
      ...(this.typed && { typed: this.typed }),
      fetch: (from, options) => this.#fetch(from, options, read),
      resolve: (position) => this.#resolve(position),
    };
    if (!options?.follow) return source;
    const there = this.#topic.state().then((state) => (state === undefined ? this.#topic.create() : undefined));
    // `fetch` must wait as well: a reader that begins at an offset never calls `resolve`.
    return {
      ...source,
      fetch: (from, options) => there.then(() => source.fetch(from, options)),
      resolve: (position) => there.then(() => source.resolve(position)),
    };
  }

  /** The whole log as of the first next(), as Kafka's files. */
  async *segments(leaderEpoch: number | undefined): AsyncGenerator<KafkaFiles> {
    const { logStartOffset: from, logEndOffset: end } = await this.#range();
    const read = {};
    yield* gatheredSegments({
      kernel: await edgeKernel(),
      from,
      end,
      leaderEpoch,
      batches: async (offset) => {
        const { bytes, nextOffset } = await this.#fetch(offset, {}, read).catch((thrown: unknown) => {
          const { code, details } = TidemarkError.from(thrown);
          const start = Number(details["logStartOffset"]);
          if (code !== "OFFSET_OUT_OF_RANGE" || !(start > offset)) throw thrown;
          return { bytes: NOTHING, nextOffset: start };
        });
        if (nextOffset <= offset) throw deleted(this.#object.path);
        return { bytes, nextOffset };
      },
    });
  }
}

const fetched = (bytes: Uint8Array, nextOffset: number): Fetched => ({
  bytes,
  nextOffset,
  logStartOffset: 0,
  highWatermark: nextOffset,
  logEndOffset: nextOffset,
});

const deleted = (topic: string): TidemarkError =>
  new TidemarkError("UNKNOWN_TOPIC", `the topic ${topic} was deleted`, { topic });
