/** An edge as a target (targets.ts): reads by tidemark/client, appends as encoded batches over HTTP. */
import type { EdgeClient, ImportResult } from "../src/client/api.ts";
import { connect } from "../src/client/index.ts";
import { type EdgeAsk, type EdgeReply, EdgeRequests, errorIn } from "../src/client/requests.ts";
import type { PlainRecord } from "../src/delivery/read-record.ts";
import type { Kernel } from "../src/kernel/types.ts";
import type { StartPosition } from "../src/log/types.ts";
import { DEFAULT_SETTINGS } from "../src/log/limits.ts";
import { concat } from "../src/store/bytes.ts";
import { type KafkaFiles, kafkaFiles } from "../src/store/kafka-files.ts";
import { BATCHES_TYPE, formatOffset, offsetInHeader } from "../src/sync/http-words.ts";
import { Failure } from "./failure.ts";
import type { LinesAs } from "./lines.ts";
import { filesOf, typeOfSegments } from "./segment-files.ts";
import type { Appended, LogTarget, Place, ReadFrom, Sending } from "./target.ts";
import { note, progress } from "./terminal.ts";

const TYPES = { records: "application/json", json: "application/json", text: "text/plain" } as const;
/** An exported segment grows up to this. */
const SEGMENT_BYTES = 8 * 1024 * 1024;

class EdgeTarget implements LogTarget {
  readonly batchBytesMax = DEFAULT_SETTINGS.batchBytesMax;
  readonly #client: EdgeClient;
  readonly #requests: EdgeRequests;
  readonly #closed = new AbortController();

  constructor(
    readonly where: string,
    readonly kernel: Kernel,
    token: string | undefined,
    readonly as: LinesAs,
  ) {
    let isTold = false;
    const onRetry = (error: Error, pauseMs: number): void => {
      if (!isTold && pauseMs > 1_000) note(`tidemark: trying again: ${error.message}`);
      isTold ||= pauseMs > 1_000;
    };
    const options = { ...(token !== undefined && { token }), onRetry };
    this.#client = connect(where, options);
    this.#requests = new EdgeRequests(this.#client.url, options, this.#closed.signal);
  }

  async topics(): Promise<never> {
    throw new Failure(`an edge keeps no list of its topics: name one, as in tidemark info ${this.where} TOPIC`);
  }

  #topic(name: string) {
    return this.#client.topic<Uint8Array>(name, { serializer: "bytes" });
  }

  async place(topic: string): Promise<Place | undefined> {
    const state = await this.#topic(topic).state();
    if (!state) return undefined;
    const { name: _, logStartOffset: start, logEndOffset: end, highWatermark: _end, ...details } = state;
    return { start, end, details };
  }

  read(topic: string, { from, to, follow, signal }: ReadFrom): AsyncIterable<PlainRecord<Uint8Array>> {
    return this.#topic(topic).read({ from, to, follow, signal });
  }

  async resolve(topic: string, position: StartPosition): Promise<number> {
    if (typeof position === "number") return position;
    if (typeof position === "object" && "timestamp" in position) {
      const query = `?timestamp=${position.timestamp}`;
      const answer = await this.#asked({ method: "GET", path: topic, query, headers: { accept: BATCHES_TYPE } });
      return offsetInHeader(answer.headers.get("tidemark-from-offset"));
    }
    const { start, end } = (await this.place(topic)) ?? { start: 0, end: 0 };
    if (position === "earliest") return start;
    return position === "latest" ? end : Math.max(start, end - position.last);
  }

  trim(topic: string, offset: number): Promise<void> {
    return this.#topic(topic).trim(offset);
  }

  /** The answer if it is a success or has one of these statuses. */
  async #asked(ask: EdgeAsk, ...allowed: readonly number[]): Promise<EdgeReply> {
    return this.#requests.again(async (signal) => {
      const answer = await this.#requests.ask({ ...ask, signal });
      if (answer.status >= 300 && !allowed.includes(answer.status)) throw errorIn(answer);
      return answer;
    });
  }

  async append(topic: string, batch: Uint8Array, { ifEnd, resentSince }: Sending): Promise<Appended> {
    const since = resentSince ?? (await this.#begin(topic));
    let isFirst = resentSince === undefined;
    // A try whose answer was lost may have appended: later ones say so, and the log knows the batch by its sequence.
    const answer = await this.#requests.again(async (signal) => {
      const headers = {
        "content-type": BATCHES_TYPE,
        "tidemark-sequences": "from-zero",
        ...(ifEnd !== undefined && { "stream-expected-offset": formatOffset(ifEnd) }),
        ...(!isFirst && { "tidemark-resent-since": formatOffset(since) }),
      };
      isFirst = false;
      const body = batch as Uint8Array<ArrayBuffer>;
      const reply = await this.#requests.ask({ method: "POST", path: topic, headers, body, signal });
      if (reply.status >= 300) throw errorIn(reply);
      return reply;
    });
    const { appended } = JSON.parse(new TextDecoder().decode(answer.bytes)) as { appended: [Appended] };
    return appended[0];
  }

  /** The topic's end, to which it was made if it did not exist. */
  async #begin(topic: string): Promise<number> {
    const known = this.#ends.get(topic);
    if (known !== undefined) return known;
    const answer = await this.#asked({ method: "HEAD", path: topic }, 404, 403);
    const headers = { "content-type": TYPES[this.as] };
    const made = answer.status === 404 ? await this.#asked({ method: "PUT", path: topic, headers }, 409) : answer;
    const end = offsetInHeader(made.headers.get("stream-next-offset"));
    this.#ends.set(topic, end);
    return end;
  }
  readonly #ends = new Map<string, number>();

  async take(topic: string, files: readonly string[], signal?: AbortSignal): Promise<ImportResult> {
    const type = this.as === "text" ? TYPES.text : await typeOfSegments(files, this.kernel).catch(() => TYPES.records);
    // 409: it is there, with another type or other settings.
    await this.#asked({ method: "PUT", path: topic, headers: { "content-type": type } }, 409);
    const onProgress = (at: { readonly bytes: number; readonly bytesTotal: number }): void =>
      progress("bytes", at.bytes, at.bytesTotal);
    return this.#topic(topic).importSegments(await filesOf(files), { signal, onProgress });
  }

  async *segments(topic: string, from: number): AsyncIterable<KafkaFiles> {
    const end = (await this.place(topic))?.end ?? 0;
    let parts: Uint8Array[] = [];
    let bytes = 0;
    let baseOffset = from;
    for (let offset = from; offset < end;) {
      const query = `?offset=${formatOffset(offset)}`;
      const answer = await this.#asked({ method: "GET", path: topic, query, headers: { accept: BATCHES_TYPE } });
      const next = offsetInHeader(answer.headers.get("stream-next-offset"));
      if (next <= offset) break;
      parts.push(answer.bytes);
      bytes += answer.bytes.length;
      offset = next;
      if (bytes < SEGMENT_BYTES && offset < end) continue;
      yield kafkaFiles(this.kernel, concat(parts), { baseOffset });
      [parts, bytes, baseOffset] = [[], 0, offset];
    }
    if (bytes > 0) yield kafkaFiles(this.kernel, concat(parts), { baseOffset });
  }

  async close(): Promise<void> {
    await this.#client.close();
    this.#closed.abort();
  }
}

export const edgeTarget = (
  url: string,
  token: string | undefined,
  kernel: Kernel,
  as: LinesAs = "records",
): LogTarget => new EdgeTarget(url, kernel, token, as);
