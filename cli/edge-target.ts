/** An edge as a target (targets.ts): reads by tidemark/client, appends as encoded batches over HTTP. */
import type { EdgeClient, ImportResult } from "../src/client/api.ts";
import { connect } from "../src/client/index.ts";
import { TidemarkError } from "../src/errors.ts";
import { type EdgeAsk, type EdgeReply, EdgeRequests, errorIn } from "../src/client/requests.ts";
import type { PlainRecord } from "../src/delivery/read-record.ts";
import type { Kernel } from "../src/kernel/types.ts";
import type { StartPosition } from "../src/log/types.ts";
import { DEFAULT_SETTINGS } from "../src/log/limits.ts";
import { decodeBatch } from "../src/record/record-batch.ts";
import { gatheredSegments } from "../src/store/gathered-segments.ts";
import type { KafkaFiles } from "../src/store/kafka-files.ts";
import { BATCHES_TYPE, formatOffset, offsetInHeader } from "../src/sync/http-words.ts";
import { Failure, systemWordOf } from "./failure.ts";
import { isJson, type LinesAs, textOf } from "./lines.ts";
import { withFiles } from "./repacked-files.ts";
import { typeOfSegments } from "./segment-files.ts";
import type { Appended, LogTarget, NewTopic, Place, ReadFrom, Sending } from "./target.ts";
import { note, progress } from "./terminal.ts";

/** The path of the list of streams (worker/front/stream-list.ts). */
const LIST_PATH = "__ds/streams";
const TYPES = { json: "application/json", text: "text/plain" } as const;

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
    readonly contentType: string | undefined,
  ) {
    let isTold = false;
    const onRetry = (error: Error, pauseMs: number): void => {
      if (!isTold && pauseMs > 1_000) note(`tidemark: trying again: ${error.message}${systemWordOf(error)}`);
      isTold ||= pauseMs > 1_000;
    };
    const options = { ...(token !== undefined && { token }), onRetry };
    this.#client = connect(where, options);
    this.#requests = new EdgeRequests(this.#client.url, options, this.#closed.signal);
  }

  async topics(enough = Infinity): Promise<readonly string[]> {
    const found: string[] = [];
    for (let after = ""; ;) {
      const query = `?after=${encodeURIComponent(after)}`;
      const answer = await this.#asked({ method: "GET", path: LIST_PATH, query }).catch((thrown: unknown) => {
        if (!(thrown instanceof TidemarkError) || thrown.code !== "UNKNOWN_TOPIC") throw thrown;
        throw new Failure(
          `the edge at ${this.where} is of an earlier version and keeps no list of its topics, or the address is wrong`,
        );
      });
      const page = pageIn(answer);
      if (!page) throw this.#foreign(answer);
      found.push(...page.streams);
      // A page that goes back would never end.
      if (page.next === null || page.next === after || found.length >= enough) return found;
      after = page.next;
    }
  }

  #topic(name: string) {
    return this.#client.topic<Uint8Array>(name, { serializer: "bytes" });
  }

  async place(topic: string, signal?: AbortSignal): Promise<Place | undefined> {
    const state = await this.#topic(topic).state({ signal });
    if (!state) return undefined;
    const { name: _, logStartOffset: start, logEndOffset: end, highWatermark: _end, ...details } = state;
    return { start, end, contentType: state.contentType, details };
  }

  read(topic: string, { from, to, follow, signal }: ReadFrom): AsyncIterable<PlainRecord<Uint8Array>> {
    return this.#topic(topic).read({ from, to, follow, signal });
  }

  async resolve(topic: string, position: StartPosition): Promise<number> {
    if (typeof position === "number") return position;
    if (typeof position === "object" && "timestamp" in position) {
      const query = `?timestamp=${position.timestamp}`;
      const answer = await this.#asked({ method: "GET", path: topic, query, headers: { accept: BATCHES_TYPE } });
      return this.#offsetIn(answer, "tidemark-from-offset");
    }
    const { start, end } = (await this.place(topic)) ?? { start: 0, end: 0 };
    if (position === "earliest") return start;
    return position === "latest" ? end : Math.max(start, end - position.last);
  }

  trim(topic: string, offset: number, signal?: AbortSignal): Promise<void> {
    return this.#topic(topic).trim(offset, { signal });
  }

  /** The answer if it is a success or has one of these statuses. Its signal ends the tries. */
  async #asked(ask: EdgeAsk, ...allowed: readonly number[]): Promise<EdgeReply> {
    const once = async (signal: AbortSignal): Promise<EdgeReply> => {
      const answer = await this.#requests.ask({ ...ask, signal });
      if (answer.status < 300) return answer;
      const error = errorIn(answer);
      // A 404 of a proxy says nothing about a topic.
      if (!allowed.includes(answer.status) || error.details["edge"] === undefined) throw error;
      return answer;
    };
    return this.#requests.again(once, { signal: ask.signal });
  }

  async end(topic: string): Promise<number | undefined> {
    const answer = await this.#asked({ method: "HEAD", path: topic }, 404, 403);
    if (answer.status === 403) return undefined;
    return answer.status === 404 ? 0 : this.#offsetIn(answer, "stream-next-offset");
  }

  async append(topic: string, batch: Uint8Array, sending: Sending): Promise<Appended> {
    const { ifEnd, since, onDoubt } = sending;
    let { isResent, makes } = sending;
    const post = async (signal: AbortSignal): Promise<EdgeReply> => {
      const headers = {
        "content-type": BATCHES_TYPE,
        "tidemark-sequences": "from-zero",
        ...(ifEnd !== undefined && { "stream-expected-offset": formatOffset(ifEnd) }),
        // The log knows the batch by its sequence, unless it has forgotten the producer since then.
        ...(isResent && { "tidemark-resent-since": formatOffset(since) }),
      };
      const body = batch as Uint8Array<ArrayBuffer>;
      const reply = await this.#requests.ask({ method: "POST", path: topic, headers, body, signal });
      if (reply.status < 300) return reply;
      const error = errorIn(reply);
      if (error.code !== "UNKNOWN_TOPIC" || !makes) throw error;
      const found = async () => (this.as === "records" ? typeOfBatch(batch, this.kernel) : TYPES[this.as]);
      const type = this.as === "text" ? TYPES.text : (this.contentType ?? (await found()));
      await this.#make(topic, type, signal);
      makes = false;
      return post(signal);
    };
    const answer = await this.#requests.again(async (signal) => {
      try {
        return await post(signal);
      } catch (thrown) {
        if (!isRefusal(thrown)) {
          isResent = true;
          onDoubt?.();
        }
        throw thrown;
      }
    });
    return appendedIn(answer) ?? Promise.reject(this.#foreign(answer));
  }

  /** Failure: the answer has no such header, so something between has answered in the edge's stead. */
  #offsetIn(answer: EdgeReply, header: string): number {
    const text = answer.headers.get(header);
    if (text === null) throw this.#foreign(answer);
    return offsetInHeader(text);
  }

  #foreign({ status }: EdgeReply): Failure {
    return new Failure(`status ${status} from ${this.where}, and not from an edge: check the address`);
  }

  /** 409: it is there meanwhile, with another type or other settings. */
  async #make(topic: string, type: string, signal: AbortSignal): Promise<void> {
    const made = await this.#requests.ask({ method: "PUT", path: topic, headers: { "content-type": type }, signal });
    if (made.status >= 300 && made.status !== 409) throw errorIn(made);
  }

  async take(topic: string, files: readonly string[], signal?: AbortSignal): Promise<ImportResult> {
    const found = () => typeOfSegments(files, this.kernel).catch(() => TYPES.json);
    const type = this.as === "text" ? TYPES.text : (this.contentType ?? (await found()));
    // 409: it is there, with another type or other settings.
    await this.#asked({ method: "PUT", path: topic, headers: { "content-type": type }, signal }, 409);
    const onProgress = (at: { readonly bytes: number; readonly bytesTotal: number }): void =>
      progress("bytes", at.bytes, at.bytesTotal);
    return withFiles(files, this.kernel, (all) => this.#topic(topic).importSegments(all, { signal, onProgress }));
  }

  async *segments(topic: string, from: number, signal?: AbortSignal): AsyncIterable<KafkaFiles> {
    const headers = { accept: BATCHES_TYPE };
    yield* gatheredSegments({
      kernel: this.kernel,
      from,
      end: (await this.place(topic, signal))?.end ?? 0,
      batches: async (offset) => {
        const query = `?offset=${formatOffset(offset)}`;
        const answer = await this.#asked({ method: "GET", path: topic, query, headers, signal });
        const nextOffset = this.#offsetIn(answer, "stream-next-offset");
        // Less than the topic has would be taken for all of it.
        if (nextOffset <= offset)
          throw new Failure(`${this.where} gives nothing of ${topic} from offset ${offset}: try again`);
        return { bytes: answer.bytes, nextOffset };
      },
    });
  }

  async close(): Promise<void> {
    await this.#client.close();
    this.#closed.abort();
  }
}

