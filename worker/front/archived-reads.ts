/**
 * Reads old records without waking the object. A sealed segment in object storage never changes. So once the object has
 * told the Worker which segments there are (a manifest, which is kept for a minute), the Worker reads them itself: from
 * the data centre's cache, or else from R2. Clients see ordinary 200 answers, with the same bytes and ETags that the
 * object would send. Whatever goes wrong here is left to the object: it knows what is damaged, gone or compacted.
 *
 *   GET /v1/stream/<path>?offset=…   manifest known? ──▶ index, then one range of batches ──▶ answer
 *                                    else ask the object: it answers with a manifest, or with the data if it has them
 *
 * A manifest may be a minute old, just like a cached answer of the stream. Streams with a TTL give no manifest, because
 * a read must extend their TTL.
 *
 * A stream that is made again under the same path is never answered from the old stream's segments, even where an old
 * manifest is kept: the new stream is made only after the old objects have left R2 (archiver.ts), and no byte is sent
 * before R2 has said that its object still exists. The isolate that handled the request to delete or make a stream
 * forgets its manifest at once.
 */
import { RecentMap } from "../../src/store/recent-map.ts";
import { type Manifest, MANIFEST_HEADER } from "../rpc/manifest.ts";
import type { Segment } from "../../src/store/segment.ts";
import { dialectOf } from "../wire/accept.ts";
import { Archive } from "../store/segment-archive.ts";
import type { ArchiveEntry } from "../store/archive-tables.ts";
import type { Bucket } from "../store/bucket.ts";
import type { Env } from "../env.ts";
import type { Asked } from "../telemetry/events.ts";
import { edgeKernel } from "../kernel.ts";
import { batchesHeaders, READ_BYTES, readAnswer } from "../wire/read-answer.ts";
import { mediaType } from "../stream/media-type.ts";
import { readRequestOf } from "../wire/durable-streams.ts";
import { encodePath, SEGMENT_PREFIX } from "../wire/paths.ts";
import { type Parts, partsIn } from "../stream/values.ts";
import { type Background, bucketOf, sourceOf } from "./segment-cache.ts";

const MANIFEST_MS = 60_000;
/** A manifest has at most about 60 KB, and the isolate has 128 MB for everything. */
const STREAMS_MAX = 100;
const INDEXES_MAX = 64;

const manifests = new RecentMap<string, { readonly until: number; readonly manifest: Manifest }>();
/** Indexes of segments. Keys are never used twice, so an entry can't be stale. */
const indexes = new RecentMap<string, Segment>();

export interface OldRead {
  readonly asked: Asked;
  readonly env: Pick<Env, "SEGMENTS">;
  readonly tenant: string;
  readonly path: string;
  readonly url: URL;
  readonly headers: Headers;
  readonly background: Background | undefined;
  /** Asks the object. `own` are headers that the Worker itself sends. */
  readonly ask: (own: Record<string, string>) => Promise<Response>;
}

const manifestName = (tenant: string, path: string): string => `${encodeURIComponent(tenant)}/${path}`;

/** The stream was deleted or made: what is known of this path belongs to another stream. */
export function forgetManifest(tenant: string, path: string): void {
  manifests.delete(manifestName(tenant, path));
}

/** A catch-up read: from segments if the offset is in one, otherwise from the object. */
export async function readThrough(read: OldRead): Promise<Response> {
  const { env, tenant, path, url, ask } = read;
  const bucket = bucketOf(env);
  if (!bucket || url.searchParams.has("timestamp")) return ask({});
  const { offset } = readRequestOf(url);
  if (offset === "now") return ask({});
  const name = manifestName(tenant, path);
  let manifest = manifests.get(name);
  if (manifest && (manifest.until <= Date.now() || !entryFor(manifest.manifest, offset))) manifest = undefined;
  if (!manifest) {
    const answer = await ask({ [MANIFEST_HEADER]: "1" });
    if (answer.headers.get(MANIFEST_HEADER) === null) return answer;
    const told = (await answer.json()) as Manifest;
    manifest = { until: Math.min(Date.now() + MANIFEST_MS, told.expires ?? Infinity), manifest: told };
    manifests.put(name, manifest);
    manifests.dropAbove(STREAMS_MAX);
  }
  const found = await fromSegments(read, manifest.manifest, offset, bucket).catch(() => undefined);
  if (found) {
    read.asked.source = "segment";
    return found;
  }
  manifests.delete(name);
  return ask({});
}

