/**
 * Downloads of sealed segments, for readers of batches:
 *
 *   GET /v1/segment/<path>/<name>    the whole segment (docs/format.md), or a range of it; it never changes
 */
import type { Env } from "../env.ts";
import { EdgeError } from "../errors.ts";
import { objectKey, SEGMENT_NAME } from "../store/bucket.ts";
import { hasTag } from "../wire/http.ts";
import { type Background, bucketOf, fill, type SegmentBucket } from "./segment-cache.ts";

const missing = (): EdgeError =>
  new EdgeError("NOT_FOUND", "there is no such segment: answers of batches name those that are there, in Link");
const RANGE = /^bytes=(\d{1,10})-(\d{1,10})?$/;

const noAnswer = (thrown: unknown): EdgeError =>
  new EdgeError("STORAGE_FAILED", "object storage does not answer; ask again", {}, { cause: thrown });

function noRange(asked: string, size: number): EdgeError {
  const message = `Range is ${asked}; the segment has ${size} bytes, from 0 on`;
  return new EdgeError("RANGE_NOT_SATISFIABLE", message, { size });
}

/** The size of a segment, without reading its bytes. */
async function sizeOf(bucket: SegmentBucket, key: string): Promise<number> {
  const object = await bucket.head(key).catch((thrown: unknown) => Promise.reject(noAnswer(thrown)));
  if (!object) throw missing();
  return object.size;
}

/** The body comes after the answer, and may break off. */
const bytesOf = (object: { arrayBuffer(): Promise<ArrayBuffer> }): Promise<ArrayBuffer> =>
  object.arrayBuffer().catch((thrown: unknown) => Promise.reject(noAnswer(thrown)));

/** Answers GET and HEAD of a whole segment. The caller has checked who may read the path. */
export async function segmentResponse(
  request: Request,
  env: Env,
  tenant: string,
  rest: string,
  background: Background | undefined,
): Promise<Response> {
  const slash = rest.lastIndexOf("/");
  const name = rest.slice(slash + 1);
  const bucket = bucketOf(env);
  if (!bucket || slash <= 0 || !SEGMENT_NAME.test(name)) throw missing();
  const key = await objectKey(tenant, rest.slice(0, slash), name);
  const etag = `"${name}"`;
  const headers: Record<string, string> = {
    etag,
    "accept-ranges": "bytes",
    "content-type": "application/vnd.tidemark.segment",
    "cache-control": "public, max-age=31536000, immutable",
  };
  if (hasTag(request, etag)) return new Response(null, { status: 304, headers });
  if (request.method === "HEAD") {
    return new Response(null, {
      status: 200,
      headers: { ...headers, "content-length": String(await sizeOf(bucket, key)) },
    });
  }
  const asked = request.headers.get("range") ?? "";
  const [, first, last] = RANGE.exec(asked) ?? [];
  if (first !== undefined)
    return rangeOf(
      bucket,
      key,
      { asked, first: Number(first), last: last === undefined ? undefined : Number(last) },
      headers,
    );
  const object = await bucket.get(key).catch((thrown: unknown) => Promise.reject(noAnswer(thrown)));
  if (!object) throw missing();
  background?.waitUntil(fill(bucket, key).catch(() => undefined));
  return new Response(await bytesOf(object), {
    status: 200,
    headers: { ...headers, "content-length": String(object.size) },
  });
}

interface AskedRange {
  readonly asked: string;
  readonly first: number;
  readonly last: number | undefined;
}

async function rangeOf(
  bucket: SegmentBucket,
  key: string,
  { asked, first, last }: AskedRange,
  headers: Record<string, string>,
): Promise<Response> {
  if (last !== undefined && last < first) throw noRange(asked, await sizeOf(bucket, key));
  const length = last === undefined ? 2 ** 32 : last - first + 1;
  const object = await bucket.get(key, { range: { offset: first, length } }).catch(async (thrown: unknown) => {
    // R2 refuses a range behind the end with the same error as a failure, so the size tells which it was.
    const size = await sizeOf(bucket, key);
    throw first >= size ? noRange(asked, size) : noAnswer(thrown);
  });
  if (!object) throw missing();
  const bytes = await bytesOf(object);
  const range = `bytes ${first}-${first + bytes.byteLength - 1}/${object.size}`;
  return new Response(bytes, { status: 206, headers: { ...headers, "content-range": range } });
}
