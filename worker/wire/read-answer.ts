/**
 * How an answer to a read looks in every dialect, whoever has read (the stream's object, or the Worker from object
 * storage).
 */
import { mediaType } from "../stream/media-type.ts";
import { longBody, type LongRead } from "../stream/streamed-read.ts";
import { bodyOf } from "../stream/values.ts";
import { BATCHES_TYPE } from "./accept.ts";
import { H } from "./durable-streams.ts";
import { hasTag } from "./http.ts";
import { formatOffset, offsetIn } from "./offsets.ts";

/**
 * Largest answer of one read; a larger backlog comes in several. The log's object and the Worker, which reads from
 * object storage, use the same number, so that their answers are the same.
 */
export const READ_BYTES = 1024 * 1024;

export const nextOf = (response: Response): number => offsetIn(response, H.next);
/** Where an answer begins. -1 means the beginning of the log, which need not be offset 0. */
export const fromOf = (response: Response): number => offsetIn(response, H.from);
export const isAtTail = (response: Response): boolean => response.headers.get(H.upToDate) === "true";
export const isEnded = (response: Response): boolean => response.headers.get(H.closed) === "true";

/** True if nothing was skipped and nothing is there: a live reader waits here. */
export const isWaiting = (found: Response): boolean =>
  isAtTail(found) && !isEnded(found) && nextOf(found) === fromOf(found);

interface Read {
  readonly nextOffset: number;
  readonly upToDate: boolean;
  readonly ended: boolean;
}

/** The headers of an answer to a read. */
const readHeaders = (
  from: number,
  { nextOffset, upToDate, ended }: Read,
  contentType: string,
): Record<string, string> => ({
  "content-type": contentType,
  [H.next]: formatOffset(nextOffset),
  [H.from]: formatOffset(from),
  vary: "accept",
  ...(upToDate && { [H.upToDate]: "true" }),
  ...(ended && { [H.closed]: "true" }),
});

/** `log`: the id of the stream's creation. */
export const batchesHeaders = (log: string, from: number, read: Read): Record<string, string> => ({
  ...readHeaders(from, read, BATCHES_TYPE),
  [H.log]: log,
  "cache-control": "no-store",
});

/** The answer to a catch-up read. */
export function readAnswer(
  { id, contentType }: { readonly id: string; readonly contentType: string },
  found: LongRead,
  asked: Headers,
  isNow = false,
): Response {
  const headers = readHeaders(found.from, found, contentType);
  if (isNow) headers["cache-control"] = "no-store";
  else {
    headers["etag"] = `"${id}:${found.from}:${found.nextOffset}${found.ended ? ":c" : ""}"`;
    headers["cache-control"] = "public, max-age=60, stale-while-revalidate=300";
    if (hasTag({ headers: asked }, headers["etag"])) return new Response(null, { status: 304, headers });
  }
  // At the end of a JSON stream an empty array, not an empty body, so that a reader can always parse JSON.
  if (found.rest)
    return new Response(longBody(found, mediaType(contentType) === "application/json"), { status: 200, headers });
  return new Response(
    new Blob(bodyOf(found.parts, mediaType(contentType) === "application/json") as Uint8Array<ArrayBuffer>[]),
    { status: 200, headers },
  );
}
