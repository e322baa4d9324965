/**
 * The Durable Streams protocol in words: header names, and the parsing of what clients send. No state.
 */
import { timeOf } from "../../src/topic/time-text.ts";
import { checkPath, decodePath } from "./paths.ts";
import { parseOffset } from "./offsets.ts";
import { mediaType } from "../stream/media-type.ts";
import { type WriterProducer, TRACE } from "../stream/writer-state.ts";
import { quoted } from "./fields.ts";
import { badRequest, EdgeError } from "../errors.ts";

export const H = {
  next: "Stream-Next-Offset",
  upToDate: "Stream-Up-To-Date",
  closed: "Stream-Closed",
  cursor: "Stream-Cursor",
  seq: "Stream-Seq",
  ttl: "Stream-TTL",
  expiresAt: "Stream-Expires-At",
  forkedFrom: "Stream-Forked-From",
  forkOffset: "Stream-Fork-Offset",
  forkSubOffset: "Stream-Fork-Sub-Offset",
  producerId: "Producer-Id",
  producerEpoch: "Producer-Epoch",
  producerSeq: "Producer-Seq",
  expectedSeq: "Producer-Expected-Seq",
  receivedSeq: "Producer-Received-Seq",
  expectedOffset: "Stream-Expected-Offset",
  resentSince: "Tidemark-Resent-Since",
  sequences: "Tidemark-Sequences",
  /** A POST with this header removes all records before the offset that it names. */
  trim: "Tidemark-Trim-Before",
  /**
   * Not in the protocol but ours: the first offset that is still there, and the offset where an answer to a read
   * begins.
   */
  start: "Tidemark-Start-Offset",
  from: "Tidemark-From-Offset",
  /** In an answer with batches: the id of their log. A log that is made again under the same path has another id. */
  log: "Tidemark-Log",
} as const;

/** A number in decimal digits, without sign, leading zeros, decimals or exponent. */
export function parseInteger(
  text: string,
  what: string,
  range: { readonly min?: number; readonly max?: number } = {},
): number {
  const { min = 0, max = Number.MAX_SAFE_INTEGER } = range;
  const value = /^(0|[1-9]\d*)$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(value) && value >= min && value <= max) return value;
  throw badRequest(`${what} is ${quoted(text)}; it must be a whole number from ${min} to ${max}, in digits alone`);
}

/** A hundred years in seconds. A longer time is hardly intended, and the range of dates ends at some point. */
const SECONDS_MAX = 3_155_760_000;

/** Whole seconds, as milliseconds. */
export const parseSeconds = (text: string, what: string, min = 0): number =>
  parseInteger(text, what, { min, max: SECONDS_MAX }) * 1000;

/** Headers, or some of them. Names may be in any case. */
export interface HeadersOf {
  get(name: string): string | null;
}

const CONTENT_TYPE_CHARS_MAX = 256;

/** The content type that a request names for its body. Undefined if it names none. */
export function contentTypeOf(headers: HeadersOf): string | undefined {
  const value = headers.get("content-type")?.trim();
  if (value === undefined || value === "") return undefined;
  if (value.length > CONTENT_TYPE_CHARS_MAX)
    throw badRequest(`Content-Type has at most ${CONTENT_TYPE_CHARS_MAX} characters`);
  if (mediaType(value) === "")
    throw badRequest(`Content-Type is not a media type such as application/json or text/plain; charset=utf-8`);
  return value;
}

const TRACEPARENT = /^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The traceparent of a request, if it is valid; otherwise undefined. */
export function traceOf(headers: HeadersOf): string | undefined {
  const value = headers.get(TRACE);
  return value !== null && TRACEPARENT.test(value) ? value : undefined;
}

/** RFC 3339 has a time and a zone. */
const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/i;

const isTime = (text: string): boolean => RFC3339.test(text) && !Number.isNaN(timeOf(text));

export interface Lifetime {
  readonly ttl: number | undefined;
  readonly expiresAt: string | undefined;
}

export function lifetimeOf(headers: HeadersOf): Lifetime {
  const ttl = headers.get(H.ttl);
  const expiresAt = headers.get(H.expiresAt);
  if (ttl !== null && expiresAt !== null)
    throw badRequest("Stream-TTL and Stream-Expires-At exclude each other: send one of them");
  if (expiresAt !== null && !isTime(expiresAt)) {
    throw badRequest(
      `${H.expiresAt} is ${quoted(expiresAt)}; it must be a time of RFC 3339 that exists, such as 2027-02-28T00:00:00Z`,
    );
  }
  return {
    ttl: ttl === null ? undefined : parseInteger(ttl, H.ttl, { max: SECONDS_MAX }),
    expiresAt: expiresAt ?? undefined,
  };
}