interface Page {
  readonly streams: readonly string[];
  readonly next: string | null;
}

/** A page of the list of streams. Undefined if something between has answered in the edge's stead. */
function pageIn({ bytes }: EdgeReply): Page | undefined {
  try {
    const { streams, next } = JSON.parse(new TextDecoder().decode(bytes)) as Page;
    const isText = (value: unknown): boolean => typeof value === "string";
    return Array.isArray(streams) && streams.every(isText) && (next === null || isText(next))
      ? { streams, next }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Undefined if something between has answered in the edge's stead. */
function appendedIn({ bytes }: EdgeReply): Appended | undefined {
  try {
    const { appended } = JSON.parse(new TextDecoder().decode(bytes)) as { appended: readonly Appended[] };
    return Number.isSafeInteger(appended[0]!.lastOffset) ? appended[0] : undefined;
  } catch {
    return undefined;
  }
}

/** The edge itself says that this request has appended nothing. */
const isRefusal = (thrown: unknown): boolean =>
  thrown instanceof TidemarkError && thrown.details["edge"] !== undefined && Number(thrown.details["status"]) < 500;

/** The content type of a new stream that takes these values, and others like them. */
async function typeOfBatch(bytes: Uint8Array, kernel: Kernel): Promise<string> {
  const batch = await decodeBatch(kernel, bytes);
  const values = Array.from({ length: batch.count }, (_, i) => batch.valueAt(i));
  const texts = values.filter((value) => value !== null).map(textOf);
  if (texts.every((text) => text !== undefined && isJson(text))) return TYPES.json;
  return texts.includes(undefined) ? "application/octet-stream" : TYPES.text;
}

export const edgeTarget = (
  url: string,
  token: string | undefined,
  kernel: Kernel,
  { as = "records", contentType }: NewTopic = {},
): LogTarget => new EdgeTarget(url, kernel, token, as, contentType);
