/** Paths of streams in URLs: decoding, checking and encoding. */
import { badRequest } from "../errors.ts";
import { isWholeText } from "./fields.ts";
import { hasDotPart } from "../../src/topic/dot-parts.ts";
import { textEncoder } from "../../src/record/bytes.ts";

export const STREAM_PREFIX = "/v1/stream/";
export const SEGMENT_PREFIX = "/v1/segment/";

/**
 * The parts of a URL that every request needs. Parsed URLs are kept, because parsing costs more than routing and most
 * requests go to a few URLs.
 */
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
  // A URL with a query is seldom repeated, so it is not kept.
  if (url.length > PLACE_CHARS_MAX || url.includes("?")) return { hostname, pathname };
  if (places.size >= PLACES_MAX) places.clear();
  places.set(url, { hostname, pathname });
  return { hostname, pathname };
}

/** A stream's address: the URL without its query. */
export function withoutQuery(url: string): string {
  const { origin, pathname } = new URL(url);
  return origin + pathname;
}

export function decodePath(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    throw badRequest("the path is not well encoded: encode each part, as encodeURIComponent does");
  }
}

/** Most bytes of a stream's path in UTF-8. A longer path is refused. */
export const PATH_BYTES_MAX = 1024;

/** What a stream's path must be and is not. Undefined for a good one. */
export function faultOfPath(path: string): string | undefined {
  if (!isWholeText(path)) return "must be text that UTF-8 can hold, without half a surrogate pair";
  // A character has at most three bytes, so the bytes are counted only for long paths.
  const isTooLong = path.length * 3 > PATH_BYTES_MAX && textEncoder.encode(path).length > PATH_BYTES_MAX;
  if (path === "" || isTooLong) return `must have 1 to ${PATH_BYTES_MAX} bytes in UTF-8`;
  if (/[\0-\x1f\x7f]/.test(path)) return "must have no control characters";
  return hasDotPart(path) ? "must have no part that is . or .. because no address can name it" : undefined;
}

/** A stream's path in a form that names of objects can hold. `what` is the path's name in the error. */
export function checkPath(path: string, what: string): string {
  const fault = faultOfPath(path);
  if (fault !== undefined) throw badRequest(`${what} ${fault}`);
  return path;
}

/** Paths that name no stream: subscriptions, keys and the list are there. */
export const isReservedPath = (path: string): boolean => path === "__ds" || path.startsWith("__ds/");

/** The path inside a URL. Every segment is encoded. */
export const encodePath = (path: string): string => path.split("/").map(encodeURIComponent).join("/");