export interface ForkOf {
  readonly path: string;
  readonly offset: string | undefined;
  readonly subOffset: number;
}

/** The fork that a PUT asks for; undefined if it asks for none. `prefix` is the URL path before stream paths. */
export function forkOf(headers: HeadersOf, prefix: string): ForkOf | undefined {
  const from = headers.get(H.forkedFrom);
  const offset = headers.get(H.forkOffset) ?? undefined;
  const sub = headers.get(H.forkSubOffset);
  if (from === null) {
    if (sub !== null || offset !== undefined) throw badRequest("a fork offset needs Stream-Forked-From");
    return undefined;
  }
  const subOffset = sub === null ? 0 : parseInteger(sub, H.forkSubOffset);
  if (subOffset > 0 && offset === undefined) throw badRequest("Stream-Fork-Sub-Offset needs Stream-Fork-Offset");
  if (!from.startsWith(prefix)) throw badRequest(`Stream-Forked-From is not on this server: it begins with ${prefix}`);
  return { path: checkPath(decodePath(from.slice(prefix.length)), H.forkedFrom), offset, subOffset };
}

const PRODUCER_ID_CHARS_MAX = 256;
const SEQ_CHARS_MAX = 256;

/** Bounded, because it is stored with the stream, like a producer's name. */
export function seqOf(headers: HeadersOf): string | undefined {
  const seq = headers.get(H.seq) ?? undefined;
  if (seq === undefined || (seq !== "" && seq.length <= SEQ_CHARS_MAX)) return seq;
  throw badRequest(`${H.seq} must have 1 to ${SEQ_CHARS_MAX} characters`);
}

/** The producer's three headers, which must be given together or not at all. */
export function producerOf(headers: HeadersOf): WriterProducer | undefined {
  const id = headers.get(H.producerId);
  const epoch = headers.get(H.producerEpoch);
  const seq = headers.get(H.producerSeq);
  if (id === null && epoch === null && seq === null) return undefined;
  if (id === null || epoch === null || seq === null)
    throw badRequest("Producer-Id, Producer-Epoch and Producer-Seq go together: send all three, or none");
  if (id === "" || id.length > PRODUCER_ID_CHARS_MAX)
    throw badRequest(`Producer-Id must have 1 to ${PRODUCER_ID_CHARS_MAX} characters`);
  return { id, epoch: parseInteger(epoch, H.producerEpoch), seq: parseInteger(seq, H.producerSeq) };
}

export const isClosing = (headers: HeadersOf): boolean => headers.get(H.closed)?.toLowerCase() === "true";

export type Live = "long-poll" | "sse" | undefined;

export interface ReadRequest {
  readonly offset: number | "start" | "now";
  readonly live: Live;
  readonly cursor: string | undefined;
}

/** Refuses a parameter that is given twice, because nobody knows which value counts. BAD_REQUEST. */
export function checkOnce({ searchParams }: URL, ...names: readonly string[]): void {
  for (const name of names) {
    const { length } = searchParams.getAll(name);
    if (length > 1) throw badRequest(`${name} is given ${length} times; it must be given once`, { parameter: name });
  }
}

export function readRequestOf(url: URL): ReadRequest {
  checkOnce(url, "offset", "live", "cursor");
  const offset = url.searchParams.get("offset");
  const live = url.searchParams.get("live");
  if (live !== null && live !== "long-poll" && live !== "sse" && live !== "true") {
    throw badRequest(`live is ${quoted(live)}; it must be long-poll or sse`);
  }
  if (live !== null && offset === null) throw badRequest("a live read needs an offset: -1 is the start, now the end");
  return {
    offset: offset === null ? "start" : parseOffset(offset),
    live: live === null ? undefined : live === "sse" ? "sse" : "long-poll",
    cursor: url.searchParams.get("cursor") ?? undefined,
  };
}

export const methodNotAllowed = (): EdgeError =>
  new EdgeError("METHOD_NOT_ALLOWED", "a stream takes PUT (creates it), POST (appends), GET (reads), HEAD and DELETE", {
    allow: "GET, HEAD, POST, PUT, DELETE, OPTIONS",
  });

/** The error for a change at an address that is not a stream's. */
export const onlyRead = (): EdgeError =>
  new EdgeError("METHOD_NOT_ALLOWED", "this address can only be read: GET or HEAD", { allow: "GET, HEAD, OPTIONS" });
