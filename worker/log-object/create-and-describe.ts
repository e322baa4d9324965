/**
 * Parts of a log object's answers that need nothing of the object itself: how a stream is described in headers, whether a PUT asks for
 * what is there already, a body read within its bound.
 */
import type { CompactionSettings, RetentionSettings } from "../../src/log/types.ts";
import { concat } from "../../src/record/bytes.ts";
import { describeCompaction } from "./compaction-schedule.ts";
import { BATCHES_TYPE } from "../wire/accept.ts";
import { badRequest, EdgeError } from "../errors.ts";
import { BODY_BYTES_MAX } from "../wire/http.ts";
import { mediaType } from "../stream/media-type.ts";
import { formatOffset, H } from "../wire/durable-streams.ts";
import { longBody, type LongRead } from "../stream/streamed-read.ts";
import type { Stream } from "../stream/stream.ts";
import { describeRetention } from "./retention-schedule.ts";
import { bodyOf } from "../stream/values.ts";

export function describe(stream: Stream): Record<string, string> {
  const { ttl, expiresAt, closed } = stream.config;
  const headers: Record<string, string> = {
    [H.next]: formatOffset(stream.tail),
    ...describeRetention(stream.config.retention),
    ...describeCompaction(stream.config.compaction),
  };
  headers[H.start] = formatOffset(stream.start);
  if (ttl !== undefined) headers[H.ttl] = String(ttl);
  if (expiresAt !== undefined) headers[H.expiresAt] = expiresAt;
  if (closed) headers[H.closed] = "true";
  return headers;
}

interface Read {
  readonly nextOffset: number;
  readonly upToDate: boolean;
  readonly ended: boolean;
}

/** Of an answer to a read, whoever has read and in whatever dialect. */
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

export const batchesHeaders = (from: number, read: Read): Record<string, string> => ({
  ...readHeaders(from, read, BATCHES_TYPE),
  "cache-control": "no-store",
});

/** Data of a catch-up read, whoever has read them. */
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
    if (asked.get("if-none-match")?.includes(headers["etag"])) return new Response(null, { status: 304, headers });
  }
  // An empty array, not an empty body: what a reader parses is JSON at the tail as well.
  if (found.rest)
    return new Response(longBody(found, mediaType(contentType) === "application/json"), { status: 200, headers });
  return new Response(
    new Blob(bodyOf(found.parts, mediaType(contentType) === "application/json") as Uint8Array<ArrayBuffer>[]),
    { status: 200, headers },
  );
}

interface Wanted {
  readonly retention: RetentionSettings | undefined;
  readonly compaction: CompactionSettings | undefined;
  readonly contentType: string | undefined;
  readonly ttl: number | undefined;
  readonly expiresAt: string | undefined;
  readonly closed: boolean;
  readonly fork: { readonly path: string; readonly offset: string | undefined; readonly subOffset: number } | undefined;
}

/** PUT of a stream that is there: fine when it asks for what is there, else a conflict. */
export function existing(stream: Stream, wanted: Wanted): Response {
  const { config } = stream;
  if (config.deleted) throw new EdgeError("CONFLICT", "a deleted stream is kept here for its forks");
  const fork = config.fork;
  const isSameFork =
    fork?.path === wanted.fork?.path &&
    fork?.requested === wanted.fork?.offset &&
    (fork?.subOffset ?? 0) === (wanted.fork?.subOffset ?? 0);
  const inherits = fork !== undefined && wanted.ttl === undefined && wanted.expiresAt === undefined;
  const isSame =
    mediaType(wanted.contentType ?? (fork ? config.contentType : "application/octet-stream")) ===
      mediaType(config.contentType) &&
    (inherits || (wanted.ttl === config.ttl && wanted.expiresAt === config.expiresAt)) &&
    (wanted.retention === undefined || JSON.stringify(wanted.retention) === JSON.stringify(config.retention)) &&
    (wanted.compaction === undefined || JSON.stringify(wanted.compaction) === JSON.stringify(config.compaction)) &&
    wanted.closed === config.closed &&
    isSameFork;
  if (!isSame) throw new EdgeError("CONFLICT", "the stream exists with another configuration");
  return new Response(null, { status: 200, headers: { "content-type": config.contentType, ...describe(stream) } });
}

/** A body that is shorter than it said, or badly cut, is the sender's fault. */
export async function readBody(request: Request, max = BODY_BYTES_MAX): Promise<Uint8Array> {
  try {
    return await bodyWithin(request, max);
  } catch (thrown) {
    throw EdgeError.isOne(thrown) ? thrown : badRequest("the body broke off");
  }
}

/** Such a body is read by the runtime, in one piece. */
const AT_ONCE_BYTES = 1024 * 1024;
/** Of larger bodies that this isolate is reading. It counts what has come, so that a slow sender holds up nobody. */
const HELD_BYTES_MAX = 64 * 1024 * 1024;
let held = 0;

async function bodyWithin(request: Request, max: number): Promise<Uint8Array> {
  if (request.body === null) return new Uint8Array(0);
  let length = Number(request.headers.get("content-length") ?? 0);
  const check = (): void => {
    if (length > max) throw new EdgeError("TOO_LARGE", `the body of this request has at most ${max} bytes`);
  };
  check();
  // The runtime holds a body to the length that it names.
  if (length > 0 && length <= AT_ONCE_BYTES) return new Uint8Array(await request.arrayBuffer());
  const parts: Uint8Array[] = [];
  length = 0;
  try {
    for await (const part of request.body as unknown as AsyncIterable<Uint8Array>) {
      length += part.length;
      held += part.length;
      check();
      if (held > HELD_BYTES_MAX) {
        throw new EdgeError("BACKPRESSURE", "too many large bodies are being read here", {
          heldBytesMax: HELD_BYTES_MAX,
        });
      }
      parts.push(part);
    }
  } finally {
    held -= length;
  }
  return concat(parts);
}
