/**
 * The parts of PUT and HEAD that do not need the object: what a PUT asks for, the description of the stream that it
 * makes, whether it asks for what exists already, and how a stream is described in headers.
 */
import type { CompactionSettings, RetentionSettings } from "../../src/log/types.ts";
import { readHeader } from "../../src/record/format.ts";
import { compactionOf, describeCompaction, describeRetention, retentionOf } from "../wire/policies.ts";
import { EdgeError } from "../errors.ts";
import { mediaType } from "../stream/media-type.ts";
import type { ForkAnswer } from "../rpc/fork-peer.ts";
import type { StreamConfig } from "../stream/stream-config.ts";
import {
  contentTypeOf,
  type ForkOf,
  forkOf,
  H,
  type HeadersOf,
  isClosing,
  type Lifetime,
  lifetimeOf,
} from "../wire/durable-streams.ts";
import { STREAM_PREFIX } from "../wire/paths.ts";
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

/** What a PUT asks for. */
export interface CreateAsked extends Lifetime {
  readonly contentType: string | undefined;
  readonly closed: boolean;
  readonly fork: ForkOf | undefined;
  readonly retention: RetentionSettings | undefined;
  readonly compaction: CompactionSettings | undefined;
}

export const createAsked = (headers: HeadersOf): CreateAsked => ({
  ...lifetimeOf(headers),
  fork: forkOf(headers, STREAM_PREFIX),
  contentType: contentTypeOf(headers),
  closed: isClosing(headers),
  retention: retentionOf(headers),
  compaction: compactionOf(headers),
});

interface Made {
  readonly id: string;
  readonly path: string;
  readonly tenant: string;
  /** Where the fork begins in its source. Undefined if the stream is not a fork. */
  readonly point: ForkAnswer | undefined;
  readonly nowMs: number;
}

/** The same stream, with how far these first records will bring it. Without any it is closed at once, if asked. */
export function beginning(config: StreamConfig, batches: readonly Uint8Array[], closed: boolean): StreamConfig {
  const records = batches.reduce((sum, batch) => sum + readHeader(batch).recordCount, 0);
  return { ...config, creating: (config.fork?.offset ?? 0) + records, closed: closed && batches.length === 0 };
}

/** The description of a new stream. A fork inherits what was not asked for. */
export function newConfig(asked: CreateAsked, { id, path, tenant, point, nowMs }: Made): StreamConfig {
  const { ttl, expiresAt, contentType, fork, retention, compaction } = asked;
  const inherits = ttl === undefined && expiresAt === undefined ? point?.config : undefined;
  return {
    id,
    path,
    tenant,
    watched: false,
    contentType: contentType ?? point?.config.contentType ?? "application/octet-stream",
    ttl: ttl ?? inherits?.ttl,
    expiresAt: expiresAt ?? inherits?.expiresAt,
    fork: fork &&
      point && {
        path: fork.path,
        id: point.id,
        offset: point.offset,
        requested: fork.offset,
        subOffset: fork.subOffset,
        start: point.start ?? 0,
      },
    closed: false,
    closedBy: undefined,
    deleted: false,
    releasing: false,
    touchedAt: nowMs,
    ...(retention && { retention }),
    ...(compaction && { compaction }),
  };
}

/** Answers a PUT of a stream that exists: 200 if it asks for what is there, otherwise a conflict. */
export function existing(stream: Stream, wanted: CreateAsked): Response {
  const { config } = stream;
  if (config.deleted)
    throw new EdgeError("CONFLICT", "a deleted stream holds this path for its forks: use another path, or delete them");
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
  if (!isSame)
    throw new EdgeError(
      "CONFLICT",
      "the stream exists with other settings: HEAD shows them. Use it as it is, or another path",
    );
  return new Response(null, { status: 200, headers: { "content-type": config.contentType, ...describe(stream) } });
}
