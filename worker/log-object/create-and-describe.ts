/**
 * Parts of a log object's answers that need nothing of the object itself: how a stream is described in headers, and whether a PUT
 * asks for what is there already.
 */
import type { CompactionSettings, RetentionSettings } from "../../src/log/types.ts";
import { describeCompaction, describeRetention } from "../wire/policies.ts";
import { EdgeError } from "../errors.ts";
import { mediaType } from "../stream/media-type.ts";
import { H } from "../wire/durable-streams.ts";
import { formatOffset } from "../wire/offsets.ts";
import type { Stream } from "../stream/stream.ts";

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
