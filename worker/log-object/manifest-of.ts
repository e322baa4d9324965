/** The manifest that a log's object answers with (rpc/manifest.ts). */
import type { Manifest } from "../rpc/manifest.ts";
import type { Stream } from "../stream/stream.ts";
import { readRequestOf } from "../wire/durable-streams.ts";

const MANIFEST_ENTRIES_MAX = 128;

/** The manifest for a Worker that asks. Undefined if only the object can answer this read. */
export function manifestOf(stream: Stream, url: URL): Manifest | undefined {
  const { offset } = readRequestOf(url);
  const { contentType, ttl, fork } = stream.config;
  if (offset === "now" || ttl !== undefined || (fork && (offset === "start" || offset < fork.offset))) return undefined;
  const { start, tail: end, closed, deadline: expires } = stream;
  const entries = stream.store.movedFrom(offset === "start" ? start : offset, MANIFEST_ENTRIES_MAX);
  return entries.length === 0 ? undefined : { id: stream.version, contentType, start, end, closed, expires, entries };
}
