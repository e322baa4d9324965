/**
 * The words of the Durable Streams protocol: header names, offsets, cursors, and the parsing of what clients send. No state.
 *
 * An offset is a record's number in 16 digits, an underscore and 16 zeros (reserved): it sorts as text, and is a
 * number again without loss, because offsets are safe integers.
 */
import { badRequest, HttpError } from "./http.ts";

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
  expectedOffset: "Stream-Expected-Offset",
  /** Ours: the first offset that is still there, and where a read by time began. */
  start: "Tidemark-Start-Offset",
  from: "Tidemark-From-Offset",
} as const;

export const STREAM_PREFIX = "/v1/stream/";
export const SEGMENT_PREFIX = "/v1/segment/";

const DIGITS = 16;
const RESERVED = "0".repeat(DIGITS);
const OFFSET = /^(\d{16})_0{16}$/;

export const formatOffset = (offset: number): string => `${String(offset).padStart(DIGITS, "0")}_${RESERVED}`;

/** A position that a client names: an offset, the start, or the tail. */
export function parseOffset(text: string): number | "start" | "now" {
  if (text === "-1") return "start";
  if (text === "now") return "now";
  const offset = Number(OFFSET.exec(text)?.[1] ?? NaN);
  if (!Number.isSafeInteger(offset)) throw badRequest("not an offset of this stream");
  return offset;
}

/** A non-negative integer without sign, leading zero, decimals or exponent. */
export function parseInteger(text: string, what: string): number {
  const value = /^(0|[1-9]\d*)$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value)) throw badRequest(`${what} is no integer`);
  return value;
}

/** Headers, or a few of them: names in any case. */
export interface HeadersOf {
  get(name: string): string | null;
}

const RFC3339 = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:\d{2})$/i;

export interface Lifetime {
  readonly ttl: number | undefined;
  readonly expiresAt: string | undefined;
}

export function lifetimeOf(headers: HeadersOf): Lifetime {
  const ttl = headers.get(H.ttl);
  const expiresAt = headers.get(H.expiresAt);
  if (ttl !== null && expiresAt !== null) throw badRequest("Stream-TTL and Stream-Expires-At exclude each other");
  if (expiresAt !== null && (!RFC3339.test(expiresAt) || Number.isNaN(Date.parse(expiresAt)))) throw badRequest("Stream-Expires-At is no RFC 3339 time");
  return { ttl: ttl === null ? undefined : parseInteger(ttl, H.ttl), expiresAt: expiresAt ?? undefined };
}

export interface ForkOf {
  readonly path: string;
  readonly offset: string | undefined;
  readonly subOffset: number;
}

/** Where a PUT forks from, undefined for a stream of its own. `prefix` is the URL path before stream paths. */
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
  if (!from.startsWith(prefix)) throw badRequest("Stream-Forked-From is not on this server");
  return { path: decodePath(from.slice(prefix.length)), offset, subOffset };
}

/** Parts of a URL that are looked at for every request. Parsing costs more than routing, and most requests are for a few places. */
export interface Place {
  readonly hostname: string;
  readonly pathname: string;
}
const places = new Map<string, Place>();
const PLACES_MAX = 1_000;
const PLACE_CHARS_MAX = 512;

export function placeOf(url: string): Place {
  const known = places.get(url);
  if (known) return known;
  const { hostname, pathname } = new URL(url);
  // With a query hardly any comes twice.
  if (url.length > PLACE_CHARS_MAX || url.includes("?")) return { hostname, pathname };
  if (places.size >= PLACES_MAX) places.clear();
  places.set(url, { hostname, pathname });
  return { hostname, pathname };
}

export function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw badRequest("the path is not well encoded");
  }
}

/** A path inside a URL: whatever is in it, it stays one. */
export const encodePath = (path: string): string => path.split("/").map(encodeURIComponent).join("/");

export interface Producer {
  readonly id: string;
  readonly epoch: number;
  readonly seq: number;
}

/** All three headers or none. */
export function producerOf(headers: HeadersOf): Producer | undefined {
  const id = headers.get(H.producerId);
  const epoch = headers.get(H.producerEpoch);
  const seq = headers.get(H.producerSeq);
  if (id === null && epoch === null && seq === null) return undefined;
  if (id === null || epoch === null || seq === null) throw badRequest("Producer-Id, Producer-Epoch and Producer-Seq go together");
  if (id === "" || id.length > 256) throw badRequest("Producer-Id has 1 to 256 characters");
  return { id, epoch: parseInteger(epoch, H.producerEpoch), seq: parseInteger(seq, H.producerSeq) };
}

export const isClosing = (headers: HeadersOf): boolean => headers.get(H.closed)?.toLowerCase() === "true";

export type Live = "long-poll" | "sse" | undefined;

export interface ReadRequest {
  readonly offset: number | "start" | "now";
  readonly live: Live;
  readonly cursor: string | undefined;
}

export function readRequestOf(url: URL): ReadRequest {
  const offsets = url.searchParams.getAll("offset");
  const live = url.searchParams.get("live");
  if (offsets.length > 1) throw badRequest("one offset only");
  if (live !== null && live !== "long-poll" && live !== "sse" && live !== "true") throw badRequest("live is long-poll or sse");
  if (live !== null && offsets.length === 0) throw badRequest("a live read needs an offset");
  return {
    offset: offsets.length === 0 ? "start" : parseOffset(offsets[0]!),
    live: live === null ? undefined : live === "sse" ? "sse" : "long-poll",
    cursor: url.searchParams.get("cursor") ?? undefined,
  };
}

const CURSOR_EPOCH_MS = Date.UTC(2024, 9, 9);
const CURSOR_INTERVAL_MS = 20_000;
const CURSOR_JITTER_S = 3600;

/**
 * The cursor of a live answer: readers at one offset share a URL for 20 s, so that a cache can answer them all once. A client
 * that echoes the current one, or a later one, gets one strictly greater, or a cached answer would feed it for ever.
 */
export function nextCursor(nowMs: number, echoed: string | undefined, random: () => number): string {
  const current = Math.floor((nowMs - CURSOR_EPOCH_MS) / CURSOR_INTERVAL_MS);
  const given = echoed !== undefined && /^\d{1,15}$/.test(echoed) ? Number(echoed) : -1;
  if (given < current) return String(current);
  const jitterS = 1 + Math.floor(random() * CURSOR_JITTER_S);
  return String(given + Math.max(1, Math.ceil((jitterS * 1000) / CURSOR_INTERVAL_MS)));
}

export const methodNotAllowed = (): HttpError => new HttpError(405, "METHOD_NOT_ALLOWED", "GET, HEAD, POST, PUT, DELETE", { allow: "GET, HEAD, POST, PUT, DELETE, OPTIONS" });
