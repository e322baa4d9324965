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
import { TYPING } from "../topic/options.ts";
import { checkSerializer } from "../topic/serializer.ts";
import type { EventTypes } from "../typed/events.ts";
import type { GivenTyping } from "../typed/typing.ts";
import type { ClientTopicOptions, ConnectOptions, EdgeClient, WebSocketClass } from "./api.ts";
import type { SocketWay } from "./live.ts";
import { RemoteTopic } from "./remote-topic.ts";
import { EdgeRequests } from "./requests.ts";
import { hasDotPart } from "../topic/dot-parts.ts";

export {
  type ErrorCode,
  type ErrorDetails,
  type ErrorKind,
  type SchemaIssue,
  TidemarkError,
  type WireError,
} from "../errors.ts";
export type * from "./api.ts";
export type { TokenReason } from "../sync/sync-host.ts";
export type { HeadersInput, HeaderValue, RecordInput } from "../topic/input.ts";
export type { Serializer, SerializerChoice } from "../topic/serializer.ts";
export type { PlainRecord, RawHeaders, ReadBatch, ShownRecord, TextHeaders } from "../delivery/read-record.ts";
export * from "../typed/public.ts";

const IN_FLIGHT_BYTES_MAX = 8 * 1024 * 1024;
/** As the edge has it: a topic's name is a path there. */
const NAME_BYTES_MAX = 1024;

const token: Check = (field, value) => {
  // The message names only the type: even a wrong value may be a secret.
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
/**
 * Only reads `~calls`, which the topic takes at once, so that a getter that throws is told here. typing.ts checks all.
 */
const typing: Check = (_, value) => void (Object(value) as EventTypes)["~calls"];
const TOPIC_OPTIONS = {
  ...Object.fromEntries(TYPING.map((name) => [name, typing])),
  serializer: checkSerializer,
  create: flag,
  retention: (field: string, value: unknown) => checkOptions(field, value, BOUNDS),
  compaction: (field: string, value: unknown) => typeof value !== "boolean" && checkOptions(field, value, DELAYS),
};

function addressOf(url: unknown): string {
  try {
    const { href } = new URL(url as string);
    if (/^https?:\/\/[^/@]+\/[^?#]*$/.test(href)) return href.replace(/\/+$/, "");
  } catch {
    // Refused below.
  }
  throw refused("url", url, "the edge's address, such as https://logs.example.com, without query or password");
}

function checkName(name: unknown): void {
  wellFormed("name", name);
  const bytes = textEncoder.encode(name as string).length;
  if (bytes < 1 || bytes > NAME_BYTES_MAX || hasDotPart(name as string))
    throw refused("name", name, `1 to ${NAME_BYTES_MAX} bytes, and no part . or ..`);
}

/** The options of any topic, not checked yet. */
type GivenOptions = Omit<ClientTopicOptions, "serializer"> & GivenTyping & { readonly serializer?: unknown };

class Client implements EdgeClient {
  readonly url: string;
  readonly #requests: EdgeRequests;
  readonly #live: SocketWay;
  readonly #topics = new Map<string, RemoteTopic<unknown>>();
  readonly #inFlightBytesMax: number;
  /** Aborted first: reads end, and nothing is appended any more. */
  readonly #closing = new AbortController();
  /** Aborted last: requests under way end. */
  readonly #closed = new AbortController();
  #done: Promise<void> | undefined;

  constructor(url: string, options: ConnectOptions) {
    this.url = url;
    this.#requests = new EdgeRequests(url, options, this.#closed.signal);
    const { WebSocket = globalThis.WebSocket as WebSocketClass | undefined, signal } = options;
    this.#live = {
      requests: this.#requests,
      Class: options.transport === "http" ? undefined : WebSocket,
      closed: this.#closed.signal,
    };
    this.#inFlightBytesMax = options.inFlightBytesMax ?? IN_FLIGHT_BYTES_MAX;
    const abort = (): void => this.#end(" by its signal");
    if (signal?.aborted) abort();
    signal?.addEventListener("abort", abort, { signal: this.#closed.signal });
  }

  // What its overloads promise (api.ts) follows from the options.
  topic(name: string, options: GivenOptions = {}): never {
    checkName(name);
    checkOptions("topic()", options, TOPIC_OPTIONS);
    const known = this.#topics.get(name);
    known?.again(options);
    const topic =
      known ??
      new RemoteTopic<unknown>(
        {
          requests: this.#requests,
          live: this.#live,
          inFlightBytesMax: this.#inFlightBytesMax,
          closing: this.#closing.signal,
        },
        name,
        options as ClientTopicOptions & GivenTyping,
      );
    this.#topics.set(name, topic);
    return topic as never;
  }

  close(): Promise<void> {
    return (this.#done ??= this.#close());
  }

  async #close(): Promise<void> {
    this.#closing.abort(closedError());
    await Promise.all([...this.#topics.values()].map((topic) => topic.drained()));
    this.#end();
  }

  #end(by?: string): void {
    const error = closedError(by);
    this.#closing.abort(error);
    for (const topic of this.#topics.values()) topic.fail(error);
    this.#closed.abort(error);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }
}

const closedError = (by = ""): TidemarkError =>
  new TidemarkError("CLOSED", `the client was closed${by}: connect() makes another`, { reason: "closed" });

/** A client of the edge at this address. Nothing is sent before the first call. INVALID_ARGUMENT for a wrong option. */
export function connect(url: string | URL, options: ConnectOptions = {}): EdgeClient {
  checkOptions("connect()", options, OPTIONS);
  return new Client(addressOf(url), options);
}