/** Undefined also before the stream's start, where a segment may still have records that were trimmed. */
function entryFor({ start, entries }: Manifest, offset: number | "start"): ArchiveEntry | undefined {
  const from = offset === "start" ? start : offset;
  if (from < start) return undefined;
  return entries.find(({ baseOffset, sealed }) => baseOffset <= from && from < sealed.nextOffset);
}

interface Found {
  readonly nextOffset: number;
  readonly upToDate: boolean;
  readonly ended: boolean;
}

/**
 * Where an answer from segments ends. Undefined at the end of an open log: only the object knows whether more has come.
 */
function foundTo(nextOffset: number, { end, closed }: Manifest): Found | undefined {
  const isAtEnd = nextOffset >= end;
  return isAtEnd && !closed ? undefined : { nextOffset, upToDate: isAtEnd, ended: isAtEnd };
}

async function fromSegments(
  read: OldRead,
  manifest: Manifest,
  offset: number | "start",
  bucket: Bucket,
): Promise<Response | undefined> {
  const archive = new Archive(sourceOf(bucket, read.background), await edgeKernel());
  const from = offset === "start" ? manifest.start : offset;
  const isBatches = dialectOf(read.headers.get("accept"), manifest.contentType) === "batches";
  return isBatches ? batchesFrom(read, archive, manifest, from) : valuesFrom(read, archive, manifest, from);
}

/** A manifest's id says as well how often compaction has changed the log. */
const logIn = ({ id }: Manifest): string => id.split(".", 1)[0]!;

async function batchesFrom(
  read: OldRead,
  archive: Archive,
  manifest: Manifest,
  from: number,
): Promise<Response | undefined> {
  const bytes = await oneRead(archive, manifest, from, READ_BYTES);
  const found = bytes && foundTo(bytes.nextOffset, manifest);
  if (!found) return undefined;
  const name = bytes.entry.key.slice(bytes.entry.key.lastIndexOf("/") + 1);
  const headers = {
    ...batchesHeaders(logIn(manifest), from, found),
    link: `<${SEGMENT_PREFIX}${encodePath(read.path)}/${name}>; rel="segment"`,
  };
  return new Response(bytes.bytes as BodyInit, { status: 200, headers });
}

async function valuesFrom(
  read: OldRead,
  archive: Archive,
  manifest: Manifest,
  from: number,
): Promise<Response | undefined> {
  const isJson = mediaType(manifest.contentType) === "application/json";
  const parts: Parts = [];
  let nextOffset = from;
  // In the same steps as the object, so that the answers are the same.
  for (let room = READ_BYTES; room > 0;) {
    const found = await oneRead(archive, manifest, nextOffset, room);
    if (!found && nextOffset === from) return undefined;
    if (!found) break;
    const part = await partsIn(await edgeKernel(), found.bytes, nextOffset, found.nextOffset, isJson);
    parts.push(...part.parts);
    nextOffset = part.nextOffset;
    if (nextOffset < found.nextOffset) break;
    room -= Math.max(found.bytes.length, 1);
  }
  const found = foundTo(nextOffset, manifest);
  return found && readAnswer(manifest, { parts, from, ...found }, read.headers);
}

async function oneRead(archive: Archive, manifest: Manifest, from: number, maxBytes: number) {
  const entry = entryFor(manifest, from);
  if (!entry) return undefined;
  const segment = indexes.get(entry.key) ?? archive.open(entry);
  archive.attach(segment, entry);
  const found = await archive.read(segment, from, maxBytes, entry.sealed.nextOffset);
  // If something is damaged the object must answer: it knows more.
  if (segment.damage.length > 0 || !found) return undefined;
  indexes.put(entry.key, segment);
  indexes.dropAbove(INDEXES_MAX);
  return { ...found, entry };
}
