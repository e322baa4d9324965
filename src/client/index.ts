/** The entry `tidemark/client`. api.ts is what it promises. */
import { TidemarkError } from "../errors.ts";
import { textEncoder } from "../record/bytes.ts";
import {
  type Check,
  callback,
  checkOptions,
  flag,
  integer,
  oneOf,
  positive,
  refused,
  signal,
  wellFormed,
} from "../topic/check.ts";
import { checkSerializer } from "../topic/serializer.ts";
import type { ClientTopic, ClientTopicOptions, ConnectOptions, EdgeClient, WebSocketClass } from "./api.ts";
import { SocketWay } from "./live.ts";
import { RemoteTopic } from "./remote-topic.ts";
import { EdgeRequests } from "./requests.ts";

export { type ErrorCode, type ErrorKind, TidemarkError, type WireError } from "../errors.ts";
export type * from "./api.ts";
export type { TokenReason } from "../sync/sync-host.ts";
export type { HeadersInput, HeaderValue, RecordInput } from "../topic/input.ts";
export type { Serializer, SerializerChoice } from "../topic/serializer.ts";
export type { PlainRecord, RawHeaders, ReadBatch, TextHeaders } from "../delivery/read-record.ts";
export type { CompactionSettings, RetentionSettings, StartPosition } from "../log/types.ts";

const IN_FLIGHT_BYTES_MAX = 8 * 1024 * 1024;
/** As the edge has it: a topic's name is a path there. */
const NAME_BYTES_MAX = 1024;

const token: Check = (field, value) => {
  // A value that is refused may be a secret all the same.
  if (typeof value !== "string" && typeof value !== "function")
    throw refused(field, typeof value, "a string, or a function that gives one");
};
const OPTIONS = {
  transport: oneOf("auto", "http"),
  WebSocket: callback,
  fetch: callback,
  timeoutMs: positive,
  inFlightBytesMax: integer(1),
  onRetry: callback,
  signal,
  token,
};
const BOUNDS = { maxAgeMs: positive, maxBytes: positive, maxRecords: positive };
const DELAYS = { minLagMs: integer(0), tombstoneRetentionMs: integer(0) };
const TOPIC_OPTIONS = {
  serializer: checkSerializer,
  create: flag,
  retention: (field: string, value: unknown) => checkOptions(field, value, BOUNDS),
  compaction: (field: string, value: unknown) => typeof value !== "boolean" && checkOptions(field, value, DELAYS),
};

function addressOf(url: unknown): string {
  let found: URL | undefined;
  try {
    found = new URL(String(url));
  } catch {
    // Refused below.
  }
  if (!found || !/^https?:$/.test(found.protocol))
    throw refused("url", url, "the edge's address, such as https://logs.example.com");
  return (found.origin + found.pathname).replace(/\/+$/, "");
}

function checkName(name: unknown): void {
  wellFormed("a topic's name", name);
  const bytes = textEncoder.encode(name as string).length;
  if (bytes < 1 || bytes > NAME_BYTES_MAX) throw refused("a topic's name", name, `1 to ${NAME_BYTES_MAX} bytes`);
}

class Client implements EdgeClient {
  readonly url: string;
  readonly #requests: EdgeRequests;
  readonly #live: SocketWay;
  readonly #topics = new Map<string, { readonly topic: RemoteTopic<unknown>; readonly serializer: unknown }>();
  readonly #inFlightBytesMax: number;
  /** Aborted first: reads end, and nothing is appended any more. */
  readonly #closing = new AbortController();
  /** Aborted last: requests under way end. */
  readonly #closed = new AbortController();
  #done: Promise<void> | undefined;

  constructor(url: string, options: ConnectOptions) {
    this.url = url;
    this.#requests = new EdgeRequests(url, options, this.#closed.signal);
    const { transport, WebSocket = globalThis.WebSocket as WebSocketClass | undefined } = options;
    this.#live = new SocketWay(this.#requests, transport === "http" ? undefined : WebSocket, this.#closed.signal);
    this.#inFlightBytesMax = options.inFlightBytesMax ?? IN_FLIGHT_BYTES_MAX;
    const { signal } = options;
    const abort = (): void => this.#end("the client was closed by its signal");
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort);
    this.#closed.signal.addEventListener("abort", () => signal?.removeEventListener("abort", abort));
  }

  topic<V = unknown>(name: string, options: ClientTopicOptions<V> = {}): ClientTopic<V> {
    checkName(name);
    checkOptions("topic()", options, TOPIC_OPTIONS);
    const { serializer = "json" } = options;
    const known = this.#topics.get(name);
    if (known && options.serializer !== undefined && known.serializer !== serializer)
      throw new TidemarkError("INVALID_ARGUMENT", `topic ${name} has another serializer in this client`, {
        topic: name,
      });
    if (known) return known.topic as RemoteTopic<unknown> as ClientTopic<V>;
    const topic = new RemoteTopic<V>(
      {
        requests: this.#requests,
        live: this.#live,
        inFlightBytesMax: this.#inFlightBytesMax,
        closing: this.#closing.signal,
      },
      name,
      options,
    );
    this.#topics.set(name, { topic: topic as ClientTopic<never> as RemoteTopic<unknown>, serializer });
    return topic;
  }

  close(): Promise<void> {
    return (this.#done ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#closing.abort(closedError("the client was closed"));
    await Promise.all([...this.#topics.values()].map(({ topic }) => topic.sender.drained()));
    this.#end("the client was closed");
  }

  #end(why: string): void {
    const error = closedError(why);
    this.#closing.abort(error);
    for (const { topic } of this.#topics.values()) topic.sender.fail(error);
    this.#closed.abort(error);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const closedError = (why: string): TidemarkError =>
  new TidemarkError("CLOSED", `${why}: connect() makes another`, { reason: "closed" });

/** A client of the edge at this address. Nothing is sent before the first call. INVALID_ARGUMENT for a wrong option. */
export function connect(url: string | URL, options: ConnectOptions = {}): EdgeClient {
  checkOptions("connect()", options, OPTIONS);
  return new Client(addressOf(url), options);
}
